//! What is on disk after a crash is what had been asked for up to some moment, and never before the last
//! moment that was acknowledged.
//!
//!     asked          1   2   3   4   5   6   7
//!     acknowledged           ^
//!     found                      ^ any of 3 to 7, and nothing else

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::block::PAGE_BYTES;
use crate::clock::ManualClock;
use crate::log_device::sim::Faults;
use crate::segment;

const CLUSTER: u64 = 7;
const SETTINGS: Settings = Settings { segment_bytes: 24 << 10, recent_bytes_max: 2_000, make_ahead: false };

/// What a caller can see of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) entries: BTreeMap<u64, LogEntry>,
    pub(super) purged: Option<(u64, u64)>,
    pub(super) vote: Option<Bytes>,
}

impl Seen {
    pub(super) fn of(log: &Log) -> Seen {
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

    pub(super) fn next(&self) -> u64 {
        let purged = self.purged.map_or(0, |(index, _)| index + 1);
        self.entries.keys().next_back().map_or(purged, |last| last + 1)
    }
}

#[derive(Clone, Debug)]
enum Step {
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

fn step() -> impl Strategy<Value = Step> {
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
struct Machine {
    sim: Sim,
    running: Option<(Log, Worker)>,
    /// After each thing asked for, an entry at a time.
    history: Vec<Seen>,
    /// The place in `history` that was last acknowledged, and the one acknowledged before.
    acknowledged: usize,
    acknowledged_before: usize,
    term: u64,
}

impl Machine {
    fn new(sim: Sim) -> Machine {
        let history = vec![Seen::default()];
        Machine { sim, running: None, history, acknowledged: 0, acknowledged_before: 0, term: 1 }
    }

    fn now(&self) -> Seen {
        self.history.last().expect("it begins with the empty log").clone()
    }

    /// Starts the log, if the machine allows, and finds out where in its history it is.
    fn start(&mut self) -> Result<(), Error> {
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

    fn apply(&mut self, step: &Step) {
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
    fn restart(&mut self, faults: Faults) {
        self.running = None;
        self.sim = self.sim.restart(faults);
    }
}

/// The entry that so many 256ths of all come before.
fn pick(seen: &Seen, place: u8) -> Option<u64> {
    seen.entries.keys().nth(seen.entries.len() * usize::from(place) / 256).copied()
}

/// What can befall a file while nobody looks.
#[derive(Clone, Debug)]
enum Rot {
    Flip(Index),
    Truncate(Index),
    ZeroPage(Index),
    ZeroSector(Index),
    CopyPage(Index, Index),
}

fn rot() -> impl Strategy<Value = Rot> {
    prop_oneof![
        4 => any::<Index>().prop_map(Rot::Flip),
        1 => any::<Index>().prop_map(Rot::Truncate),
        2 => any::<Index>().prop_map(Rot::ZeroPage),
        2 => any::<Index>().prop_map(Rot::ZeroSector),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Rot::CopyPage(from, to)),
    ]
}

impl Rot {
    fn befall(&self, bytes: &mut Vec<u8>) {
        let pages = bytes.len() / PAGE_BYTES;
        match self {
            Rot::Flip(bit) => {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Rot::Truncate(length) => bytes.truncate(length.index(bytes.len())),
            Rot::ZeroPage(page) => bytes[page.index(pages) * PAGE_BYTES..][..PAGE_BYTES].fill(0),
            Rot::ZeroSector(sector) => bytes[sector.index(pages * 8) * 512..][..512].fill(0),
            Rot::CopyPage(from, to) => {
                let (from, to) = (from.index(pages) * PAGE_BYTES, to.index(pages) * PAGE_BYTES);
                bytes.copy_within(from..from + PAGE_BYTES, to);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Round {
    faults: (u64, u64, bool),
    steps: Vec<Step>,
}

fn round() -> impl Strategy<Value = Round> {
    let faults = (any::<u64>(), 0..60_u64, any::<bool>());
    (faults, prop::collection::vec(step(), 0..25)).prop_map(|(faults, steps)| Round { faults, steps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_after_crashes_is_what_was_asked_for(rounds in prop::collection::vec(round(), 1..5)) {
        let mut machine = Machine::new(Sim::default());
        for Round { faults: (seed, at, crash), steps } in rounds {
            let (crash_at, fail_at) = if crash { (Some(at), None) } else { (None, Some(at)) };
            machine.restart(Faults { seed, crash_at, fail_at, bytes_max: None });
            if machine.start().is_ok() {
                steps.iter().for_each(|step| machine.apply(step));
            }
        }
        machine.restart(Faults::default());
        machine.start().expect("a crash is no damage");
    }

    #[test]
    fn rot_is_cut_or_refused(steps in prop::collection::vec(step(), 1..30), file in any::<Index>(), rot in rot()) {
        let mut machine = Machine::new(Sim::default());
        machine.start().expect("a new log");
        steps.iter().for_each(|step| machine.apply(step));
        machine.restart(Faults::default());
        let names = machine.sim.list().expect("a list");
        let name = file.get(&names);
        let mut bytes = machine.sim.bytes(name);
        rot.befall(&mut bytes);
        machine.sim.replace(name, bytes);
        // Only the last write has nothing behind it that would prove it.
        machine.acknowledged = machine.acknowledged_before;
        match machine.start() {
            Ok(()) => {}
            Err(Error::Corrupt(text)) => prop_assert!(text.contains(" at offset "), "{}", text),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

/// A fixed life, stopped in each of its operations, in several ways each.
#[test]
fn it_can_be_stopped_at_every_point() {
    let large = || Step::Append(vec![7_000, 100, 5_000]);
    let life = [
        large(),
        Step::Turn,
        Step::Append(vec![10, 20]),
        Step::Vote(3),
        Step::Append(vec![30]),
        Step::Turn,
        large(),
        Step::Turn,
        Step::Truncate(128),
        large(),
        Step::Turn,
        Step::Purge(170),
        Step::Turn,
        large(),
        Step::Turn,
        Step::Append(vec![50_000]),
        Step::Turn,
        Step::Reopen,
        large(),
        Step::Turn,
        Step::Jump,
        Step::Turn,
        large(),
        Step::Turn,
    ];
    let whole = Sim::default();
    let mut machine = Machine::new(whole.clone());
    machine.start().expect("a new log");
    life.iter().for_each(|step| machine.apply(step));
    let operations = whole.operations();
    assert!(operations > 40, "{operations}");
    for at in 0..operations {
        for seed in 0..16 {
            let mut machine = Machine::new(Sim::default());
            machine.restart(Faults { seed, crash_at: Some(at), ..Faults::default() });
            if machine.start().is_ok() {
                life.iter().for_each(|step| machine.apply(step));
            }
            machine.restart(Faults::default());
            machine.start().expect("a crash is no damage");
        }
    }
}

#[test]
fn a_recycled_segment_gives_back_nothing_stale() {
    let mut machine = Machine::new(Sim::default());
    machine.start().expect("a new log");
    for _ in 0..12 {
        for step in [Step::Append(vec![5_000, 5_000]), Step::Turn, Step::Jump, Step::Turn] {
            machine.apply(&step);
        }
        // Without a close: behind the last block lie those of an earlier life of the file.
        machine.restart(Faults::default());
        machine.start().expect("nothing stale is taken for new");
    }
    let names = machine.sim.list().expect("a list");
    assert!(names.iter().any(|name| segment::number(name).is_some_and(|number| number > 8)), "{names:?}");
}
