//! Every point at which a log can be stopped, with everything that can be on disk then.
//!
//!     lives      each sequence of so many steps, from each of several beginnings
//!       × points     each thing that a life asks of its disk
//!         × names      any of the renames that were not yet synced
//!         × before     what the file had in that place, or whole stale blocks of three kinds
//!         × torn       any pages, in any order, and any one page in part
//!
//! What is found is a state between the last that was acknowledged and the last that was asked for. What is
//! damaged below the last acknowledged is refused, with its file and its offset.

mod damage;
mod disk;
mod life;
mod torn;

use std::sync::Arc;

use super::crash_tests::Seen;
use crate::block::PAGE_BYTES;
use crate::error::Error;
use crate::log_device::sim::Sim;
use disk::{Asked, Change, Disk, Point};
use life::{Life, STEPS, Step};
use torn::Stale;

/// Where lives begin.
const BEGINNINGS: [&[Step]; 4] = {
    use Step::{Kill, Large, Purge, Reopen, Small, Three};
    [
        &[],
        // Two segments, the newer one half full, and a spare with stale blocks.
        &[Large, Three, Large, Purge, Small],
        // The newest segment is one of these.
        &[Three, Large, Three, Purge, Large, Three, Purge, Small],
        // Behind the end lie blocks of this very segment, in order, that were cut.
        &[Reopen, Kill],
    ]
};

/// How many steps follow. `MAINSTEM_CRASH_STEPS` says otherwise.
const STEPS_MAX: usize = 3;

fn steps_max() -> usize {
    std::env::var("MAINSTEM_CRASH_STEPS").map_or(STEPS_MAX, |steps| steps.parse().expect("a number of steps"))
}

/// Calls `look` with each life of up to so many steps.
fn each_life(steps_max: usize, mut look: impl FnMut(&Life, &str)) {
    for beginning in BEGINNINGS {
        let mut lives = vec![beginning.to_vec()];
        while let Some(steps) = lives.pop() {
            let mut life = Life::new();
            for (number, &step) in steps.iter().enumerate() {
                // Shorter lives have shown what comes before.
                if beginning.len() <= number {
                    life.known = life.points.len();
                }
                life.apply(step);
            }
            look(&life, &format!("{steps:?}"));
            if steps.len() < beginning.len() + steps_max {
                lives.extend(STEPS.map(|step| [&steps[..], &[step]].concat()));
            }
        }
    }
}

/// The place in `history` of what a start finds, if it is `from` or later; twice, as the first start writes.
fn found(disk: &Disk, history: &[Seen], from: usize) -> Result<usize, Error> {
    let sim = Sim::default();
    for (name, content) in disk.contents() {
        sim.replace(name, content.to_vec());
    }
    let first = Seen::of(&life::open(Arc::new(sim.clone()))?.0);
    let again = Seen::of(&life::open(Arc::new(sim)).expect("what was just started can be started").0);
    assert_eq!(first, again, "a second start finds what the first found");
    let place = history[from..].iter().position(|then| *then == first);
    let place = place.unwrap_or_else(|| panic!("found {first:?}\nwhich is none of\n{:?}", &history[from..]));
    Ok(from + place)
}

/// Says which case it was that a panic came from.
struct Case<'a> {
    steps: &'a str,
    point: usize,
    number: usize,
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case {}: {}, stopped at point {}", self.number, self.steps, self.point);
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    lives: usize,
    points: usize,
    torn: usize,
    over_stale: usize,
    named: usize,
}

impl Counts {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Torn => &mut self.torn,
            Kind::OverStale => &mut self.over_stale,
            Kind::Named => &mut self.named,
        }
    }

    fn cases(&self) -> usize {
        self.torn + self.over_stale + self.named
    }
}

/// Every disk that a machine which stops at `point` can leave.
fn each_disk(point: &Point, mut look: impl FnMut(&Disk, Kind)) {
    let before = &point.before;
    let mut after = before.clone();
    match &point.asked_for {
        Asked::Create { name, bytes } => {
            for length in [0, PAGE_BYTES, bytes - PAGE_BYTES, *bytes] {
                let mut part = before.clone();
                part.create(name, vec![0; length]);
                each_naming(&part, |disk| look(disk, Kind::Named));
            }
            return;
        }
        Asked::Write { file, offset, bytes } => {
            let content = &before.files[*file];
            for (kind, pages_only, there) in beneath(&content[*offset..][..bytes.len()], *offset, bytes) {
                for left in torn::outcomes(&there, bytes, pages_only) {
                    let mut content = content.to_vec();
                    content[*offset..][..bytes.len()].copy_from_slice(&left);
                    each_naming(&before.with_file(*file, content), |disk| look(disk, kind));
                }
            }
            return;
        }
        Asked::Rename(from, to) => after.change(Change::Rename(from.clone(), to.clone())),
        Asked::Remove(name) => after.change(Change::Remove(name.clone())),
        Asked::Sync => {}
    }
    each_naming(&after, |disk| look(disk, Kind::Named));
}

fn each_naming(disk: &Disk, mut look: impl FnMut(&Disk)) {
    for survivors in 0..1 << disk.changes.len() {
        look(&disk.settled(disk.names_after(survivors)));
    }
}

/// What a write can have found in its place, and whether pages come whole over it. A segment's beginning is written before the segment has a name.
fn beneath(there: &[u8], offset: usize, asked: &[u8]) -> Vec<(Kind, bool, Vec<u8>)> {
    let mut all = vec![(Kind::Torn, false, there.to_vec())];
    // What is written again is there.
    if offset != 0 && there != asked {
        let stale = [(Stale::Chain, false), (Stale::Segment, true), (Stale::Number, true)];
        all.extend(stale.map(|(how, pages_only)| (Kind::OverStale, pages_only, torn::stale(asked, how))));
    }
    all
}

#[derive(Clone, Copy)]
enum Kind {
    Torn,
    OverStale,
    Named,
}

#[test]
fn what_is_found_lies_between_acknowledged_and_asked() {
    let mut counts = Counts::default();
    each_life(steps_max(), |life, steps| {
        counts.lives += 1;
        for (number, point) in life.points.iter().enumerate().skip(life.known) {
            counts.points += 1;
            each_disk(point, |disk, kind| {
                *counts.of(kind) += 1;
                let _case = Case { steps, point: number, number: counts.cases() };
                found(disk, &life.history[..=point.asked], point.acknowledged).expect("a crash is no damage");
            });
        }
        let last = life.history.len() - 1;
        each_naming(&life.disk(), |disk| {
            *counts.of(Kind::Named) += 1;
            let _case = Case { steps, point: life.points.len(), number: counts.cases() };
            found(disk, &life.history, last).expect("a crash is no damage");
        });
    });
    let Counts { torn, over_stale, named, .. } = counts;
    assert!(20_000 < torn && 10_000 < over_stale && 10_000 < named, "too little was tried: {counts:?}");
    eprintln!("{} cases: {counts:?}", counts.cases());
}
