//! Whether this process has memory left: what makes it grow is refused before the system ends it.
//!
//!     resident   ├───────────────────────────┤ 90 % ├ 95 % ┤ limit
//!     growth     admitted                     refused
//!     answers    as much as fits below 95 %, all together
//!
//! What was freed stays with the process, which uses it again. So once growth was refused, it goes on as soon as the
//! keys take a sixteenth less than then, however much is resident.
//!
//! Answers are counted as they take their room, and so is resident memory with each hundredth of the limit that they take:
//! what an allocator cannot use again, and what no account has, is known however fast they come.

mod reservation;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::reservation::KEY_BYTES;
pub use self::reservation::MemoryReservation;

/// What of the limit may be resident before growth is refused, and what answers may fill up, in hundredths.
const GROWTH_UPTO: u64 = 90;
const ANSWERS_UPTO: u64 = 95;
/// From here on it may be refused soon.
const CLOSE: u64 = 70;
/// How much more than when growth was refused may be resident, as a part of the limit, before it is refused again.
const MORE_THAN_BEFORE: u64 = 64;
/// Below this, everything is as if growth had never been refused.
const WELL_BELOW: u64 = 80;
/// What answers may always take together, as a part of the limit: memory that was freed is not seen.
const ANSWERS_LEAST: u64 = 20;
/// Part of the limit that answers may take before resident memory is measured again.
const MEASURED_EVERY: u64 = 128;

/// Returns the process's resident memory in bytes; `None` where the system does not tell.
type Gauge = fn() -> Option<u64>;

/// What a process may take, and what it takes.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    /// Without what answers take that are under way.
    resident: AtomicU64,
    /// Bytes that were taken for answers.
    answers: AtomicU64,
    /// Those of them that stand in memory by now.
    answers_made: AtomicU64,
    gauge: Gauge,
    /// Bytes that answers have asked for since resident memory was measured.
    unmeasured: AtomicU64,
    is_short: watch::Sender<bool>,
    full: Mutex<Option<Full>>,
}

/// How it was when growth was refused.
#[derive(Clone, Copy, Debug)]
struct Full {
    /// What the keys took.
    keys: u64,
    /// The most that was resident since, as long as it was refused.
    resident: u64,
}

impl Full {
    /// Whether the keys take a sixteenth less than then.
    fn has_shed(&self, keys: u64) -> bool {
        keys < self.keys - self.keys / 16
    }
}

impl Default for Memory {
    /// Without a limit.
    fn default() -> Memory {
        Memory::new(u64::MAX)
    }
}

impl Memory {
    /// In bytes. What is resident is told by `see` alone.
    #[must_use]
    pub fn new(limit: u64) -> Memory {
        Memory::measured(limit, || None)
    }

    /// In bytes. What is resident is measured by `gauge` as answers take their room.
    #[must_use]
    pub fn measured(limit: u64, gauge: Gauge) -> Memory {
        Memory {
            limit,
            resident: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            answers_made: AtomicU64::new(0),
            gauge,
            unmeasured: AtomicU64::new(0),
            is_short: watch::Sender::new(false),
            full: Mutex::new(None),
        }
    }

    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    #[must_use]
    pub fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    /// Whether what makes the keys take more is to be refused.
    #[must_use]
    pub fn is_short(&self) -> bool {
        *self.is_short.borrow()
    }

    /// Resolves when it is short, and was `short` instead; or the other way round.
    pub(crate) async fn turned_from(&self, short: bool) {
        // It is there for as long as this one.
        drop(self.is_short.subscribe().wait_for(|now| *now != short).await);
    }

    /// Whether so much is resident that it may soon be short.
    #[must_use]
    pub fn is_close(&self) -> bool {
        part(self.limit, CLOSE) <= self.resident()
    }

    /// How much answers may take together that were not sent yet.
    #[must_use]
    pub fn room_for_answers(&self) -> u64 {
        let room = part(self.limit, ANSWERS_UPTO).saturating_sub(self.resident());
        room.max(self.limit / ANSWERS_LEAST)
    }

