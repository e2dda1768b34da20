//! No lease ends before its last acknowledged keep-alive and its time (I8), under any order of grants,
//! keep-alives, checkpoints, revocations and new leaders, whose clocks begin anew; and each ends after it.

use std::collections::BTreeMap;

use super::*;
use crate::state::Applied;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Grant {
        lease: i64,
        ttl_seconds: i64,
    },
    KeepAlive {
        lease: i64,
    },
    Revoke {
        lease: i64,
    },
    Pass {
        milliseconds: u64,
    },
    /// Checkpoints, and leases that have ended are handed out.
    Tick,
    /// Whoever took one comes to revoke it, however late.
    Reap(prop::sample::Index),
    Take,
    Commit,
    NewLeader {
        survivors: usize,
    },
    /// The same leader begins again: what was on its way has landed or never will.
    Again {
        survivors: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let lease = || 1i64..3;
    let ttl = prop_oneof![Just(5i64), Just(301), Just(700), Just(1000)];
    prop_oneof![
        2 => (lease(), ttl).prop_map(|(lease, ttl_seconds)| Step::Grant { lease, ttl_seconds }),
        3 => lease().prop_map(|lease| Step::KeepAlive { lease }),
        1 => lease().prop_map(|lease| Step::Revoke { lease }),
        3 => prop_oneof![1u64..9_000, 100_000u64..400_000].prop_map(|milliseconds| Step::Pass { milliseconds }),
        5 => Just(Step::Tick),
        3 => any::<prop::sample::Index>().prop_map(Step::Reap),
        6 => Just(Step::Take),
        6 => Just(Step::Commit),
        1 => (0usize..3).prop_map(|survivors| Step::NewLeader { survivors }),
        1 => (0usize..3).prop_map(|survivors| Step::Again { survivors }),
    ]
}

/// What a client knows of a lease: its time, and that it must not end before a moment.
#[derive(Clone, Copy)]
struct Promise {
    ttl_seconds: i64,
    not_before: Duration,
}

struct World {
    state: State,
    /// Waiters are the leases that are kept alive, and 0.
    sequencer: Sequencer<i64>,
    taken: Vec<Batch>,
    /// Of the whole world; a leader's begins when it does.
    now: Duration,
    leader_since: Duration,
    promises: BTreeMap<i64, Promise>,
    offers: Vec<Expired>,
    seqs: u64,
}

impl World {
    fn new() -> World {
        let mut state = State::default();
        state.skip(Lsn(1), 1);
        let limits = Limits { slots: 8, ring_keys_max: 8, ..Limits::default() };
        let sequencer = Sequencer::start(1, &state, limits, Duration::ZERO);
        let (now, leader_since) = (Duration::ZERO, Duration::ZERO);
        World {
            state,
            sequencer,
            taken: Vec::new(),
            now,
            leader_since,
            promises: BTreeMap::new(),
            offers: Vec::new(),
            seqs: 0,
        }
    }

    fn leader_now(&self) -> Duration {
        self.now - self.leader_since
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Grant { lease, ttl_seconds } => {
                self.append(SysOp::LeaseGrant { lease: LeaseId(lease), ttl_seconds });
            }
            Step::Revoke { lease } => {
                self.append(SysOp::LeaseRevoke { lease: LeaseId(lease), expired_in: None });
            }
            Step::KeepAlive { lease } => self.keep_alive(lease),
            Step::Pass { milliseconds } => self.now += Duration::from_millis(milliseconds),
            Step::Tick => {
                self.sequencer.tick(self.leader_now());
                for expired in self.sequencer.expired(self.leader_now()) {
                    assert_eq!(expired.term, self.sequencer.term());
                    self.assert_over(expired.lease);
                    self.offers.push(expired);
                }
            }
            Step::Reap(at) => {
                if !self.offers.is_empty() {
                    let Expired { lease, term } = *at.get(&self.offers);
                    self.append(SysOp::LeaseRevoke { lease, expired_in: Some(term) });
                }
            }
            Step::Take => self.taken.extend(self.sequencer.take_batch(0)),
            Step::Commit => self.commit(),
            Step::NewLeader { survivors } => self.new_leader(survivors, self.state.term() + 1),
            Step::Again { survivors } => self.new_leader(survivors, self.state.term()),
        }
    }

    fn append(&mut self, sysop: SysOp) {
        self.seqs += 1;
        let origin = Origin { frontend: 1, seq: self.seqs, attempt: 1 };
        let append = Append { origin, reads: vec![], writes: vec![], sysop: Some(sysop), reserve: false };
        self.sequencer.append(append, 0, &self.state, self.leader_now());
    }

    fn keep_alive(&mut self, lease: i64) {
        let now = self.leader_now();
        match self.sequencer.keep_alive(LeaseId(lease), lease, now) {
            KeepAlive::Renewed(_, ttl_seconds) => self.promise(lease, ttl_seconds),
            KeepAlive::NotFound(_) | KeepAlive::Later => {}
        }
    }

    /// A client is told that its lease has all of its time from now on.
    fn promise(&mut self, lease: i64, ttl_seconds: i64) {
        let not_before = self.now + Duration::from_secs(u64::try_from(ttl_seconds).unwrap());
        self.promises.insert(lease, Promise { ttl_seconds, not_before });
    }

    fn assert_over(&self, lease: LeaseId) {
        assert!(self.promises[&lease.0].not_before <= self.now, "{lease:?} ends early");
    }

    fn commit(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let lsn = self.apply();
        for (lease, verdict) in self.sequencer.committed(lsn, self.leader_now()) {
            if lease != 0 && matches!(verdict, Verdict::Committed { .. }) {
                self.keep_alive(lease);
            }
        }
    }

    fn apply(&mut self) -> Lsn {
        let batch = self.taken.remove(0);
        let lsn = self.state.applied().next();
        assert!(matches!(self.state.apply(lsn, batch.term, &batch), Applied::Records(_)));
        for record in &batch.records {
            match &record.sysop {
                Some(SysOp::LeaseGrant { lease, ttl_seconds }) => self.promise(lease.0, *ttl_seconds),
                Some(SysOp::LeaseRevoke { lease, expired_in }) => {
                    if expired_in.is_some() {
                        self.assert_over(*lease);
                    }
                    self.promises.remove(&lease.0);
                }
                _ => {}
            }
        }
        lsn
    }

    fn new_leader(&mut self, survivors: usize, term: u64) {
        for _ in 0..survivors.min(self.taken.len()) {
            self.apply();
        }
        self.taken.clear();
        self.state.skip(self.state.applied().next(), term);
        let limits = self.sequencer.limits;
        self.leader_since = self.now;
        self.sequencer = Sequencer::start(term, &self.state, limits, Duration::ZERO);
    }

    /// Without a new leader, what is not kept alive ends when its time is over.
    fn end_all(&mut self) {
        while self.taken.len() + self.sequencer.queue.waiting() > 0 {
            self.taken.extend(self.sequencer.take_batch(0));
            self.commit();
        }
        let longest = self.promises.values().map(|promise| promise.ttl_seconds).max().unwrap_or(0);
        self.now += Duration::from_secs(u64::try_from(longest).unwrap());
        let ended = self.sequencer.expired(self.leader_now());
        let frozen = self.promises.keys().filter(|lease| self.sequencer.lessor.is_frozen(LeaseId(**lease)));
        assert_eq!(frozen.count(), self.promises.len(), "only {ended:?} ended of what should have");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_lease_ends_early_and_each_ends(steps in vec(any_step(), 1..100)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.end_all();
    }
}
