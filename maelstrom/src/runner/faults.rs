//! What goes wrong when. Each kind of fault has rounds of its own, so that they overlap in every way.
//!
//!     partition   ──────████████──────────███████─────
//!     kill        ───██████──────█████████─────────██      a round begins and ends at random around the interval
//!     pause       ────────█████████────────██████─────

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::check::history::Moment;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Partition,
    Kill,
    Pause,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Partition, Self::Kill, Self::Pause].into_iter().find(|kind| kind.to_string() == name)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::Pause => "pause",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing arrives from the first of a pair at the second.
    Partition(BTreeSet<(usize, usize)>),
    Kill(Vec<usize>),
    Pause(Vec<usize>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Begin(Fault),
    End(Fault),
}

#[derive(Debug)]
struct Rounds {
    kind: Kind,
    next: Moment,
    active: Option<Fault>,
    done: u64,
}

#[derive(Debug)]
pub struct Faults {
    rounds: Vec<Rounds>,
    nodes: usize,
    interval: Duration,
    random: StdRng,
}

impl Faults {
    pub fn new(kinds: &[Kind], nodes: usize, interval: Duration, seed: u64) -> Self {
        let mut faults = Self { rounds: Vec::new(), nodes, interval, random: StdRng::seed_from_u64(seed) };
        for kind in kinds.iter().copied().collect::<BTreeSet<_>>() {
            let next = faults.about_an_interval();
            faults.rounds.push(Rounds { kind, next, active: None, done: 0 });
        }
        faults
    }

    /// Times count from here on.
    pub fn begin(&mut self, now: Moment) {
        self.rounds.iter_mut().for_each(|rounds| rounds.next += now);
    }

    pub fn next(&self) -> Option<Moment> {
        self.rounds.iter().map(|rounds| rounds.next).min()
    }

    /// What begins and ends by now. `up`: the nodes that run.
    pub fn advance(&mut self, now: Moment, up: &[usize]) -> Vec<Change> {
        let mut changes = Vec::new();
        for index in 0..self.rounds.len() {
            if self.rounds[index].next > now {
                continue;
            }
            let change = match self.rounds[index].active.take() {
                Some(fault) => Change::End(fault),
                None => Change::Begin(self.draw(self.rounds[index].kind, up)),
            };
            let next = now + self.about_an_interval();
            let rounds = &mut self.rounds[index];
            rounds.next = next;
            if let Change::Begin(fault) = &change {
                rounds.active = Some(fault.clone());
                rounds.done += 1;
            }
            changes.push(change);
        }
        changes
    }

    /// Ends what is active; nothing begins any more.
    pub fn end(&mut self) -> Vec<Change> {
        let active = self.rounds.iter_mut().filter_map(|rounds| rounds.active.take());
        active.map(Change::End).collect()
    }

    pub fn done(&self) -> Vec<(Kind, u64)> {
        self.rounds.iter().map(|rounds| (rounds.kind, rounds.done)).collect()
    }

    fn draw(&mut self, kind: Kind, up: &[usize]) -> Fault {
        match kind {
            Kind::Partition => Fault::Partition(self.draw_cuts()),
            Kind::Kill => Fault::Kill(self.draw_some(up)),
            Kind::Pause => Fault::Pause(self.draw_some(up)),
        }
    }

    /// Halves, halves of which only one is deaf, or one node alone.
    fn draw_cuts(&mut self) -> BTreeSet<(usize, usize)> {
        let mut nodes: Vec<usize> = (0..self.nodes).collect();
        nodes.shuffle(&mut self.random);
        let shape = self.random.random_range(0..3);
        let size = if shape == 2 { 1 } else { self.nodes / 2 };
        let (some, others) = nodes.split_at(size.min(nodes.len()));
        let mut cuts = BTreeSet::new();
        for one in some {
            for other in others {
                cuts.insert((*one, *other));
                if shape != 1 {
                    cuts.insert((*other, *one));
                }
            }
        }
        cuts
    }

    /// Mostly one, often a minority, sometimes all.
    fn draw_some(&mut self, up: &[usize]) -> Vec<usize> {
        let count = match self.random.random_range(0..8) {
            0..5 => 1,
            5..7 => self.random.random_range(1..=(self.nodes / 2).max(1)),
            _ => self.nodes,
        };
        let mut nodes = up.to_vec();
        nodes.shuffle(&mut self.random);
        nodes.truncate(count);
        nodes.sort_unstable();
        nodes
    }

    fn about_an_interval(&mut self) -> Duration {
        self.interval.mul_f64(self.random.random_range(0.5..1.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 3] = [Kind::Partition, Kind::Kill, Kind::Pause];

    fn course(seed: u64) -> Vec<Change> {
        let mut faults = Faults::new(&ALL, 5, Duration::from_secs(5), seed);
        faults.begin(Duration::from_secs(1));
        let mut changes = Vec::new();
        while let Some(now) = faults.next().filter(|now| *now < Duration::from_secs(600)) {
            changes.extend(faults.advance(now, &[0, 1, 2, 3, 4]));
        }
        changes.extend(faults.end());
        changes
    }

    #[test]
    fn whatever_begins_ends_before_its_like_begins_again() {
        let mut active: Vec<Fault> = Vec::new();
        for change in course(1) {
            match change {
                Change::Begin(fault) => {
                    let like =
                        |other: &Fault| std::mem::discriminant(other) == std::mem::discriminant(&fault);
                    assert!(!active.iter().any(like));
                    active.push(fault);
                }
                Change::End(fault) => {
                    let at = active.iter().position(|other| *other == fault).expect("it began");
                    active.remove(at);
                }
            }
        }
        assert!(active.is_empty());
    }

    #[test]
    fn all_shapes_come_up_and_a_seed_is_a_course_of_events() {
        assert_eq!(course(7), course(7));
        let begun = course(7).into_iter().filter_map(|change| match change {
            Change::Begin(fault) => Some(fault),
            Change::End(_) => None,
        });
        let begun: Vec<Fault> = begun.collect();
        let has = |wanted: fn(&Fault) -> bool| begun.iter().any(wanted);
        assert!(has(|fault| matches!(fault, Fault::Kill(nodes) if nodes.len() == 1)));
        assert!(has(|fault| matches!(fault, Fault::Kill(nodes) if nodes.len() == 5)));
        assert!(has(|fault| matches!(fault, Fault::Pause(nodes) if nodes.len() == 2)));
        // One-way, both ways, one alone.
        for cuts in [6, 12, 8] {
            assert!(
                begun.iter().any(|fault| matches!(fault, Fault::Partition(pairs) if pairs.len() == cuts)),
                "{cuts}"
            );
        }
    }
}
