//! Everything of one run, and what happens next in it. A run is a function of its seed.

use std::ops::AddAssign;
use std::rc::Rc;

use super::broken::Broken;
use super::checker::{Checker, Violation};
use super::frontend::Frontend;
use super::memstore::{Memstore, Piece};
use super::mix::{Mix, Step};
use super::network::{Message, Network};
use super::node::Node;
use super::operation::{Operation, Outcome, Phase};
use super::placement::Change;
use super::raft::{Disk, NODES, Raft};
use super::record::{KeyRange, NodeId, Time, Value};
use super::request::Request;
use super::rng::Rng;
use super::routes::{Partition, Routes};
use super::story::{Story, tell};

/// What runs came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: usize,
    pub(crate) operations: usize,
    pub(crate) unknown: usize,
    pub(crate) records: usize,
    pub(crate) elections: usize,
    pub(crate) crashes: usize,
    pub(crate) attempts: usize,
    pub(crate) expirations: usize,
    pub(crate) routes: usize,
    pub(crate) rebuilt: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.steps += other.steps;
        self.operations += other.operations;
        self.unknown += other.unknown;
        self.records += other.records;
        self.elections += other.elections;
        self.crashes += other.crashes;
        self.attempts += other.attempts;
        self.expirations += other.expirations;
        self.routes += other.routes;
        self.rebuilt += other.rebuilt;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) broken: Option<Broken>,
    pub(crate) mix: Mix,
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    pub(crate) rafts: [Raft; NODES],
    pub(crate) nodes: [Node; NODES],
    /// Which node the others do not hear, nor it them.
    pub(crate) isolated: Option<NodeId>,
    /// Copies that an operator has of the disks.
    pub(crate) copies: [Disk; NODES],
    /// Nodes that are down, and start on another disk than they had.
    pub(crate) has_other_disk: [bool; NODES],
    pub(crate) network: Network,
    pub(crate) frontends: Vec<Frontend>,
    frontend_ids: usize,
    pub(crate) operations: Vec<Operation>,
    pub(crate) active: Vec<usize>,
    /// Which operation each number of a request is of.
    pub(crate) by_seq: Vec<usize>,
    invoked: usize,
    pub(crate) values: Value,
    pub(crate) leases: usize,
    pub(crate) memstores: Vec<Memstore>,
    pub(crate) snapshots: Vec<Rc<Piece>>,
    pub(crate) change: Option<Change>,
    pub(crate) first_routes: Rc<Routes>,
    pub(crate) checker: Checker,
    pub(crate) tally: Tally,
    pub(crate) story: Option<Story>,
}

impl World {
    pub(crate) fn new(seed: u64, broken: Option<Broken>, is_told: bool) -> World {
        let mut rng = Rng::new(seed);
        let mix = Mix::draw(&mut rng, broken);
        let third = |part: usize| KeyRange { from: part * 3, to: part * 3 + 3 };
        let partition = |part: usize| Partition { keys: third(part), replicas: vec![part * 2, part * 2 + 1] };
        let routes = Rc::new(Routes { version: 0, partitions: (0..3).map(partition).collect() });
        let nodes = std::array::from_fn(|_| Node::new(Rc::clone(&routes), mix.dedup_distance, &mut rng));
        let mut memstores: Vec<_> = (0..6).map(|id| Memstore::new(id, third(id / 2))).collect();
        memstores.iter_mut().for_each(|memstore| memstore.build(&[]));
        let frontends = (0..mix.frontends).map(|id| Frontend::new(id, Rc::clone(&routes))).collect();
        World {
            broken,
            rng,
            now: 0,
            rafts: std::array::from_fn(|_| Raft::default()),
            nodes,
            isolated: None,
            copies: Default::default(),
            has_other_disk: [false; NODES],
            network: Network::default(),
            frontends,
            frontend_ids: mix.frontends,
            operations: Vec::new(),
            active: Vec::new(),
            by_seq: Vec::new(),
            invoked: 0,
            values: 0,
            leases: 0,
            memstores,
            snapshots: Vec::new(),
            change: None,
            first_routes: routes,
            checker: Checker::new(),
            tally: Tally::default(),
            story: is_told.then(Story::default),
            mix,
        }
    }

