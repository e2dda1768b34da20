//! Keys held for a request that has lost too often, until it comes back or its time is over.

use super::broken::Broken;
use super::record::{Origin, Read, Time, Write};

#[derive(Debug)]
struct Reservation {
    origin: Origin,
    reads: Vec<Read>,
    until: Time,
}

/// Of one leader, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    held: Vec<Reservation>,
}

/// About as long as an append takes that nothing delays.
const HELD_FOR: Time = 150;

impl Reservations {
    /// Whether somebody else holds what the origin wants to write.
    pub(crate) fn block(&mut self, origin: Origin, writes: &[Write], now: Time) -> bool {
        self.held.retain(|held| now < held.until);
        let mut others = self.held.iter().filter(|held| !held.origin.is_same_request(origin));
        others.any(|held| touches(&held.reads, writes))
    }

    /// Holds what the origin reads, once, and unless somebody holds what it writes: nobody waits in a circle.
    pub(crate) fn hold(
        &mut self,
        origin: Origin,
        reads: &[Read],
        writes: &[Write],
        now: Time,
        broken: Option<Broken>,
    ) {
        let has_one = self.held.iter().any(|held| held.origin.is_same_request(origin));
        if has_one || self.held.iter().any(|held| touches(&held.reads, writes)) {
            return;
        }
        let for_ever = broken == Some(Broken::ReservedForEver);
        let until = if for_ever { Time::MAX } else { now + HELD_FOR };
        self.held.push(Reservation { origin, reads: reads.to_vec(), until });
    }

    pub(crate) fn release(&mut self, origin: Origin) {
        self.held.retain(|held| !held.origin.is_same_request(origin));
    }
}

fn touches(reads: &[Read], writes: &[Write]) -> bool {
    let changes = |read: &Read, write: &Write| match read {
        Read::Keys { keys, .. } => keys.contains(write.key()),
        Read::Lease { lease, .. } => write.lease() == Some(*lease),
    };
    reads.iter().any(|read| writes.iter().any(|write| changes(read, write)))
}
