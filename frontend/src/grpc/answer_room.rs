//! What answers take that were not sent yet, all together: as much as the process has memory for.
//!
//! A client that asks for much and reads little keeps its answer here. Small ones are not counted: each connection
//! has few of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use memstore::Memory;

use crate::error::Error;

/// What is smaller is not counted.
const LARGE_BYTES: usize = 64 << 10;

/// The room, and what is taken of it.
#[derive(Debug, Default)]
pub(crate) struct AnswerRoom {
    memory: Arc<Memory>,
    taken: AtomicU64,
    /// What of it stands in memory by now.
    made: AtomicU64,
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
        self.room.made.fetch_sub(bytes, Relaxed);
        self.room.taken.fetch_sub(bytes, Relaxed);
    }
}

impl AnswerRoom {
    /// As much as `memory` has left.
    pub(crate) fn within(memory: Arc<Memory>) -> AnswerRoom {
        AnswerRoom { memory, ..AnswerRoom::default() }
    }

    /// What large answers take in memory that were not sent yet. One that is being made is not among them.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Makes an answer of at most so many bytes, if there is room for it.
    ///
    /// # Errors
    /// `Overloaded`. Answers that go out make room.
    pub(crate) fn answer(
        self: &Arc<Self>,
        bytes: usize,
        make: impl FnOnce() -> Bytes,
    ) -> Result<Bytes, Error> {
        if bytes < LARGE_BYTES {
            return Ok(make());
        }
        let wanted = bytes as u64;
        let before = self.taken.fetch_add(wanted, Relaxed);
        if self.memory.room_for_answers() < before.saturating_add(wanted) {
            self.taken.fetch_sub(wanted, Relaxed);
            return Err(Error::Overloaded);
        }
        let bytes = make();
        let made = bytes.len() as u64;
        debug_assert!(made <= wanted, "it is no longer than it was said to be");
        self.taken.fetch_sub(wanted.saturating_sub(made), Relaxed);
        self.made.fetch_add(made, Relaxed);
        Ok(Bytes::from_owner(Held { bytes, room: self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_share_the_room_and_give_it_back() {
        let room = Arc::new(AnswerRoom::within(Arc::new(Memory::new(1_000_000))));
        let answer = |bytes: usize| room.answer(bytes, || vec![0; bytes].into());
        let first = answer(500_000).expect("950,000 bytes are free");
        let slice = first.slice(10..20);
        assert_eq!(answer(500_000).expect_err("450,000 bytes are free"), Error::Overloaded);
        assert_eq!(answer(LARGE_BYTES - 1).expect("it is small").len(), LARGE_BYTES - 1);
        let second = answer(400_000).expect("450,000 bytes are free");
        assert_eq!(room.made(), 900_000);
        let shorter = room.answer(50_000 + LARGE_BYTES, || vec![0; 5].into());
        assert_eq!(shorter.expect_err("50,000 bytes are free"), Error::Overloaded);
        drop(first);
        assert_eq!(room.made(), 900_000, "a part of it is not sent yet");
        drop(slice);
        let shorter = room.answer(500_000, || vec![0; 5].into()).expect("550,000 bytes are free");
        assert_eq!((room.made(), room.taken.load(Relaxed)), (400_005, 400_005));
        drop((shorter, second));
        assert_eq!((room.made(), room.taken.load(Relaxed)), (0, 0));
    }
}
