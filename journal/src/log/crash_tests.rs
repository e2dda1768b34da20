//! What is on disk after a crash is what had been asked for up to some moment, and never before the last
//! moment that was acknowledged.
//!
//!     asked          1   2   3   4   5   6   7
//!     acknowledged           ^
//!     found                      ^ any of 3 to 7, and nothing else

mod machine;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Error, LogDevice, Sim};
use crate::block::PAGE_BYTES;
use crate::log_device::sim::Faults;
use crate::segment;

pub(super) use self::machine::Seen;
use self::machine::{Machine, Step, step};

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
    /// Whether the machine loses its power before, and not the process alone ends.
    power_lost: bool,
    faults: (u64, u64, Ending),
    steps: Vec<Step>,
}

/// The fault that ends a round.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Crash,
    Kill,
    Error,
}

impl Ending {
    fn at(self, operation: u64, seed: u64) -> Faults {
        let faults = Faults { seed, ..Faults::default() };
        let at = Some(operation);
        match self {
            Ending::Crash => Faults { crash_at: at, ..faults },
            Ending::Kill => Faults { kill_at: at, ..faults },
            Ending::Error => Faults { fail_at: at, ..faults },
        }
    }
}

fn round() -> impl Strategy<Value = Round> {
    let ending = prop_oneof![Just(Ending::Crash), Just(Ending::Kill), Just(Ending::Error)];
    let faults = (any::<u64>(), 0..60_u64, ending);
    (any::<bool>(), faults, prop::collection::vec(step(), 0..25))
        .prop_map(|(power_lost, faults, steps)| Round { power_lost, faults, steps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_after_crashes_is_what_was_asked_for(rounds in prop::collection::vec(round(), 1..5)) {
        let mut machine = Machine::new(Sim::default());
        for Round { power_lost, faults: (seed, at, ending), steps } in rounds {
            let faults = ending.at(at, seed);
            match power_lost || machine.sim.has_crashed() {
                true => machine.restart(faults),
                false => machine.start_over(faults),
            }
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

/// A life that does a bit of everything.
fn life() -> Vec<Step> {
    let large = || Step::Append(vec![7_000, 100, 5_000]);
    vec![
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
    ]
}

/// What that asks of its disk.
fn operations_of(life: &[Step]) -> u64 {
    let whole = Sim::default();
    let mut machine = Machine::new(whole.clone());
    machine.start().expect("a new log");
    life.iter().for_each(|step| machine.apply(step));
    let operations = whole.operations();
    assert!(operations > 40, "{operations}");
    operations
}

/// In each of its operations, in several ways each.
#[test]
fn it_can_be_stopped_at_every_point() {
    let life = life();
    let operations = operations_of(&life);
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

/// The disk fails once, or the process is killed, and the log starts again on a machine that still has in memory what did not
/// arrive. What it finds and what it acknowledges then is there when the power is lost.
#[test]
fn what_a_start_finds_is_on_disk() {
    let (life, mut cases) = (life(), 0);
    for at in 0..operations_of(&life) {
        for (seed, ending) in (0..16).flat_map(|seed| [(seed, Ending::Error), (seed, Ending::Kill)]) {
            cases += 1;
            let mut machine = Machine::new(Sim::default());
            machine.restart(ending.at(at, seed));
            if machine.start().is_ok() {
                life.iter().for_each(|step| machine.apply(step));
            }
            machine.start_over(Faults { seed, ..Faults::default() });
            machine.start().expect("the disk is whole again");
            // Into the next segment, which may have been made ready before the fault.
            for step in [5_000, 5_000].into_iter().flat_map(|size| [Step::Append(vec![size]), Step::Turn]) {
                machine.apply(&step);
            }
            machine.restart(Faults::default());
            let found = machine.start();
            assert!(found.is_ok(), "case {cases}, {ending:?} in operation {at}, seed {seed}: {found:?}");
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