    /// All of it: a part in which everything fails, and one in which it must recover.
    pub(crate) fn run(&mut self) {
        while self.now < self.mix.steps_max && self.checker.violation.is_none() {
            if self.invoked == self.mix.operations
                && !self.active.iter().any(|index| self.is_of_client(*index))
            {
                break;
            }
            self.now += 1;
            let step = self.mix.next_step(&mut self.rng);
            self.step(step);
        }
        if self.checker.violation.is_none() {
            self.heal();
        }
        self.tally.steps += self.now;
        self.tally.records += self.checker.position();
        let of_client = |operation: &&Operation| operation.request.is_of_client();
        self.tally.operations += self.operations.iter().filter(of_client).count();
        self.tally.attempts += self.operations.iter().map(Operation::attempt).sum::<usize>();
        let unknown = |operation: &&Operation| matches!(operation.outcome, Some(Outcome::Unknown));
        self.tally.unknown += self.operations.iter().filter(of_client).filter(unknown).count();
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.checker.violation.as_ref()
    }

    fn is_of_client(&self, index: usize) -> bool {
        self.operations[index].request.is_of_client()
    }

    pub(crate) fn step(&mut self, step: Step) {
        let node = self.rng.below(NODES);
        match step {
            Step::Invoke => self.invoke_next(),
            Step::Deliver => self.deliver(),
            Step::Advance if self.active.is_empty() => {}
            Step::Advance => {
                let index = self.rng.pick(&self.active);
                self.advance(index);
            }
            Step::Exchange => self.exchange_by_chance(),
            Step::Flush => self.flush(node),
            Step::Apply => self.apply(node, 3),
            Step::Propose => self.propose(node),
            Step::HandOver => self.hand_over(node),
            Step::Notice => self.notice(node),
            Step::Elect => self.elect(node),
            Step::Crash => self.crash(node),
            Step::Restart => self.restart(node),
            Step::CopyDisk => self.copy_disk(node),
            Step::LoseDisk => self.lose_disk(node),
            Step::Isolate => self.isolate(node),
            Step::Rejoin => self.isolated = None,
            Step::ExpireLeases => self.expire_leases(node),
            Step::Tail => self.tail_by_chance(),
            Step::LoseMemstore => self.lose_memstore(),
            Step::BuildMemstore => self.build_memstore(),
            Step::Snapshot => self.snapshot(),
            Step::Trim => self.trim(node),
            Step::Route => self.route(),
            Step::Retire => self.retire(),
            Step::Learn => self.learn(),
            Step::RestartFrontend => self.restart_frontend(),
        }
    }

    fn invoke_next(&mut self) {
        let clients = self.active.iter().filter(|index| self.is_of_client(**index)).count();
        if self.invoked < self.mix.operations && clients < self.mix.clients {
            self.invoked += 1;
            let (request, is_guest) = self.wish();
            self.invoke(request, is_guest);
        }
    }

    /// Begins an operation at some frontend.
    pub(crate) fn invoke(&mut self, request: Request, is_guest: bool) -> usize {
        let index = self.operations.len();
        let frontend = self.rng.below(self.frontends.len());
        tell!(self, "operation {index} at frontend {frontend}, a guest: {is_guest}: {request:?}");
        self.operations.push(Operation {
            frontend,
            frontend_id: self.frontends[frontend].id,
            is_guest,
            request,
            phase: Phase::Start,
            outcome: None,
            landed: None,
            invoked_at: self.now,
            invoked_position: self.checker.position(),
            shown_before: self.frontends[frontend].shown,
            seq: None,
            is_unheard: false,
            drafts: Vec::new(),
            conflicts: 0,
            number: 0,
            asked_at_entry: 0,
        });
        self.active.push(index);
        index
    }

    pub(crate) fn deliver(&mut self) {
        match self.network.deliver(&mut self.rng, &self.mix) {
            Some(Message::Append { node, append }) => self.receive_append(node, &append),
            Some(Message::Ask { node, operation, number, question }) => {
                self.receive_question(node, operation, number, question);
            }
            Some(Message::Tell { operation, number, news }) => self.hear(operation, number, news),
            None => {}
        }
    }

    /// It reads what has committed since, for permissions and routes.
    fn learn(&mut self) {
        let frontend = self.rng.below(self.frontends.len());
        let entries_max = self.rng.within(1, 6);
        self.learn_some(frontend, entries_max);
    }

    fn restart_frontend(&mut self) {
        let frontend = self.rng.below(self.frontends.len());
        tell!(self, "frontend {frontend} starts again");
        for index in self.active.clone() {
            if self.operations[index].frontend == frontend {
                self.finish(index, Outcome::Unknown);
            }
        }
        self.frontends[frontend] = Frontend::new(self.frontend_ids, Rc::clone(&self.first_routes));
        self.frontend_ids += 1;
    }
}
