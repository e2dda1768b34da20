//! Who leads the journal, and what a majority of it has: elections, exchanges, crashes, and sequencers that learn
//! late of all that.

use super::broken::Broken;
use super::raft::{self, NODES};
use super::record::NodeId;
use super::sequencer::Sequencer;
use super::story::tell;
use super::world::World;

impl World {
    /// The sequencer learns that the leadership it was started for is lost.
    pub(crate) fn notice(&mut self, id: NodeId) {
        let term = self.nodes[id].sequencer.as_ref().map(|sequencer| sequencer.term);
        if term.is_some() && self.rafts[id].leads() != term {
            self.stop_sequencer(id);
        }
    }

    pub(super) fn stop_sequencer(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        node.outbox.clear();
        if let Some(sequencer) = node.sequencer.take() {
            tell!(self, "node {id} stops sequencing in term {}", sequencer.term);
            self.tell_verdicts(sequencer.lost());
        }
        self.start_sequencer(id);
    }

    /// Once the leader's own first entry is applied.
    pub(super) fn start_sequencer(&mut self, id: NodeId) {
        let (node, raft) = (&mut self.nodes[id], &self.rafts[id]);
        let Some(reign) = &raft.reign else { return };
        let early = self.broken == Some(Broken::StartedBeforeOwnEntry);
        if node.sequencer.is_none() && (reign.first <= node.state.lsn || early) {
            tell!(self, "node {id} sequences in term {} from {}", reign.term, node.state.revision);
            let local = node.clock.local(self.now);
            let sequencer = Sequencer::start(reign.term, &node.state, self.mix.sizes, local, self.broken);
            node.sequencer = Some(sequencer);
        }
    }

    pub(crate) fn elect(&mut self, candidate: NodeId) {
        let raft = &self.rafts[candidate];
        if !self.nodes[candidate].is_up || raft.leads().is_some() || raft.is_behind() {
            return;
        }
        let others = (0..NODES).filter(|other| *other != candidate && self.are_connected(candidate, *other));
        let mut voters: Vec<NodeId> = others.collect();
        if voters.len() == NODES - 1 && self.rng.percent(60) {
            let absent = self.rng.below(voters.len());
            voters.swap_remove(absent);
        }
        let won = raft::elect(&mut self.rafts, candidate, &voters);
        let term = self.rafts[candidate].term;
        tell!(self, "node {candidate} asks {voters:?} for votes in term {term}: {won}");
        self.tally.elections += usize::from(won);
        self.start_sequencer(candidate);
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        if self.nodes[id].is_up {
            tell!(self, "node {id} crashes");
            self.tally.crashes += 1;
            self.nodes[id].crash();
            self.rafts[id].crash();
        }
    }

    fn are_connected(&self, a: NodeId, b: NodeId) -> bool {
        self.nodes[a].is_up && self.nodes[b].is_up && !self.are_cut(a, b)
    }

    pub(super) fn are_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.isolated.is_some_and(|isolated| isolated == a || isolated == b)
    }

    /// Mostly whoever leads: it goes on, and does not know of who comes after it.
    pub(crate) fn isolate(&mut self, id: NodeId) {
        let latest = (0..NODES).max_by_key(|node| self.rafts[*node].leads());
        self.isolated = latest.filter(|_| self.rng.percent(70)).or(Some(id));
        tell!(self, "node {:?} is isolated", self.isolated);
    }

    pub(crate) fn exchange_by_chance(&mut self) {
        let first = self.rng.below(NODES);
        let order = (first..first + NODES).map(|node| node % NODES);
        let Some(leader) = order.into_iter().find(|node| self.rafts[*node].leads().is_some()) else { return };
        let follower = (leader + self.rng.within(1, NODES - 1)) % NODES;
        let entries_max = self.rng.below(4);
        self.exchange(leader, follower, entries_max);
    }

    pub(crate) fn exchange(&mut self, leader: NodeId, follower: NodeId, entries_max: usize) {
        let Some(term) = self.rafts[leader].leads().filter(|_| self.are_connected(leader, follower)) else {
            return;
        };
        let pair = self.rafts.get_disjoint_mut([leader, follower]).expect("they are two");
        if raft::exchange(pair, follower, entries_max, self.broken) {
            self.nodes[leader].heard(follower, term);
        } else {
            tell!(self, "node {leader} learns from node {follower} that its term {term} is over");
        }
        raft::hear(&mut self.rafts, leader, follower);
        self.rafts[leader].advance(leader, self.broken);
        self.see_commits(leader);
        self.see_commits(follower);
        self.answer_confirmed(leader);
    }

    fn see_commits(&mut self, id: NodeId) {
        let (commit, seen) = (self.rafts[id].commit, self.nodes[id].seen);
        for lsn in seen + 1..=commit {
            if lsn > self.checker.entries.len() {
                tell!(self, "{lsn} has committed, as node {id} knows");
            }
            let entry = &self.rafts[id].log[lsn - 1];
            self.checker.committed(lsn, entry, self.now, &mut self.operations, &self.by_seq);
        }
        self.nodes[id].seen = seen.max(commit);
    }

    pub(crate) fn flush(&mut self, id: NodeId) {
        self.rafts[id].flush();
        self.rafts[id].advance(id, self.broken);
        self.see_commits(id);
    }
}
