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
/// Bytes that are read for each byte of the buffers in which they come. Lists of 20 MB that filled a frontend's memory took
/// an eighth more than their keys and values; this is twice as much.
const BUFFERS: u64 = 4;

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
    /// Room taken for them.
    taken: u64,
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
        let mut held = self.bytes.lock();
        held.read = held.read.saturating_add(bytes);
        if held.read < SMALL_BYTES {
            return Ok(());
        }
        let wanted = held.read - held.counted;
        let room = wanted + wanted / BUFFERS;
        if !self.memory.take(room) {
            return Err(Error::Overloaded);
        }
        self.memory.made(wanted);
        held.counted += wanted;
        held.taken += room;
        Ok(())
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        let Bytes { counted, taken, .. } = *self.bytes.get_mut();
        self.memory.give_back(taken, counted);
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
}
