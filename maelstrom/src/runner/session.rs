//! A run from its beginning to its end, without processes and clocks.
//!
//!     starting ──► faults and operations ──► healing ──► final reads ──► over
//!     init_ok of    for the time limit       quiet        until all
//!     every node                                          are answered
//!
//! Whoever drives it says what time it is and hands in what nodes wrote; it asks nodes for what it wants through `Nodes`.

mod nodes;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use self::nodes::Nodes;
use self::nodes::{Roster, State};
use super::Trouble;
use super::clients::Clients;
use super::faults::{Change, Fault, Faults};
use super::message::{self, End};
use super::network::{Flight, Network};
use super::settings::Settings;
use super::workload::Workload;
use crate::check::history::{Moment, Operation, Phase};

/// Final reads that take longer are given up, and what they would have shown is not known.
const FINAL_MAX: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Main { until: Moment },
    Healing { until: Moment },
    Final { until: Moment },
    Over,
}

pub struct Session<W: Workload> {
    settings: Settings,
    workload: W,
    random: StdRng,
    stage: Stage,
    roster: Roster,
    clients: Clients<W>,
    next_operation: Moment,
    pub network: Network,
    pub faults: Faults,
    pub history: Vec<Operation<W::Call, W::Answer>>,
    /// The final reads were cut short.
    pub gave_up: bool,
}

