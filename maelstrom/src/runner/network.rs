//! Messages on their way: delayed, and between nodes also lost, doubled, overtaken and cut off.
//!
//! A pair of nodes keeps its order unless reordering is asked for. A cut is looked at on arrival, so that what was under way
//! when it began is lost, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::message::End;
use super::settings::Links;
use crate::check::history::Moment;

/// Beyond it, what nodes send to each other is dropped. A client has one request open, so that its messages are few; a node
/// that floods clients finds a bound at twice as much.
const FLYING_MAX: usize = 100_000;

/// One message in this many is overtaken, where that is asked for.
const OVERTAKEN_ONE_IN: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    pub from: End,
    pub to: End,
    pub line: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub between_nodes: u64,
    pub with_clients: u64,
    pub lost: u64,
    pub doubled: u64,
    pub cut_off: u64,
    /// To a node that was down or had too much to read, and from one when too much was under way.
    pub dropped: u64,
}

#[derive(Debug)]
pub struct Network {
    links: Links,
    random: StdRng,
    /// Pairs (from, to) between which nothing arrives.
    cuts: BTreeSet<(usize, usize)>,
    /// By arrival, then in the order in which they were sent.
    flying: BTreeMap<(Moment, u64), Flight>,
    sent: u64,
    /// When the newest message of a pair of nodes arrives.
    newest: BTreeMap<(usize, usize), Moment>,
    pub counts: Counts,
}

impl Network {
    pub fn new(links: Links, seed: u64) -> Self {
        Self {
            links,
            random: StdRng::seed_from_u64(seed),
            cuts: BTreeSet::new(),
            flying: BTreeMap::new(),
            sent: 0,
            newest: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn send(&mut self, now: Moment, flight: Flight) {
        let (End::Node(from), End::Node(to)) = (flight.from, flight.to) else {
            self.counts.with_clients += 1;
            if self.flying.len() >= 2 * FLYING_MAX {
                self.counts.dropped += 1;
                return;
            }
            let at = now + self.delay();
            self.depart(at, flight);
            return;
        };
        self.counts.between_nodes += 1;
        if self.flying.len() >= FLYING_MAX {
            self.counts.dropped += 1;
        } else if self.random.random_bool(self.links.loss) {
            self.counts.lost += 1;
        } else {
            if self.random.random_bool(self.links.duplicate) {
                self.counts.doubled += 1;
                let at = now + self.delay() + self.lag();
                self.depart(at, flight.clone());
            }
            let at = self.arrival(now, (from, to));
            self.depart(at, flight);
        }
    }

    /// What has arrived by now. What was cut off is counted and gone.
    pub fn arrive(&mut self, now: Moment) -> Option<Flight> {
        loop {
            let first = self.flying.first_entry().filter(|entry| entry.key().0 <= now)?;
            let flight = first.remove();
            match (flight.from, flight.to) {
                (End::Node(from), End::Node(to)) if self.cuts.contains(&(from, to)) => {
                    self.counts.cut_off += 1
                }
                _ => return Some(flight),
            }
        }
    }

    pub fn next_arrival(&self) -> Option<Moment> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn cut(&mut self, cuts: BTreeSet<(usize, usize)>) {
        self.cuts = cuts;
    }

    /// From now on nothing is lost, doubled or cut off. Latency stays.
    pub fn calm(&mut self) {
        self.cuts.clear();
        self.links = Links { loss: 0.0, duplicate: 0.0, ..self.links };
    }

    fn depart(&mut self, at: Moment, flight: Flight) {
        self.sent += 1;
        self.flying.insert((at, self.sent), flight);
    }

    fn arrival(&mut self, now: Moment, pair: (usize, usize)) -> Moment {
        let at = now + self.delay();
        if self.links.reorder {
            return if self.random.random_ratio(1, OVERTAKEN_ONE_IN) { at + self.lag() } else { at };
        }
        let newest = self.newest.entry(pair).or_default();
        *newest = at.max(*newest);
        *newest
    }

    /// Exponential, as waiting mostly is.
    fn delay(&mut self) -> Duration {
        let chance: f64 = self.random.random();
        self.links.latency.mul_f64(-(1.0 - chance).ln())
    }

    /// Enough for others to come first, also where there is no latency.
    fn lag(&mut self) -> Duration {
        let most = (self.links.latency * 5).max(Duration::from_millis(20));
        most.mul_f64(self.random.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(number: usize) -> Flight {
        Flight { from: End::Node(0), to: End::Node(1), line: number.to_string() }
    }

    fn links() -> Links {
        Links { latency: Duration::from_millis(10), ..Links::default() }
    }

    fn arrived(network: &mut Network) -> Vec<usize> {
        let all = std::iter::from_fn(|| network.arrive(Duration::from_secs(3600)));
        all.map(|flight| flight.line.parse().expect("a number")).collect()
    }

    fn send_thousand(links: Links) -> Network {
        let mut network = Network::new(links, 1);
        (0..1000).for_each(|number| network.send(Duration::from_millis(number as u64), flight(number)));
        network
    }

    #[test]
    fn a_calm_link_keeps_everything_in_order() {
        assert_eq!(arrived(&mut send_thousand(links())), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_link_loses_doubles_and_reorders_by_its_rates() {
        let mut network = send_thousand(Links { loss: 0.1, duplicate: 0.1, reorder: true, ..links() });
        let arrived = arrived(&mut network);
        let Counts { lost, doubled, .. } = network.counts;
        assert!((50..200).contains(&lost) && (50..200).contains(&doubled), "{:?}", network.counts);
        assert_eq!(arrived.len() as u64, 1000 - lost + doubled);
        assert!(!arrived.is_sorted());
    }

    #[test]
    fn a_cut_is_one_way_takes_what_is_under_way_and_ends() {
        let mut network = send_thousand(links());
        network.cut(BTreeSet::from([(0, 1)]));
        network.send(Duration::ZERO, Flight { from: End::Node(1), to: End::Node(0), line: "7".to_owned() });
        assert_eq!(arrived(&mut network), [7]);
        assert_eq!(network.counts.cut_off, 1000);
        network.calm();
        network.send(Duration::ZERO, flight(8));
        assert_eq!(arrived(&mut network), [8]);
    }

    #[test]
    fn clients_are_only_delayed() {
        let mut network = Network::new(Links { loss: 1.0, duplicate: 1.0, reorder: true, ..links() }, 1);
        network.cut(BTreeSet::from([(0, 0), (0, 1), (1, 0)]));
        network.send(Duration::ZERO, Flight { from: End::Client(0), to: End::Node(0), line: "1".to_owned() });
        network.send(
            Duration::from_secs(1),
            Flight { from: End::Node(0), to: End::Client(0), line: "2".to_owned() },
        );
        assert!(network.arrive(Duration::ZERO).is_none());
        assert_eq!(arrived(&mut network), [1, 2]);
    }

    #[test]
    fn a_seed_is_a_course_of_events() {
        let bad = Links { loss: 0.3, duplicate: 0.3, reorder: true, ..links() };
        assert_eq!(arrived(&mut send_thousand(bad)), arrived(&mut send_thousand(bad)));
    }
}
