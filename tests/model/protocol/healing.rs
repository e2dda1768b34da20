//! The end of a run: nothing fails any more, and everything that is under way must come to an end.

use super::raft::NODES;
use super::story::tell;
use super::world::World;

/// So many rounds, in each of which everybody does what there is to do, are more than enough.
const ROUNDS_MAX: usize = 400;

impl World {
    pub(crate) fn heal(&mut self) {
        self.mix.heal();
        self.isolated = None;
        // One on another disk needs the others.
        for id in (0..NODES).chain(0..NODES) {
            self.restart(id);
        }
        tell!(self, "nothing fails any more");
        for _ in 0..ROUNDS_MAX {
            if self.active.is_empty() || self.checker.violation.is_some() {
                break;
            }
            self.round();
        }
        if !self.active.is_empty() {
            let left: Vec<_> = self
                .active
                .iter()
                .map(|index| (index, &self.operations[*index].phase, &self.operations[*index].request))
                .collect();
            self.checker.violated("everything comes to an end", || format!("{left:?} did not"));
        }
        self.catch_up();
    }

    fn round(&mut self) {
        self.now += 20;
        self.lead();
        for id in 0..NODES {
            self.expire_leases(id);
            self.propose(id);
            self.hand_over(id);
            for other in (0..NODES).filter(|other| *other != id) {
                self.exchange(id, other, usize::MAX / 2);
                self.flush(other);
                self.exchange(id, other, 0);
            }
            self.apply(id, usize::MAX);
            self.notice(id);
        }
        for _ in 0..50 {
            self.deliver();
        }
        self.catch_up();
        for index in self.active.clone() {
            if !self.operations[index].is_over() {
                self.advance(index);
            }
        }
    }

    /// The node whose log is best becomes the leader, unless the latest leader is one for everybody.
    fn lead(&mut self) {
        let term = self.rafts.iter().map(|raft| raft.term).max();
        if self.rafts.iter().any(|raft| raft.leads() == term) {
            return;
        }
        for id in 0..NODES {
            self.elect(id);
            // Where one does not vote, the next candidate would only end this one's term.
            if self.rafts[id].leads().is_some() {
                return;
            }
        }
    }

    /// Everybody knows of everything that has committed.
    fn catch_up(&mut self) {
        for index in 0..self.memstores.len() {
            if self.memstores[index].is_missing && !self.memstores[index].is_retired {
                self.build(index);
            }
            for node in 0..NODES {
                self.tail(index, node, usize::MAX / 2);
            }
        }
        for frontend in 0..self.frontends.len() {
            self.learn_some(frontend, usize::MAX / 2);
        }
    }
}
