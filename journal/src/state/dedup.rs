//! What became of recent requests, so that a retry never happens twice.
//!
//!     journal   ···  [ forgotten ]( window: `lsn_distance` positions, at most `outcomes_max` requests ]
//!
//! Of what is forgotten a frontend's highest request number stays: up to it nobody can tell any more,
//! and saying "never" would be a guess. No request of such a number is appended any more. A frontend numbers its
//! requests when it first appends them, so only a retry comes that late; where every earlier attempt was refused, the
//! request goes on under a new number.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;

use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::planted::Bug;
use crate::revision::Revision;

/// What a request became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) lsn: Lsn,
    pub(crate) revision: Revision,
    pub(crate) term: u64,
    pub(crate) attempt: u32,
}

/// What dedup can say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Committed(Outcome),
    /// Not among what was applied.
    No,
    /// It may have been, too long ago.
    Forgotten,
}

/// The same on every node of a cluster, or their states would differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How far back requests are remembered, in positions.
    pub(crate) lsn_distance: u64,
    /// When full, the oldest are forgotten before their distance.
    pub(crate) outcomes_max: usize,
    /// How far back a frontend none of whose requests is remembered is still known, in positions. Far longer
    /// than any request lives: a frontend that is not known is taken for a new one.
    pub(crate) frontend_distance: u64,
    /// When full, the frontend that is idle for longest is forgotten before its distance.
    pub(crate) frontends_idle_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            lsn_distance: 1 << 16,
            outcomes_max: 1 << 16,
            frontend_distance: 1 << 20,
            frontends_idle_max: 1 << 12,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frontend {
    /// Below this number requests may be forgotten; 0 where none is.
    pub(super) forgotten: u64,
    /// How many of its requests are remembered.
    pub(super) remembered: usize,
    /// Where its last request was committed.
    pub(super) last: Lsn,
}

/// The window of recent requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dedup {
    limits: Limits,
    outcomes: HashMap<(u64, u64), Outcome>,
    /// The keys of `outcomes`, oldest first.
    order: VecDeque<(u64, u64)>,
    frontends: HashMap<u64, Frontend>,
    /// Frontends none of whose requests is remembered, idle for longest first.
    idle: BTreeSet<(Lsn, u64)>,
}

impl Dedup {
    pub(super) fn new(limits: Limits) -> Dedup {
        Dedup {
            limits,
            outcomes: HashMap::new(),
            order: VecDeque::new(),
            frontends: HashMap::new(),
            idle: BTreeSet::new(),
        }
    }

    /// Remembers a request. The frontend 0 is the journal itself, which never retries.
    pub(super) fn note(&mut self, origin: Origin, outcome: Outcome) {
        if origin.frontend == 0 {
            return;
        }
        let key = (origin.frontend, origin.seq);
        let earlier = self.outcomes.insert(key, outcome);
        assert!(earlier.is_none() || Bug::ForgetDedup.is_planted(), "a request is committed once");
        self.order.push_back(key);
        let unknown = Frontend { forgotten: 0, remembered: 0, last: outcome.lsn };
        let frontend = self.frontends.entry(origin.frontend).or_insert(unknown);
        if frontend.remembered == 0 {
            self.idle.remove(&(frontend.last, origin.frontend));
        }
        frontend.remembered += 1;
        frontend.last = outcome.lsn;
    }

    /// Forgets what is too old when `lsn` has been applied, and what is too much.
    pub(super) fn forget_before(&mut self, lsn: Lsn) {
        while let Some(key) = self.order.front().copied() {
            let old = lsn.0 - self.outcomes[&key].lsn.0 > self.limits.lsn_distance;
            if !old && self.order.len() <= self.limits.outcomes_max {
                break;
            }
            self.forget_oldest(key);
        }
        while let Some((last, frontend)) = self.idle.first().copied() {
            let old = lsn.0 - last.0 > self.limits.frontend_distance;
            if !old && self.idle.len() <= self.limits.frontends_idle_max {
                break;
            }
            self.idle.pop_first();
            self.frontends.remove(&frontend);
        }
    }

    fn forget_oldest(&mut self, key: (u64, u64)) {
        self.order.pop_front();
        self.outcomes.remove(&key);
        let (id, seq) = key;
        let frontend = self.frontends.get_mut(&id).expect("it has remembered requests");
        frontend.forgotten = frontend.forgotten.max(seq.saturating_add(1));
        frontend.remembered -= 1;
        if frontend.remembered == 0 {
            self.idle.insert((frontend.last, id));
        }
    }

    pub(crate) fn known(&self, origin: Origin) -> Known {
        if Bug::ForgetDedup.is_planted() {
            return Known::No;
        }
        if let Some(outcome) = self.outcomes.get(&(origin.frontend, origin.seq)) {
            return Known::Committed(*outcome);
        }
        match self.frontends.get(&origin.frontend) {
            Some(frontend) if origin.seq < frontend.forgotten => Known::Forgotten,
            _ => Known::No,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Oldest first.
    pub(super) fn outcomes(&self) -> impl ExactSizeIterator<Item = (Origin, Outcome)> {
        self.order.iter().map(|&(frontend, seq)| {
            let outcome = self.outcomes[&(frontend, seq)];
            (Origin { frontend, seq, attempt: outcome.attempt }, outcome)
        })
    }

    /// Those of which something is forgotten, by their ids.
    pub(super) fn frontends(&self) -> Vec<(u64, Frontend)> {
        let mut frontends: Vec<_> = self.frontends.iter().map(|(id, frontend)| (*id, *frontend)).collect();
        frontends.retain(|(_, frontend)| frontend.forgotten != 0);
        frontends.sort_unstable_by_key(|(id, _)| *id);
        frontends
    }

    /// Puts back what `frontends` answered, before the outcomes are noted again.
    pub(super) fn restore_frontend(&mut self, id: u64, forgotten: u64, last: Lsn) {
        self.frontends.insert(id, Frontend { forgotten, remembered: 0, last });
        self.idle.insert((last, id));
    }

    /// Whether the request is among the remembered.
    pub(super) fn remembers(&self, origin: Origin) -> bool {
        self.outcomes.contains_key(&(origin.frontend, origin.seq))
    }
}
