//! gRPC's frames: a byte that says "not compressed", the length in four bytes, the message.
//!
//!     [ 0 | length, big-endian | message ][ 0 | length | message ] ...
//!
//! HTTP/2 cuts that stream wherever it likes, so messages are put together again here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

const PREFIX_BYTES: usize = 5;

/// The message as a frame, in memory that comes back to `buffer` once the frame has been sent.
pub(super) fn frame(buffer: &mut BytesMut, message: &impl Message) -> Bytes {
    let message_bytes = message.encoded_len();
    buffer.reserve(PREFIX_BYTES + message_bytes);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message_bytes).expect("no load has messages of gigabytes"));
    message.encode(buffer).expect("a buffer grows");
    buffer.split().freeze()
}

/// Messages as they arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Pieces of a message that is not complete; what is complete never passes through here.
    started: BytesMut,
    arrived: Bytes,
}

impl Messages {
    /// Takes a piece; `next` must have emptied the one before.
    pub(super) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.arrived.is_empty(), "a piece is used up before the next one comes");
        if self.started.is_empty() {
            self.arrived = piece;
        } else {
            self.started.extend_from_slice(&piece);
            self.arrived = self.started.split().freeze();
        }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        if let Some(prefix) = self.arrived.first_chunk::<PREFIX_BYTES>() {
            let [compressed, length @ ..] = *prefix;
            if compressed != 0 {
                return Err(Malformed);
            }
            let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Malformed)?;
            if self.arrived.len() - PREFIX_BYTES >= length {
                self.arrived.advance(PREFIX_BYTES);
                return Ok(Some(self.arrived.split_to(length)));
            }
        }
        self.started.extend_from_slice(&std::mem::take(&mut self.arrived));
        Ok(None)
    }
}

/// The answer is not what gRPC allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::etcdserverpb::WatchCancelRequest;

    use super::*;

    fn all(stream: &[u8], piece_bytes: usize) -> Result<Vec<Bytes>, Malformed> {
        let mut messages = Messages::default();
        let mut whole = Vec::new();
        for piece in stream.chunks(piece_bytes) {
            messages.push(Bytes::copy_from_slice(piece));
            while let Some(message) = messages.next()? {
                whole.push(message);
            }
        }
        Ok(whole)
    }

    proptest! {
        #[test]
        fn messages_survive_being_cut_anywhere(ids in prop::collection::vec(any::<i64>(), 0..9), piece_bytes in 1..40_usize) {
            let mut buffer = BytesMut::new();
            let frames: Vec<_> = ids.iter().map(|id| frame(&mut buffer, &WatchCancelRequest { watch_id: *id })).collect();
            let messages = all(&frames.concat(), piece_bytes).expect("they are well formed");
            let found: Vec<_> = messages.iter().map(|message| WatchCancelRequest::decode(&message[..]).expect("a message").watch_id).collect();
            prop_assert_eq!(found, ids);
        }
    }

    #[test]
    fn a_compressed_message_is_refused() {
        assert_eq!(all(&[1, 0, 0, 0, 0], 5), Err(Malformed));
    }

    #[test]
    fn half_a_message_is_not_one() {
        assert_eq!(all(&[0, 0, 0, 0, 2, 7], 6), Ok(vec![]));
    }
}
