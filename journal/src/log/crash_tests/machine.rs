//! A machine with a log, what is asked of it, and everything that its log ever was.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Bytes, Done, Error, Log, LogEntry, Settings, Sim, Worker};
use crate::clock::ManualClock;
use crate::log_device::sim::Faults;

const CLUSTER: u64 = 7;
const SETTINGS: Settings =
    Settings { segment_bytes: 24 << 10, recent_bytes_max: 2_000, make_ahead: false, queue_items_max: 4_096 };

/// What a caller can see of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Seen {
    pub(in crate::log) entries: BTreeMap<u64, LogEntry>,
    pub(in crate::log) purged: Option<(u64, u64)>,
    pub(in crate::log) vote: Option<Bytes>,
}

impl Seen {
    pub(in crate::log) fn of(log: &Log) -> Seen {
        let (mut entries, mut from) = (BTreeMap::new(), log.purged().map_or(0, |(index, _)| index + 1));
        loop {
            let part = log.read(from, u64::MAX).expect("what is there can be read");
            let Some(last) = part.last() else { break };
            from = last.index + 1;
            entries.extend(part.into_iter().map(|entry| (entry.index, entry)));
        }
        let last = entries.values().next_back().map(|last: &LogEntry| (last.index, last.term));
        assert_eq!(log.last(), last);
        Seen { entries, purged: log.purged(), vote: log.vote() }
    }

    pub(in crate::log) fn next(&self) -> u64 {
        let purged = self.purged.map_or(0, |(index, _)| index + 1);
        self.entries.keys().next_back().map_or(purged, |last| last + 1)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Entries of these sizes.
    Append(Vec<usize>),
    /// Forgets some of the newest.
    Truncate(u8),
    /// Forgets some of the oldest.
    Purge(u8),
    /// Goes on beyond what there is, as after a snapshot.
    Jump,
    Vote(u8),
    /// Makes what was asked so far durable.
    Turn,
    /// Stops in good order and starts again.
    Reopen,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..200_usize, 3 => 3_000..9_000_usize, 1 => 30_000..40_000_usize];
    prop_oneof![
        6 => prop::collection::vec(size, 1..5).prop_map(Step::Append),
        2 => any::<u8>().prop_map(Step::Truncate),
        2 => any::<u8>().prop_map(Step::Purge),
        1 => Just(Step::Jump),
        1 => any::<u8>().prop_map(Step::Vote),
        8 => Just(Step::Turn),
        1 => Just(Step::Reopen),
    ]
}

/// A machine with a log, and everything that its log ever was.
pub(super) struct Machine {
    pub(super) sim: Sim,
    running: Option<(Log, Worker)>,
    /// After each thing asked for, an entry at a time.
    history: Vec<Seen>,
    /// The place in `history` that was last acknowledged, and the one acknowledged before.
    pub(super) acknowledged: usize,
    pub(super) acknowledged_before: usize,
    term: u64,
}

impl Machine {
    pub(super) fn new(sim: Sim) -> Machine {
        let history = vec![Seen::default()];
        Machine { sim, running: None, history, acknowledged: 0, acknowledged_before: 0, term: 1 }
    }

    fn now(&self) -> Seen {
        self.history.last().expect("it begins with the empty log").clone()
    }

    /// Starts the log, if the machine allows, and finds out where in its history it is.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        let device = Arc::new(self.sim.clone());
        let clock = Arc::new(ManualClock::default());
        let (log, worker) = Log::parts(device, CLUSTER, SETTINGS, clock)?;
        self.find(&Seen::of(&log), self.acknowledged);
        self.running = Some((log, worker));
        Ok(())
    }

    fn find(&mut self, seen: &Seen, from: usize) {
        let place = self.history[from..].iter().position(|then| then == seen);
        let place = place.unwrap_or_else(|| {
            panic!("found {seen:?}\nwhich is none of\n{:?}", &self.history[from..]);
        });
        self.history.truncate(from + place + 1);
        (self.acknowledged_before, self.acknowledged) = (from + place, from + place);
        self.term += 1;
    }

    pub(super) fn apply(&mut self, step: &Step) {
        let Some((log, worker)) = &mut self.running else { return };
        let now = self.history.last().expect("it begins with the empty log").clone();
        let ignore = || -> Done { Box::new(|_| ()) };
        match step {
            Step::Append(sizes) => {
                let mut then = now;
                let mut entries = Vec::new();
                for &size in sizes {
                    let (index, term) = (then.next(), self.term);
                    let payload = Bytes::from(vec![(index + term).to_le_bytes()[0]; size]);
                    entries.push(LogEntry { index, term, kind: 1, payload });
                    then.entries.extend(entries.last().map(|entry| (index, entry.clone())));
                    self.history.push(then.clone());
                }
                log.append(entries, ignore());
            }
            Step::Truncate(place) => {
                let Some(from) = pick(&now, *place) else { return };
                let mut then = now;
                then.entries.split_off(&from);
                self.history.push(then);
                self.term += 1;
                log.truncate(from, ignore());
            }
            Step::Purge(place) => {
                let Some(upto) = pick(&now, *place) else { return };
                let term = now.entries[&upto].term;
                let entries = now.entries.clone().split_off(&(upto + 1));
                self.history.push(Seen { entries, purged: Some((upto, term)), ..now });
                log.purge(upto, term, ignore());
            }
            Step::Jump => {
                let upto = now.next() + 3;
                self.history.push(Seen { entries: BTreeMap::new(), purged: Some((upto, self.term)), ..now });
                log.purge(upto, self.term, ignore());
            }
            Step::Vote(vote) => {
                let vote = Bytes::from(vec![*vote; 20]);
                self.history.push(Seen { vote: Some(vote.clone()), ..now });
                log.save_vote(vote, ignore());
            }
            Step::Turn => {
                log.save_vote(now.vote.unwrap_or_default(), ignore());
                let vote = Some(self.now().vote.unwrap_or_default());
                self.history.push(Seen { vote, ..self.now() });
                self.turn();
            }
            Step::Reopen => {
                log.close();
                worker.run();
                let healthy = !worker.shared.failed();
                self.running = None;
                if healthy {
                    self.acknowledged = self.history.len() - 1;
                    // It may still stop on the way up.
                    let _ = self.start();
                }
            }
        }
        if let Some((log, _)) = self.running.as_ref().filter(|(_, worker)| !worker.shared.failed()) {
            assert_eq!(Seen::of(log), self.now(), "readable at once");
        }
    }

    fn turn(&mut self) {
        let Some((_, worker)) = &mut self.running else { return };
        let batch = worker.shared.take().expect("a vote was queued");
        worker.turn(batch);
        if !worker.shared.failed() {
            self.acknowledged_before = self.acknowledged;
            self.acknowledged = self.history.len() - 1;
        }
    }

    /// The machine stops, and starts again with another fate.
    pub(super) fn restart(&mut self, faults: Faults) {
        self.running = None;
        self.sim = self.sim.restart(faults);
    }

    /// The process alone does, and the machine keeps what it has in memory.
    pub(super) fn start_over(&mut self, faults: Faults) {
        self.running = None;
        let behind = |at: Option<u64>| at.map(|at| at + self.sim.operations());
        let (crash_at, kill_at) = (behind(faults.crash_at), behind(faults.kill_at));
        self.sim.release();
        self.sim.suffer(Faults { crash_at, kill_at, fail_at: behind(faults.fail_at), ..faults });
    }
}

/// The entry that so many 256ths of all come before.
fn pick(seen: &Seen, place: u8) -> Option<u64> {
    seen.entries.keys().nth(seen.entries.len() * usize::from(place) / 256).copied()
}
