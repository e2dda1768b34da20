//! What answers take that were not sent yet, all together: as much as the process has memory for.
//!
//! A client that asks for much and reads little keeps its answer here. Small ones are not counted: each connection
//! has few of them.

use std::sync::Arc;

use bytes::Bytes;
use memstore::Memory;

use crate::error::Error;

/// What is smaller is not counted.
const LARGE_BYTES: usize = 64 << 10;

/// Room for encoded answers. What the reads of an answer hold is counted by `memstore::MemoryReservation`, in the same
/// room.
#[derive(Debug, Default)]
pub(crate) struct AnswerRoom {
    memory: Arc<Memory>,
}

/// A part of the room, which is given back when this is dropped.
struct Held {
    bytes: Bytes,
    room: Arc<AnswerRoom>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.bytes.len() as u64;
        self.room.memory.give_back(bytes, bytes);
    }
}

impl AnswerRoom {
    /// As much as `memory` has left.
    pub(crate) fn within(memory: Arc<Memory>) -> AnswerRoom {
        AnswerRoom { memory }
    }

    /// Memory of the process.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Makes an answer of at most so many bytes, if there is room for it: it has `taken` of it already.
    ///
    /// # Errors
    /// `Overloaded`. Answers that go out make room.
    pub(crate) fn answer(
        self: &Arc<Self>,
        bytes: usize,
        taken: u64,
        make: impl FnOnce() -> Bytes,
    ) -> Result<Bytes, Error> {
        let wanted = bytes as u64;
        debug_assert!(taken <= wanted, "it is a part of it");
        if bytes < LARGE_BYTES {
            self.memory.give_back(taken, 0);
            return Ok(make());
        }
        if taken < wanted && !self.memory.take(wanted - taken) {
            self.memory.give_back(taken, 0);
            return Err(Error::Overloaded);
        }
        let bytes = make();
        let made = bytes.len() as u64;
        debug_assert!(made <= wanted, "it is no longer than it was said to be");
        self.memory.give_back(wanted.saturating_sub(made), 0);
        self.memory.made(made);
        Ok(Bytes::from_owner(Held { bytes, room: self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_share_the_room_and_give_it_back() {
        let room = Arc::new(AnswerRoom::within(Arc::new(Memory::new(1_000_000))));
        let answer = |bytes: usize| room.answer(bytes, 0, || vec![0; bytes].into());
        let first = answer(500_000).expect("950,000 bytes are free");
        let slice = first.slice(10..20);
        assert_eq!(answer(500_000).expect_err("450,000 bytes are free"), Error::Overloaded);
        assert_eq!(answer(LARGE_BYTES - 1).expect("it is small").len(), LARGE_BYTES - 1);
        let second = answer(400_000).expect("450,000 bytes are free");
        assert_eq!(room.memory.answers_made(), 900_000);
        let shorter = room.answer(50_000 + LARGE_BYTES, 0, || vec![0; 5].into());
        assert_eq!(shorter.expect_err("50,000 bytes are free"), Error::Overloaded);
        drop(first);
        assert_eq!(room.memory.answers_made(), 900_000, "a part of it is not sent yet");
        drop(slice);
        let shorter = room.answer(500_000, 0, || vec![0; 5].into()).expect("550,000 bytes are free");
        assert_eq!(room.memory.answers_made(), 400_005);
        drop((shorter, second));
        assert_eq!(room.memory.answers_made(), 0);
        assert!(answer(900_000).is_ok(), "all of it is free again");
    }
}
