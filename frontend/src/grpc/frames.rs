//! gRPC's framing of messages in a body.
//!
//!     | compressed? | length        | message            |
//!     |  1 byte     |  4 bytes, be  |  `length` bytes    |    again and again; data frames cut it anywhere

/// What precedes each message.
pub(crate) const PREFIX_BYTES: usize = 5;

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
    /// Looks at the next piece and tells the length of each message that begins in it.
    pub(crate) fn pass<E>(
        &mut self,
        mut piece: &[u8],
        mut begins: impl FnMut(usize) -> Result<(), E>,
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
                self.left = length(self.prefix);
                begins(self.left)?;
            }
        }
        Ok(())
    }
}

/// The length that a prefix announces.
pub(crate) fn length(prefix: [u8; PREFIX_BYTES]) -> usize {
    u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize
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
                let begins = |length| { found.push(length); Ok::<(), ()>(()) };
                frames.pass(piece, begins).expect("nothing refuses");
            }
            prop_assert_eq!(found, messages);
        }
    }
}
