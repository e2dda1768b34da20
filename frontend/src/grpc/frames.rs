//! gRPC's framing of messages in a body.
//!
//!     | compressed? | length        | message            |
//!     |  1 byte     |  4 bytes, be  |  `length` bytes    |    again and again; data frames cut it anywhere

use bytes::{BufMut, Bytes, BytesMut};

/// What precedes each message.
pub(crate) const PREFIX_BYTES: usize = 5;

/// What a prefix says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// 0 for a message as it is, 1 for one that is compressed; nothing else is gRPC.
    pub(crate) format: u8,
    /// Length of the message in bytes.
    pub(crate) bytes: usize,
}

/// A message as it is.
pub(crate) const PLAIN: u8 = 0;
/// A message that is compressed as the call's `grpc-encoding` says.
pub(crate) const COMPRESSED: u8 = 1;

impl Prefix {
    /// The prefix at the beginning of a message; `None` where it has not arrived whole.
    pub(crate) fn of(body: &[u8]) -> Option<Prefix> {
        let (format, rest) = body.split_first()?;
        let bytes = u32::from_be_bytes(*rest.first_chunk()?);
        Some(Prefix { format: *format, bytes: bytes as usize })
    }
}

/// One message with its prefix, in one piece.
///
/// # Panics
/// Above 4 GiB, which no prefix can announce.
pub(crate) fn framed(format: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(format);
    frame.put_u32(u32::try_from(message.len()).expect("a message has a length of 32 bits"));
    frame.put_slice(message);
    frame.freeze()
}

/// Finds the messages in a body that goes by in pieces, without keeping any of it.
#[derive(Default)]
pub(crate) struct Frames {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that were seen.
    have: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Frames {
    /// Looks at the next piece and tells the prefix of each message that begins in it.
    pub(crate) fn pass<E>(
        &mut self,
        mut piece: &[u8],
        mut begins: impl FnMut(Prefix) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            let skip = self.left.min(piece.len());
            self.left -= skip;
            piece = &piece[skip..];
            let take = (PREFIX_BYTES - self.have).min(piece.len());
            self.prefix[self.have..self.have + take].copy_from_slice(&piece[..take]);
            self.have += take;
            piece = &piece[take..];
            if self.have == PREFIX_BYTES {
                self.have = 0;
                let prefix = Prefix::of(&self.prefix).expect("it is whole");
                self.left = prefix.bytes;
                begins(prefix)?;
            }
        }
        Ok(())
    }
}

/// Cuts a body that arrives in pieces into its messages, and keeps what is not whole yet.
#[derive(Default)]
pub(crate) struct Messages {
    kept: BytesMut,
}

impl Messages {
    pub(crate) fn push(&mut self, piece: Bytes) {
        match self.kept.is_empty() {
            // A piece that nothing else refers to is taken over as it is.
            true => self.kept = BytesMut::from(piece),
            false => self.kept.extend_from_slice(&piece),
        }
    }

    /// The prefix of the message at the beginning, whole or not.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        Prefix::of(&self.kept)
    }

    /// The next message, once it is whole.
    pub(crate) fn next(&mut self) -> Option<(Prefix, Bytes)> {
        let prefix = self.prefix()?;
        if self.kept.len() - PREFIX_BYTES < prefix.bytes {
            return None;
        }
        let _ = self.kept.split_to(PREFIX_BYTES);
        Some((prefix, self.kept.split_to(prefix.bytes).freeze()))
    }

    /// What came after the last whole message.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.kept.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_message_is_found_however_the_body_is_cut(
            messages in prop::collection::vec(0..300usize, 0..8),
            cut in 1..64usize,
        ) {
            let mut body = Vec::new();
            for length in &messages {
                body.push(0);
                body.extend(u32::try_from(*length).expect("it is small").to_be_bytes());
                body.extend(std::iter::repeat_n(7, *length));
            }
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in body.chunks(cut) {
                let begins = |prefix: Prefix| { found.push(prefix.bytes); Ok::<(), ()>(()) };
                frames.pass(piece, begins).expect("nothing refuses");
            }
            prop_assert_eq!(&found, &messages);
            let (mut kept, mut whole) = (Messages::default(), Vec::new());
            for piece in body.chunks(cut) {
                kept.push(Bytes::copy_from_slice(piece));
                whole.extend(std::iter::from_fn(|| kept.next()).map(|(_, message)| message.len()));
            }
            prop_assert_eq!(&whole, &messages);
            prop_assert!(kept.rest().is_empty());
        }
    }
}
