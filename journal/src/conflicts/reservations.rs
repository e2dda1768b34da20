//! Keys held for a request that has lost too often.
//!
//! A transaction that stays true while what it reads is overwritten can lose for ever. After a few conflicts it
//! asks for a reservation: until it comes back, or for 50 ms, nobody else may write what it reads.

use std::time::Duration;

use crate::origin::Origin;
use crate::record::{LeaseId, Read, Write};

/// How long keys are held at the most.
const HELD_FOR: Duration = Duration::from_millis(50);

/// When so many are held no more are given: whoever asks goes on without, as everybody does at first.
const RESERVATIONS_MAX: usize = 64;

struct Reservation {
    frontend: u64,
    seq: u64,
    reads: Vec<Read>,
    until: Duration,
}

impl Reservation {
    fn is_of(&self, origin: Origin) -> bool {
        (self.frontend, self.seq) == (origin.frontend, origin.seq)
    }
}

/// The reservations of one leader.
#[derive(Default)]
pub(crate) struct Reservations {
    held: Vec<Reservation>,
}

impl Reservations {
    /// Whether somebody else holds what the origin wants to write.
    pub(crate) fn block(&mut self, origin: Origin, writes: &[Write], now: Duration) -> bool {
        if self.held.is_empty() {
            return false;
        }
        self.held.retain(|reservation| now < reservation.until);
        let mut others = self.held.iter().filter(|reservation| !reservation.is_of(origin));
        others.any(|reservation| touches(&reservation.reads, writes))
    }

    /// Holds what the origin reads, unless it holds something already: a reservation is not prolonged. Nor is
    /// one given to an origin whom another's blocks. So of all that hold something the last is blocked by
    /// nobody, and they cannot wait for each other in a circle.
    pub(crate) fn hold(&mut self, origin: Origin, reads: &[Read], writes: &[Write], now: Duration) {
        self.held.retain(|reservation| now < reservation.until);
        let has_one = self.held.iter().any(|reservation| reservation.is_of(origin));
        let blocked = self.held.iter().any(|reservation| touches(&reservation.reads, writes));
        if has_one || blocked || self.held.len() == RESERVATIONS_MAX {
            return;
        }
        let Origin { frontend, seq, .. } = origin;
        self.held.push(Reservation { frontend, seq, reads: reads.to_vec(), until: now + HELD_FOR });
    }

    /// The origin has what it wanted.
    pub(crate) fn release(&mut self, origin: Origin) {
        if !self.held.is_empty() {
            self.held.retain(|reservation| !reservation.is_of(origin));
        }
    }
}

fn touches(reads: &[Read], writes: &[Write]) -> bool {
    writes.iter().any(|write| reads.iter().any(|read| changes(write, read)))
}

fn changes(write: &Write, read: &Read) -> bool {
    match (read, write) {
        (Read::Keys { keys, .. }, _) => keys.contains(write.key()),
        (Read::Lease { lease, .. }, Write::Put { lease: attached, .. }) => {
            *attached != LeaseId::NONE && attached == lease
        }
        (Read::Lease { .. }, Write::Delete { .. }) => false,
    }
}
