//! What clients asked and were told, in the order in which it happened, and what watchers saw.
//!
//! All of it is one sequence, because a simulation has one thread: that an answer came before a question was asked is
//! never in doubt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontend::answer::{DeleteAnswer, PutAnswer, RangeAnswer, TxnAnswer};
use frontend::operation::{DeleteRange, Put, Range, Txn};
use frontend::{Error, EventKind, KeyValue, LeaseId};
use parking_lot::Mutex;

use crate::system;

/// A place in the sequence, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) place: u64,
    pub(crate) time: Duration,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Put(Put),
    Delete(DeleteRange),
    Range(Range),
    Txn(Txn),
    Compact(u64),
    Grant,
    KeepAlive(LeaseId),
    Revoke(LeaseId),
}

/// What it is told, with the revision of the answer's header where there is one.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Put(PutAnswer),
    Delete(DeleteAnswer),
    Range(RangeAnswer),
    Txn(TxnAnswer),
    Done,
    Granted {
        lease: LeaseId,
        ttl_seconds: i64,
    },
    /// `None`: there is no such lease.
    Kept(Option<i64>),
}

/// How a request ended. One without an end was lost together with its endpoint.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the errors are for whoever reads what is wrong")]
pub(crate) enum End {
    Answered {
        answer: Answer,
        revision: u64,
    },
    /// It has not happened.
    Refused(Error),
    /// It may have happened.
    Unknown(Error),
}

impl End {
    pub(crate) fn of(error: Error) -> End {
        match error {
            Error::TimedOut | Error::Stopped | Error::NoLeader | Error::Internal(_) => End::Unknown(error),
            _ => End::Refused(error),
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// The endpoint: a process, in one of its lives.
    pub(crate) endpoint: (usize, u32),
    pub(crate) called: Moment,
    pub(crate) asked: Asked,
    pub(crate) ended: Option<(Moment, End)>,
}

/// A change as a watcher is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: EventKind,
    pub(crate) kv: KeyValue,
    pub(crate) prev: Option<KeyValue>,
}

/// What one revision changed, and when a watcher was first told.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) told: Duration,
    pub(crate) events: Vec<Seen>,
}

/// Everything. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct History {
    shared: Arc<Mutex<Record>>,
}

#[derive(Default)]
pub(crate) struct Record {
    places: u64,
    pub(crate) requests: Vec<Request>,
    /// By revision, as watchers of everything have been told.
    pub(crate) changes: BTreeMap<u64, Changed>,
    /// The first revision that no watcher has told of, with all before it told.
    pub(crate) told_before: u64,
    /// What is wrong already.
    pub(crate) wrong: Vec<String>,
    pub(crate) leases: Vec<LeaseId>,
}

impl Record {
    fn moment(&mut self) -> Moment {
        self.places += 1;
        Moment { place: self.places, time: now() }
    }
}

/// The world's time, as the thread has it: the process's own clock may be another.
fn now() -> Duration {
    system::world_now()
}

impl History {
    pub(crate) fn call(&self, endpoint: (usize, u32), asked: Asked) -> u64 {
        let mut record = self.shared.lock();
        let (id, called) = (record.requests.len() as u64, record.moment());
        record.requests.push(Request { id, endpoint, called, asked, ended: None });
        id
    }

    pub(crate) fn end(&self, id: u64, end: End) {
        let mut record = self.shared.lock();
        let moment = record.moment();
        if let End::Answered { answer: Answer::Granted { lease, .. }, .. } = &end {
            record.leases.push(*lease);
        }
        let place = usize::try_from(id).expect("it counts requests");
        record.requests[place].ended = Some((moment, end));
    }

    /// A watcher of everything is told of a whole revision, having been told of all before.
    pub(crate) fn told(&self, revision: u64, events: Vec<Seen>) {
        let mut record = self.shared.lock();
        match record.changes.get(&revision) {
            Some(known) if without_prev(&known.events) != without_prev(&events) => {
                let wrong = format!("revision {revision} is told as {:?} and as {events:?}", known.events);
                record.wrong.push(wrong);
            }
            Some(_) => {}
            None => drop(record.changes.insert(revision, Changed { told: now(), events })),
        }
        let mut next = record.told_before.max(2);
        while record.changes.contains_key(&next) {
            next += 1;
        }
        record.told_before = next;
    }

    pub(crate) fn is_wrong(&self, what: String) {
        self.shared.lock().wrong.push(what);
    }

    /// All revisions before it are known.
    pub(crate) fn told_before(&self) -> u64 {
        self.shared.lock().told_before.max(2)
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.shared.lock())
    }

    pub(crate) fn key_of(number: u64) -> Bytes {
        let group = [b'a', b'd', b'h', b'm'][usize::try_from(number % 4).expect("four")];
        Bytes::from(vec![group, b'0' + u8::try_from(number / 4 % 10).expect("a digit")])
    }
}

/// A key as it was before may be compacted for one watcher and not for another.
fn without_prev(events: &[Seen]) -> Vec<(EventKind, &KeyValue)> {
    events.iter().map(|event| (event.kind, &event.kv)).collect()
}
