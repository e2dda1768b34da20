//! Records on their way, from their place in the order to their commit.
//!
//!     push ─► [ open: record record record ] ─ take ─► [ batch ][ batch ] ─ land ─►
//!                                 ▲ follow: a verdict that is true once what is before it commits
//!
//! The sequencer refuses appends before this grows beyond its limits.

use std::collections::VecDeque;

use crate::origin::Origin;
use crate::record::{LeaseId, Record, SysOp};
use crate::revision::Revision;
use crate::verdict::Verdict;

/// Who is told when a record commits, and what.
#[derive(Debug)]
pub(super) enum Reply<W> {
    /// That it is committed.
    Record(W),
    /// The same of the journal's record that takes back the lease's checkpoint of this number.
    TakenBack(W, LeaseId, u64),
    /// A verdict on another request, which rests on what is before it.
    Follow(Origin, W, Verdict),
    Nobody,
}

/// What is known of a record after it has gone to Raft.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) revision: Revision,
    /// Where it is one about leases.
    pub(super) sysop: Option<SysOp>,
}

/// A record and its reply, or only a reply.
#[derive(Debug)]
pub(super) struct Landing<W> {
    pub(super) place: Option<Place>,
    pub(super) reply: Reply<W>,
}

enum Item<W> {
    Record { record: Record, revision: Revision, bytes: usize, reply: Reply<W> },
    Follow(Origin, W, Verdict),
}

struct Flight<W> {
    landings: Vec<Landing<W>>,
    bytes: usize,
}

pub(super) struct Queue<W> {
    open: VecDeque<Item<W>>,
    flights: VecDeque<Flight<W>>,
    /// The last revision in a batch that was taken.
    taken: Revision,
    waiting: usize,
    waiting_bytes: usize,
}

impl<W> Queue<W> {
    pub(super) fn new(floor: Revision) -> Queue<W> {
        Queue { open: VecDeque::new(), flights: VecDeque::new(), taken: floor, waiting: 0, waiting_bytes: 0 }
    }

    pub(super) fn push(&mut self, record: Record, revision: Revision, bytes: usize, reply: Reply<W>) {
        self.waiting += 1;
        self.waiting_bytes += bytes;
        self.open.push_back(Item::Record { record, revision, bytes, reply });
    }

    /// Answers the waiter when everything pushed so far is committed.
    pub(super) fn follow(&mut self, origin: Origin, waiter: W, verdict: Verdict) {
        self.waiting += 1;
        if !self.open.is_empty() {
            return self.open.push_back(Item::Follow(origin, waiter, verdict));
        }
        let last = self.flights.back_mut().expect("a verdict that follows has something to follow");
        last.landings.push(Landing { place: None, reply: Reply::Follow(origin, waiter, verdict) });
    }

    pub(super) fn batches_in_flight(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes the oldest records, as many as fit into `bytes_max` and at least one, with the revision of the
    /// first that has one of its own.
    pub(super) fn take(&mut self, bytes_max: usize) -> Option<(Revision, Vec<Record>)> {
        let base_revision = self.taken.next();
        let mut records = Vec::new();
        let mut flight = Flight { landings: Vec::new(), bytes: 0 };
        while let Some(item) = self.open.pop_front_if(|item| fits(item, &flight, bytes_max)) {
            match item {
                Item::Follow(origin, waiter, verdict) => {
                    flight
                        .landings
                        .push(Landing { place: None, reply: Reply::Follow(origin, waiter, verdict) });
                }
                Item::Record { record, revision, bytes, reply } => {
                    flight.bytes += bytes;
                    self.taken = revision;
                    let sysop = record.sysop.clone().filter(is_about_leases);
                    let place = Some(Place { origin: record.origin, revision, sysop });
                    flight.landings.push(Landing { place, reply });
                    records.push(record);
                }
            }
        }
        if records.is_empty() {
            return None;
        }
        self.flights.push_back(flight);
        Some((base_revision, records))
    }

    /// The oldest batch is committed.
    pub(super) fn land(&mut self) -> Vec<Landing<W>> {
        let flight = self.flights.pop_front().expect("what commits in this term was taken");
        self.waiting -= flight.landings.len();
        self.waiting_bytes -= flight.bytes;
        flight.landings
    }

    /// What to tell everybody when nothing more will land.
    pub(super) fn abandon(self) -> Vec<(W, Verdict)> {
        let proposed = self.flights.into_iter().flat_map(|flight| flight.landings).filter_map(|landing| {
            match landing.reply {
                Reply::Record(waiter) | Reply::TakenBack(waiter, ..) => Some((waiter, Verdict::Unknown)),
                Reply::Follow(_, waiter, _) => Some((waiter, Verdict::NotLeader { hint: None })),
                Reply::Nobody => None,
            }
        });
        let open = self.open.into_iter().filter_map(|item| match item {
            Item::Record { reply: Reply::Nobody, .. } => None,
            Item::Record {
                reply: Reply::Record(waiter) | Reply::TakenBack(waiter, ..) | Reply::Follow(_, waiter, _),
                ..
            }
            | Item::Follow(_, waiter, _) => Some((waiter, Verdict::NotLeader { hint: None })),
        });
        proposed.chain(open).collect()
    }
}

/// Verdicts always go with the record before them, so that the queue never begins with one.
fn fits<W>(item: &Item<W>, flight: &Flight<W>, bytes_max: usize) -> bool {
    match item {
        Item::Follow(..) => true,
        Item::Record { bytes, .. } => flight.bytes == 0 || flight.bytes + bytes <= bytes_max,
    }
}

fn is_about_leases(sysop: &SysOp) -> bool {
    matches!(sysop, SysOp::LeaseGrant { .. } | SysOp::LeaseRevoke { .. })
}