    /// Takes room for an answer of so many bytes; false where there is none.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let unmeasured = self.unmeasured.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if self.limit / MEASURED_EVERY < unmeasured {
            self.unmeasured.store(0, Relaxed);
            if let Some(resident) = self.measure() {
                self.resident.store(resident, Relaxed);
            }
        }
        let before = self.answers.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(bytes) <= self.room_for_answers();
        if !fits {
            self.answers.fetch_sub(bytes, Relaxed);
        }
        fits
    }

    /// So many bytes of what was taken are filled now.
    pub fn made(&self, bytes: u64) {
        self.answers_made.fetch_add(bytes, Relaxed);
    }

    /// Returns what was taken, and what of it was filled.
    pub fn give_back(&self, taken: u64, made: u64) {
        self.answers_made.fetch_sub(made, Relaxed);
        self.answers.fetch_sub(taken, Relaxed);
    }

    /// Bytes that answers take in memory that were not sent yet.
    #[must_use]
    pub fn answers_made(&self) -> u64 {
        self.answers_made.load(Relaxed)
    }

    /// Measures what is resident now, without answers. `None` where the system does not tell.
    #[must_use]
    pub fn measure(&self) -> Option<u64> {
        let before = self.answers_made();
        let resident = (self.gauge)()?;
        // Those that come and go meanwhile are either in both figures or taken for other memory.
        Some(resident.saturating_sub(before.min(self.answers_made())))
    }

    /// Takes note of what is resident now, without answers, and of what the keys take of it. True where it is short now
    /// and was not before, or the other way round.
    pub fn see(&self, resident: u64, keys: u64) -> bool {
        self.unmeasured.store(0, Relaxed);
        self.resident.store(resident, Relaxed);
        let (mut full, was_short) = (self.full.lock(), self.is_short());
        let is_short = match &mut *full {
            None => part(self.limit, GROWTH_UPTO) <= resident,
            Some(_) if resident < part(self.limit, WELL_BELOW) => {
                *full = None;
                false
            }
            Some(full) if was_short => {
                full.resident = full.resident.max(resident);
                !full.has_shed(keys)
            }
            // Either as many keys are there again, or fewer take more than those did.
            Some(full) => {
                let most = full.resident + self.limit / MORE_THAN_BEFORE;
                !full.has_shed(keys) || most.max(part(self.limit, GROWTH_UPTO)) < resident
            }
        };
        if is_short && !was_short {
            *full = Some(Full { keys, resident });
        }
        self.is_short.send_if_modified(|short| std::mem::replace(short, is_short) != is_short)
    }
}

fn part(limit: u64, hundredths: u64) -> u64 {
    limit / 100 * hundredths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident bytes, bytes of keys, and whether it is short then, of 1,000 bytes.
    #[track_caller]
    fn check(steps: &[(u64, u64, bool)]) {
        let memory = Memory::new(1_000);
        let mut was = false;
        for (at, (resident, keys, short)) in steps.iter().enumerate() {
            let changed = memory.see(*resident, *keys);
            assert_eq!((memory.is_short(), changed), (*short, was != *short), "step {at}");
            was = *short;
        }
    }

    #[test]
    fn growth_ends_before_memory_does() {
        check(&[(0, 0, false), (899, 500, false), (900, 501, true), (950, 520, true)]);
    }

    #[test]
    fn what_was_freed_is_used_again_though_it_stays_resident() {
        check(&[(900, 640, true), (900, 601, true), (900, 599, false), (910, 599, false), (910, 600, true)]);
        check(&[
            (900, 640, true),
            (900, 300, false),
            (900, 599, false),
            (799, 599, false),
            (899, 700, false),
        ]);
    }

    #[test]
    fn keys_that_take_more_than_those_before_are_not_believed() {
        check(&[
            (900, 640, true),
            (930, 640, true),
            (930, 300, false),
            (945, 310, false),
            (946, 310, true),
            (946, 300, true),
            (946, 290, false),
            (946, 290, false),
            (962, 290, true),
        ]);
    }

    #[test]
    fn little_is_left_before_growth_is_refused() {
        let memory = Memory::new(1_000);
        for (resident, close) in [(699, false), (700, true), (899, true), (600, false)] {
            assert_eq!((memory.see(resident, 0), memory.is_close()), (false, close), "{resident}");
        }
    }

    /// However many come before the next look.
    #[test]
    fn what_no_account_has_is_seen_as_answers_come() {
        static RESIDENT: AtomicU64 = AtomicU64::new(0);
        let memory = Memory::measured(1_280_000, || Some(RESIDENT.load(Relaxed)));
        let mut taken = 0;
        while memory.take(5_000) {
            taken += 5_000;
            memory.made(5_000);
            // Each takes as much again.
            RESIDENT.store(2 * taken, Relaxed);
        }
        assert!((590_000..=620_000).contains(&taken), "{taken} bytes of 1,216,000 that are twice as much");
        memory.give_back(taken, taken);
        assert!(!memory.take(500_000), "the system does not have it again");
        RESIDENT.store(100_000, Relaxed);
        assert!(memory.take(500_000));
    }

    #[test]
    fn answers_always_have_some_room() {
        let memory = Memory::new(1_000);
        memory.see(500, 0);
        assert_eq!(memory.room_for_answers(), 450);
        memory.see(990, 0);
        assert_eq!(memory.room_for_answers(), 50);
        assert_eq!(Memory::default().room_for_answers(), u64::MAX / 100 * 95);
        assert!(!Memory::default().is_short());
    }
}