impl<W: Workload> Session<W> {
    pub fn new(settings: Settings, workload: W) -> Self {
        // One seed, and a course of chance of its own for each.
        let seed = |salt: u64| settings.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt);
        Self {
            workload,
            random: StdRng::seed_from_u64(seed(1)),
            stage: Stage::Starting,
            roster: Roster::new(settings.node_count),
            clients: Clients::new(settings.concurrency),
            next_operation: Moment::ZERO,
            network: Network::new(settings.links, seed(2)),
            faults: Faults::new(&settings.nemesis, settings.node_count, settings.nemesis_interval, seed(3)),
            history: Vec::new(),
            gave_up: false,
            settings,
        }
    }

    pub fn begin(&mut self, now: Moment, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        (0..self.settings.node_count).try_for_each(|node| self.start(now, node, nodes))
    }

    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// A node wrote a line.
    pub fn line(&mut self, now: Moment, node: usize, line: String) -> Result<(), Trouble> {
        let trouble = |why: &str| Trouble::with_line(node, why, &line);
        let message = message::parse(&line).map_err(|why| trouble(&why))?;
        if message.from != End::Node(node).name() {
            return Err(trouble("`src` is not its own name"));
        }
        let to = End::parse(&message.to).filter(|to| match to {
            End::Node(other) => *other < self.settings.node_count,
            End::Client(client) => self.clients.was_hired(*client),
        });
        let to = to.ok_or_else(|| trouble("`dest` is nobody; there are nodes, clients and no services"))?;
        self.network.send(now, Flight { from: End::Node(node), to, line });
        Ok(())
    }

    /// Does whatever is due.
    pub fn advance(&mut self, now: Moment, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        while let Some(flight) = self.network.arrive(now) {
            self.arrived(now, flight, nodes)?;
        }
        self.roster.check_deadlines(now)?;
        if let Stage::Main { .. } = self.stage {
            for change in self.faults.advance(now, &self.roster.up()) {
                self.change(now, change, nodes)?;
            }
        }
        for (slot, operation) in self.clients.expire(now) {
            self.ended(slot, operation);
        }
        self.next_stage(now, nodes)?;
        self.ask(now);
        Ok(())
    }

    /// When to come back at the latest.
    pub fn wake(&self) -> Option<Moment> {
        let (stage, operation, fault) = match self.stage {
            Stage::Starting | Stage::Over => (None, None, None),
            Stage::Main { until } => {
                let free = self.clients.free().any(|slot| self.may_ask(slot));
                (Some(until), free.then_some(self.next_operation), self.faults.next())
            }
            Stage::Healing { until } | Stage::Final { until } => (Some(until), None, None),
        };
        let others = [self.network.next_arrival(), self.clients.next_deadline(), self.roster.next_deadline()];
        [stage, operation, fault].into_iter().chain(others).flatten().min()
    }

    fn start(&mut self, now: Moment, node: usize, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        nodes.start(node)?;
        let client = self.clients.hire();
        let line = self.roster.init(now, node, client);
        // Behind the pipe there is nobody else yet, so that no queue is full.
        nodes.send(node, line);
        Ok(())
    }

    fn arrived(&mut self, now: Moment, flight: Flight, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        match (flight.from, flight.to) {
            (_, End::Node(node)) => {
                if !self.roster.runs(node) || !nodes.send(node, flight.line) {
                    self.network.counts.dropped += 1;
                }
                Ok(())
            }
            (End::Node(node), End::Client(client)) => {
                let trouble = |why: String| Trouble::with_line(node, &why, &flight.line);
                let message = message::parse(&flight.line).map_err(trouble)?;
                if self.roster.initialized(client, &message.body).map_err(trouble)? {
                    return Ok(());
                }
                let answered = self.clients.answer(client, message.body, now).map_err(trouble)?;
                if let Some((slot, operation)) = answered {
                    self.ended(slot, operation);
                }
                Ok(())
            }
            (End::Client(_), End::Client(_)) => unreachable!("clients ask nodes only"),
        }
    }

    fn ended(&mut self, slot: usize, operation: Operation<W::Call, W::Answer>) {
        self.workload.ended(slot, &operation);
        self.history.push(operation);
    }

    fn change(&mut self, now: Moment, change: Change, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        match change {
            Change::Begin(Fault::Partition(cuts)) => self.network.cut(cuts),
            Change::End(Fault::Partition(_)) => self.network.cut(Default::default()),
            Change::Begin(Fault::Kill(killed)) => {
                for node in killed {
                    nodes.kill(node);
                    self.roster.set(node, State::Down);
                }
            }
            Change::End(Fault::Kill(killed)) => {
                for node in killed {
                    self.start(now, node, nodes)?;
                }
            }
            Change::Begin(Fault::Pause(paused)) => paused.into_iter().for_each(|node| nodes.pause(node)),
            Change::End(Fault::Pause(paused)) => paused.into_iter().for_each(|node| nodes.resume(node)),
        }
        Ok(())
    }

    fn next_stage(&mut self, now: Moment, nodes: &mut impl Nodes) -> Result<(), Trouble> {
        match self.stage {
            Stage::Starting if self.roster.all_are_up() => {
                self.faults.begin(now);
                self.next_operation = now;
                self.stage = Stage::Main { until: now + self.settings.time_limit };
            }
            Stage::Main { until } if until <= now => {
                for change in self.faults.end() {
                    self.change(now, change, nodes)?;
                }
                self.network.calm();
                self.stage = Stage::Healing { until: now + self.settings.heal };
            }
            Stage::Healing { until } if until <= now && self.roster.all_are_up() => {
                self.stage = Stage::Final { until: now + FINAL_MAX };
            }
            Stage::Final { until } if until <= now => {
                self.gave_up = true;
                self.stage = Stage::Over;
            }
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, now: Moment) {
        match self.stage {
            Stage::Main { .. } => {
                while self.next_operation <= now {
                    let free: Vec<usize> = self.clients.free().filter(|slot| self.may_ask(*slot)).collect();
                    if free.is_empty() {
                        break;
                    }
                    let slot = free[self.random.random_range(0..free.len())];
                    let call = self.workload.next(slot, &mut self.random);
                    self.invoke(now, slot, (call, 1), Phase::Main);
                    let gap = 2.0 / self.settings.rate * self.random.random::<f64>();
                    self.next_operation = self.next_operation.max(now) + Duration::from_secs_f64(gap);
                }
            }
            Stage::Final { .. } => {
                let free: Vec<usize> = self.clients.free().collect();
                for slot in free {
                    let again = self.clients.take_again(slot);
                    let call = again.or_else(|| Some((self.workload.next_final(slot)?, 1)));
                    if let Some(call) = call {
                        self.invoke(now, slot, call, Phase::Final);
                    }
                }
                if self.clients.all_are_free() {
                    self.stage = Stage::Over;
                }
            }
            Stage::Starting | Stage::Healing { .. } | Stage::Over => {}
        }
    }

    fn invoke(&mut self, now: Moment, slot: usize, call: (W::Call, u32), phase: Phase) {
        let deadline = now + W::timeout(self.settings.links.latency);
        let request = self.clients.invoke(slot, call, phase, (now, deadline));
        let (from, to) = (End::Client(request.client), End::Node(self.node_of(slot)));
        let line = message::line(from, to, &request.body);
        self.network.send(now, Flight { from, to, line });
    }

    fn node_of(&self, slot: usize) -> usize {
        slot % self.settings.node_count
    }

    /// A client sees that its node is down, not that it is paused.
    fn may_ask(&self, slot: usize) -> bool {
        self.roster.is_up(self.node_of(slot))
    }
}

#[cfg(test)]
mod tests;
