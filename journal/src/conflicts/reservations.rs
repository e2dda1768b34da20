//! Keys held for a request that has lost too often.
//!
//! A transaction that stays true while what it reads is overwritten can lose for ever. After a few conflicts it
//! asks for a reservation: until it comes back, or for 50 ms, no other request may write what it reads.
//!
//!     held        [a]    [c ──── f)    [k]     [m ─────     in order, apart from each other
//!     writes          b             g       l               in order: each list is walked once, in leaps
//!
//! The end of a lease reads and writes as many keys as were attached to it, so the two lists are never compared
//! each with each.

use std::time::Duration;

use bytes::Bytes;

use crate::key_range::KeyRange;
use crate::origin::Origin;
use crate::record::{LeaseId, Read, Write};

/// How long keys are held at the most.
const HELD_FOR: Duration = Duration::from_millis(50);

/// When so many are held no more are given: a request that asks then goes on without, as all do at first.
const RESERVATIONS_MAX: usize = 64;

/// Ranges and leases that all reservations hold together. A request that would exceed it goes on without one.
const HELD_MAX: usize = 1 << 18;

struct Reservation {
    frontend: u64,
    seq: u64,
    footprint: Footprint,
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
    compared: u64,
}

impl Reservations {
    /// Whether another request holds what the origin wants to write.
    pub(crate) fn block(&mut self, origin: Origin, writes: &[Write], now: Duration) -> bool {
        if self.held.is_empty() {
            return false;
        }
        self.held.retain(|reservation| now < reservation.until);
        let mut others = self.held.iter().filter(|reservation| !reservation.is_of(origin)).peekable();
        if others.peek().is_none() {
            return false;
        }
        let written = Written::new(writes, &mut self.compared);
        others.any(|reservation| reservation.footprint.meets(&written, &mut self.compared))
    }

    /// Holds what the origin reads, unless it holds something already: a reservation is not prolonged. Nor is
    /// one given to an origin that another's blocks. So of all that hold something the last is blocked by
    /// none, and they cannot wait for each other in a circle.
    pub(crate) fn hold(&mut self, origin: Origin, reads: &[Read], writes: &[Write], now: Duration) {
        self.held.retain(|reservation| now < reservation.until);
        let has_one = self.held.iter().any(|reservation| reservation.is_of(origin));
        let held: usize = self.held.iter().map(|reservation| reservation.footprint.len()).sum();
        let full = self.held.len() == RESERVATIONS_MAX || HELD_MAX < held.saturating_add(reads.len());
        if has_one || full || self.block(origin, writes, now) {
            return;
        }
        let Origin { frontend, seq, .. } = origin;
        let footprint = Footprint::new(reads, &mut self.compared);
        self.held.push(Reservation { frontend, seq, footprint, until: now + HELD_FOR });
    }

    /// The origin has what it wanted.
    pub(crate) fn release(&mut self, origin: Origin) {
        if !self.held.is_empty() {
            self.held.retain(|reservation| !reservation.is_of(origin));
        }
    }

    /// Keys and leases compared so far: the work that this took.
    pub(crate) fn compared(&self) -> u64 {
        self.compared
    }
}

/// What was read, in order.
struct Footprint {
    /// None empty, none with a key of another.
    keys: Vec<KeyRange>,
    leases: Vec<LeaseId>,
}

impl Footprint {
    fn new(reads: &[Read], compared: &mut u64) -> Footprint {
        let (mut ranges, mut leases) = (Vec::new(), Vec::new());
        for read in reads {
            match read {
                Read::Keys { keys, .. } if keys.is_empty() => {}
                Read::Keys { keys, .. } => ranges.push(keys),
                Read::Lease { lease, .. } => leases.push(*lease),
            }
        }
        ranges.sort_by(|a, b| {
            *compared += 1;
            a.start().cmp(b.start())
        });
        leases.sort_unstable();
        let mut keys: Vec<KeyRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            *compared += 1;
            match keys.last_mut().filter(|last| last.contains(range.start())) {
                Some(last) => *last = union(last, range),
                None => keys.push(range.clone()),
            }
        }
        Footprint { keys, leases }
    }

    fn len(&self) -> usize {
        self.keys.len() + self.leases.len()
    }

    /// Whether any of the writes changes what was read.
    fn meets(&self, written: &Written<'_>, compared: &mut u64) -> bool {
        let (mut ranges, mut keys) = (&self.keys[..], &written.keys[..]);
        while let Some(range) = ranges.first() {
            keys = gallop(keys, |key| *key < range.start(), compared);
            let Some(key) = keys.first() else { break };
            if range.contains(key) {
                return true;
            }
            ranges = gallop(ranges, |range| is_below(range, key), compared);
        }
        let (mut held, mut attached) = (&self.leases[..], &written.leases[..]);
        while let Some(lease) = held.first() {
            attached = gallop(attached, |other| other < lease, compared);
            match attached.first() {
                Some(other) if other == lease => return true,
                Some(other) => held = gallop(held, |lease| lease < other, compared),
                None => break,
            }
        }
        false
    }
}

/// What a record writes, in order.
struct Written<'a> {
    keys: Vec<&'a Bytes>,
    /// To which keys are attached.
    leases: Vec<LeaseId>,
}

impl Written<'_> {
    fn new<'a>(writes: &'a [Write], compared: &mut u64) -> Written<'a> {
        let mut keys: Vec<&Bytes> = writes.iter().map(Write::key).collect();
        // As most come: nothing more than a look at each.
        keys.sort_by(|a, b| {
            *compared += 1;
            a.cmp(b)
        });
        let lease = |write: &Write| match write {
            Write::Put { lease, .. } if *lease != LeaseId::NONE => Some(*lease),
            Write::Put { .. } | Write::Delete { .. } => None,
        };
        let mut leases: Vec<LeaseId> = writes.iter().filter_map(lease).collect();
        leases.sort_unstable();
        Written { keys, leases }
    }
}

/// The items from the first that is not before. `is_before` holds of some first items and of none after them.
/// Exponential search: what is passed over costs its logarithm, so a long list beside a short one costs little.
fn gallop<'a, T>(items: &'a [T], is_before: impl Fn(&T) -> bool, compared: &mut u64) -> &'a [T] {
    let mut looks = |item: &T| {
        *compared += 1;
        is_before(item)
    };
    let mut reach = 1;
    while items.get(reach - 1).is_some_and(&mut looks) {
        reach *= 2;
    }
    let known = reach / 2;
    let ahead = &items[known..items.len().min(reach)];
    &items[known + ahead.partition_point(looks)..]
}

/// Whether all keys of the range come before the key.
fn is_below(range: &KeyRange, key: &Bytes) -> bool {
    match range {
        KeyRange::Single(only) => only < key,
        KeyRange::Range { end, .. } => end <= key,
        KeyRange::From(_) => false,
    }
}

/// The keys of both, where the second begins within the first.
fn union(first: &KeyRange, second: &KeyRange) -> KeyRange {
    match (first, second) {
        (KeyRange::Range { start, end }, KeyRange::Range { end: other, .. }) => {
            KeyRange::Range { start: start.clone(), end: end.max(other).clone() }
        }
        (KeyRange::Range { start, .. }, KeyRange::From(_)) => KeyRange::From(start.clone()),
        // Of one key the second has the same, and maybe more.
        (KeyRange::Single(_), _) => second.clone(),
        (KeyRange::From(_), _) | (_, KeyRange::Single(_)) => first.clone(),
    }
}
