//! How many keys of a range there were at a revision, without reading one of them.
//!
//!     now:   the order of the keys knows
//!     then:  now, less the births and plus the deaths since            when little has happened since
//!            or: look at every key of the range                        when more has happened than that
//!
//! Kubernetes pages through a prefix at the revision of the first page and wants the number on each page.

use std::ops::ControlFlow;

use bytes::Bytes;
use journal::{KeyRange, Revision};

use crate::history::{Life, Position};
use crate::store::{Lower, Store};

/// Changes looked at in one step. Most of them touch no key.
const CHANGES: usize = 16_384;
/// Keys looked at in one step.
const KEYS: usize = 2_048;
/// Looking at a key costs about as much as looking at this many changes.
const CHANGES_PER_KEY: usize = 4;

/// A count under way. Between its steps the store may go on, as long as `at` stays pinned.
pub(crate) struct Counting {
    at: Revision,
    state: State,
}

enum State {
    Begin,
    /// `count` keys when there was nothing behind `end`; what happened from `at` to `next` is taken back already.
    TakeBack {
        count: u64,
        next: Position,
        end: Position,
    },
    Look {
        count: u64,
        behind: Option<Bytes>,
    },
}

impl Counting {
    pub(crate) fn new(at: Revision) -> Counting {
        Counting { at, state: State::Begin }
    }

    /// Does a bounded part of it, and answers the count once it is known.
    pub(crate) fn step(&mut self, store: &Store, keys: &KeyRange) -> Option<u64> {
        if let State::Begin = self.state {
            self.state = begin(store, keys, self.at);
        }
        match &mut self.state {
            State::Begin => unreachable!("it has begun"),
            State::TakeBack { count, next, end } => take_back(store, keys, count, next, *end),
            State::Look { count, behind } => look(store, keys, self.at, count, behind),
        }
    }
}

fn begin(store: &Store, keys: &KeyRange, at: Revision) -> State {
    let now = store.sum(keys);
    let next = (at.next(), 0);
    if store.history.about_after(next) <= CHANGES + now.all * CHANGES_PER_KEY {
        // That may be in the middle of a batch, of which nothing is to be seen yet.
        State::TakeBack { count: number(now.alive), next, end: store.history.end() }
    } else {
        State::Look { count: 0, behind: None }
    }
}

fn take_back(
    store: &Store,
    keys: &KeyRange,
    count: &mut u64,
    next: &mut Position,
    end: Position,
) -> Option<u64> {
    let (mut born, mut died) = (0, 0);
    for (looked, change) in store.history.from(*next).enumerate() {
        if end <= change.position() {
            break;
        }
        if looked == CHANGES {
            *next = change.position();
            *count = *count + died - born;
            return None;
        }
        match change.life() {
            Life::Lives => {}
            Life::Born => born += u64::from(keys.contains(store.chain(change.slot).key())),
            Life::Died => died += u64::from(keys.contains(store.chain(change.slot).key())),
        }
    }
    Some(*count + died - born)
}

fn look(
    store: &Store,
    keys: &KeyRange,
    at: Revision,
    count: &mut u64,
    behind: &mut Option<Bytes>,
) -> Option<u64> {
    let lower = behind.as_deref().map_or(Lower::At(keys.start()), Lower::Behind);
    *behind = store.scan(keys, lower, at, KEYS, |_| {
        *count += 1;
        ControlFlow::Continue(())
    });
    behind.is_none().then_some(*count)
}

fn number(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}
