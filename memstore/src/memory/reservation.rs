//! Memory that the reads of one request hold, from the first key to the encoded answer.
//!
//!     request ── scope ──► read ──► grow, grow, … ──► encode ──► release
//!                                    └── no room: `Overloaded`
//!
//! A read asks for room as its keys come in and not once it has all of them: so many lists at once are refused before
//! they fill the memory. The reservation of the request under way is found by its task, since reads pass many hands.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Memory;
use crate::error::Error;
use crate::key_value::KeyValue;

/// Bytes that a request may read without being counted: a connection has few of them.
const SMALL_BYTES: u64 = 64 << 10;
/// Bytes that a key takes besides its own and its value's: the structures that carry it to the encoder.
pub(crate) const KEY_BYTES: u64 = 2 * size_of::<KeyValue>() as u64;

tokio::task_local! {
    static CURRENT: Arc<MemoryReservation>;
}

/// Bytes of a process's memory that one request holds; returned when this is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    memory: Arc<Memory>,
    bytes: Mutex<Bytes>,
}

#[derive(Debug, Default)]
struct Bytes {
    /// Bytes that were read.
    read: u64,
    /// Those of them that are counted.
    counted: u64,
    /// Bytes of the answer that will be encoded from what was read.
    answer: u64,
    /// Those of them for which room was taken.
    answer_taken: u64,
    /// Room of the answer that is not spent.
    spare: u64,
}

impl MemoryReservation {
    /// Holds nothing yet.
    #[must_use]
    pub fn of(memory: &Arc<Memory>) -> Arc<MemoryReservation> {
        Arc::new(MemoryReservation { memory: memory.clone(), bytes: Mutex::default() })
    }

    /// Runs a request whose reads are counted here.
    pub async fn scope<F: Future>(self: Arc<Self>, request: F) -> F::Output {
        CURRENT.scope(self, request).await
    }

    /// Returns the reservation of the request that this task runs. `None` outside of requests.
    pub(crate) fn current() -> Option<Arc<MemoryReservation>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// `Overloaded`: the process has no memory left for them.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), Error> {
        self.grow_with_answer(bytes, 0)
    }

    /// Takes so many bytes more, and room for those of the answer that are encoded from them: what is read whole can then be
    /// answered, however many read at the same time.
    ///
    /// # Errors
    /// `Overloaded`: the process has no memory left for both.
    pub(crate) fn grow_with_answer(&self, bytes: u64, answer: u64) -> Result<(), Error> {
        let mut held = self.bytes.lock();
        held.read = held.read.saturating_add(bytes);
        held.answer = held.answer.saturating_add(answer);
        if held.read < SMALL_BYTES {
            return Ok(());
        }
        let (wanted, spare) = (held.read - held.counted, held.answer - held.answer_taken);
        if !self.memory.take(wanted.saturating_add(spare)) {
            return Err(Error::Overloaded);
        }
        self.memory.made(wanted);
        held.counted += wanted;
        held.answer_taken += spare;
        held.spare += spare;
        Ok(())
    }

    /// Returns how many of an answer's bytes have room already. The caller has it from now on, and gives it back.
    #[must_use]
    pub fn spend(&self, bytes: u64) -> u64 {
        let mut held = self.bytes.lock();
        let spent = held.spare.min(bytes);
        held.spare -= spent;
        spent
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        let Bytes { counted, spare, .. } = *self.bytes.get_mut();
        self.memory.give_back(counted + spare, counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_share_the_memory_and_return_it() {
        let memory = Arc::new(Memory::new(1_000_000));
        let read = |reservation: &Arc<MemoryReservation>, bytes| {
            let grow = async move { MemoryReservation::current().expect("it is a request").grow(bytes) };
            reservation.clone().scope(grow)
        };
        let (one, other) = (MemoryReservation::of(&memory), MemoryReservation::of(&memory));
        assert_eq!(read(&one, 300_000).await, Ok(()));
        assert_eq!(read(&other, 400_000).await, Ok(()));
        assert_eq!(read(&one, 300_000).await, Err(Error::Overloaded), "950,000 bytes are all");
        assert_eq!(read(&MemoryReservation::of(&memory), SMALL_BYTES - 1).await, Ok(()), "small ones pass");
        assert_eq!(memory.answers_made(), 700_000);
        drop(one);
        assert_eq!(read(&other, 300_000).await, Ok(()));
        drop(other);
        assert_eq!(memory.answers_made(), 0);
        assert!(MemoryReservation::current().is_none());
    }

    #[test]
    fn what_is_read_whole_has_room_for_its_answer() {
        let memory = Arc::new(Memory::new(1_000_000));
        let (one, other) = (MemoryReservation::of(&memory), MemoryReservation::of(&memory));
        assert_eq!(one.grow_with_answer(300_000, 290_000), Ok(()));
        assert_eq!(other.grow_with_answer(300_000, 290_000), Err(Error::Overloaded));
        assert_eq!(other.grow_with_answer(100_000, 0), Err(Error::Overloaded), "it is refused for good");
        drop(other);
        let other = MemoryReservation::of(&memory);
        assert_eq!(other.grow(360_000), Ok(()), "950,000 bytes are all");
        assert_eq!(one.spend(280_000), 280_000);
        assert_eq!(one.spend(20_000), 10_000, "the rest has no room yet");
        drop(one);
        assert!(!memory.take(300_001) && memory.take(300_000), "what was spent is not returned");
        memory.give_back(300_000, 0);
        memory.give_back(290_000, 0);
        drop(other);
        assert!(memory.take(950_000), "all of it is free again");
    }
}
