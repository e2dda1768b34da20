//! Memstores that tail the journal, are lost, built again from snapshots, and moved: a partition that is cut,
//! joined or moved is new readers with other ranges, which are routed to once they have caught up.

use std::rc::Rc;

use super::broken::Broken;
use super::memstore::{Memstore, Piece};
use super::raft::NODES;
use super::record::{KeyRange, Lsn, NodeId, SysOp};
use super::request::Request;
use super::routes::{MemstoreId, Partition, Routes};
use super::story::tell;
use super::world::World;

/// Routes that are on their way.
#[derive(Debug)]
pub(crate) struct Change {
    routes: Rc<Routes>,
    fresh: Vec<MemstoreId>,
    operation: Option<usize>,
}

/// Memstores are numbered as they come; a run stops to move when it has so many.
const MEMSTORES_MAX: usize = 40;

impl World {
    pub(crate) fn tail_by_chance(&mut self) {
        let memstore = self.any_memstore();
        let node = self.rng.below(NODES);
        let entries_max = self.rng.within(1, 6);
        self.tail(memstore, node, entries_max);
    }

    pub(crate) fn tail(&mut self, index: MemstoreId, node: NodeId, entries_max: usize) {
        let (memstore, raft) = (&mut self.memstores[index], &self.rafts[node]);
        if memstore.is_missing || !self.nodes[node].is_up {
            return;
        }
        // Its beginning is gone: what it lacks comes from a snapshot.
        if memstore.lsn < self.nodes[node].trimmed {
            memstore.lose();
            return;
        }
        let uncommitted = self.broken == Some(Broken::UncommittedApplied);
        let tail = if uncommitted { raft.log.len() } else { raft.commit };
        let end = tail.min(memstore.lsn + entries_max);
        while memstore.lsn < end {
            let entry = &raft.log[memstore.lsn];
            let is_committed =
                self.checker.entries.get(memstore.lsn).is_some_and(|committed| Rc::ptr_eq(committed, entry));
            if !is_committed {
                self.checker.violated("I4 memstores apply what is committed", || format!("memstore {index}"));
                return;
            }
            if !memstore.apply(entry, self.broken) {
                let lsn = memstore.lsn;
                self.checker.violated("I2 what is applied follows", || format!("memstore {index} at {lsn}"));
            }
        }
        self.compare(index);
    }

    /// All replicas that have applied as much hold what the serial store holds.
    fn compare(&mut self, index: MemstoreId) {
        let memstore = &self.memstores[index];
        if !memstore.is_readable() {
            return;
        }
        let state = self.checker.state_at(memstore.lsn);
        let same = |key: usize| memstore.read(key, memstore.revision) == state.kvs[key];
        if memstore.revision != state.revision || !memstore.keys.keys().all(same) {
            let lsn = memstore.lsn;
            self.checker.violated("replicas hold the same", || format!("memstore {index} at {lsn} does not"));
        }
    }

    fn any_memstore(&mut self) -> MemstoreId {
        loop {
            let index = self.rng.below(self.memstores.len());
            if !self.memstores[index].is_retired {
                return index;
            }
        }
    }

    pub(crate) fn lose_memstore(&mut self) {
        let index = self.any_memstore();
        tell!(self, "memstore {index} is lost");
        self.memstores[index].lose();
    }

    pub(crate) fn build_memstore(&mut self) {
        let index = self.any_memstore();
        if self.memstores[index].is_missing {
            self.build(index);
        }
    }

    /// From the journal's beginning while all of it is there, or from the newest pieces of its keys.
    pub(crate) fn build(&mut self, index: MemstoreId) {
        let trimmed = self.nodes.iter().map(|node| node.trimmed).max().expect("there are nodes");
        self.tally.rebuilt += 1;
        if trimmed == 0 && self.rng.percent(50) {
            return self.memstores[index].build(&[]);
        }
        let keys = self.memstores[index].keys;
        let newest = |key: usize| {
            let of_key = self.snapshots.iter().filter(|piece| piece.keys.contains(key));
            of_key.max_by_key(|piece| piece.lsn).map(Rc::clone)
        };
        let pieces: Vec<Option<Rc<Piece>>> = keys.keys().map(newest).collect();
        let begins: Lsn =
            pieces.iter().map(|piece| piece.as_ref().map_or(0, |piece| piece.lsn)).min().unwrap_or(0);
        if begins < trimmed {
            self.checker.violated("I9 what is trimmed is in a snapshot", || {
                format!("memstore {index} of {keys:?} begins at {begins}, and the journal at {trimmed}")
            });
        }
        let pieces: Vec<Rc<Piece>> = pieces.into_iter().flatten().collect();
        let whole = pieces.len() == keys.keys().len();
        tell!(self, "memstore {index} is built from {begins}");
        self.memstores[index].build(if whole { &pieces } else { &[] });
    }

    pub(crate) fn snapshot(&mut self) {
        let index = self.any_memstore();
        let memstore = &self.memstores[index];
        if !memstore.is_readable() || memstore.lsn == 0 {
            return;
        }
        let (keys, lsn) = (memstore.keys, memstore.lsn);
        if self.broken != Some(Broken::MarkedBeforeStored) || self.rng.percent(70) {
            self.snapshots.push(Rc::new(memstore.snapshot()));
        }
        tell!(self, "memstore {index} stores {keys:?} as of {lsn}");
        self.invoke(Request::Mark { keys, lsn }, false);
    }

    /// To where every key is in a marked snapshot, minus what is retained.
    pub(crate) fn trim(&mut self, id: NodeId) {
        let marks = self.nodes[id].state.marks;
        let too_far = self.broken == Some(Broken::TrimmedTooFar);
        let marked = if too_far { marks.iter().max() } else { marks.iter().min() };
        let to = marked.expect("there are keys").saturating_sub(self.mix.retention);
        if to <= self.nodes[id].trimmed {
            return;
        }
        tell!(self, "node {id} trims to {to}");
        self.nodes[id].trimmed = to;
        let is_stored =
            |key: &usize| self.snapshots.iter().any(|piece| piece.keys.contains(*key) && to <= piece.lsn);
        if let Some(key) = KeyRange::ALL.keys().find(|key| !is_stored(key)) {
            self.checker.violated("I9 what is trimmed is in a snapshot", || {
                format!("node {id} trims to {to}, and key {key} is in none that is as new")
            });
        }
    }

    /// Begins a change of the routes, or goes on with it.
    pub(crate) fn route(&mut self) {
        let Some(change) = &self.change else { return self.plan() };
        match change.operation {
            Some(operation) if self.operations[operation].is_over() => self.change = None,
            Some(_) => {}
            None => {
                let behind = self.checker.entries.len().saturating_sub(6);
                let caught_up = |id: &MemstoreId| {
                    let memstore = &self.memstores[*id];
                    memstore.is_readable() && behind <= memstore.lsn
                };
                if change.fresh.iter().all(caught_up) {
                    let routes = Rc::clone(&change.routes);
                    let operation = self.invoke(Request::Routes(routes), false);
                    self.change.as_mut().expect("it is there").operation = Some(operation);
                    self.tally.routes += 1;
                }
            }
        }
    }

    fn plan(&mut self) {
        if self.memstores.len() >= MEMSTORES_MAX {
            return;
        }
        let node = self.rng.below(NODES);
        let routes = Rc::clone(&self.nodes[node].state.routes);
        let mut partitions = routes.partitions.clone();
        let at = self.rng.below(partitions.len());
        let keys = partitions[at].keys;
        let mut fresh = Vec::new();
        match self.rng.below(3) {
            0 if !keys.is_single() => {
                let middle = self.rng.within(keys.from + 1, keys.to - 1);
                partitions[at] = self.fresh(KeyRange { from: keys.from, to: middle }, &mut fresh);
                partitions.insert(at + 1, self.fresh(KeyRange { from: middle, to: keys.to }, &mut fresh));
            }
            1 if at + 1 < partitions.len() => {
                let joined = KeyRange { from: keys.from, to: partitions[at + 1].keys.to };
                partitions.remove(at + 1);
                partitions[at] = self.fresh(joined, &mut fresh);
            }
            _ => {
                let moved = self.fresh(keys, &mut fresh).replicas[0];
                fresh.truncate(1);
                partitions[at].replicas.rotate_left(1);
                partitions[at].replicas[0] = moved;
            }
        }
        tell!(self, "partitions are to be {partitions:?}");
        let routes = Rc::new(Routes { version: routes.version + 1, partitions });
        self.change = Some(Change { routes, fresh, operation: None });
    }

    fn fresh(&mut self, keys: KeyRange, fresh: &mut Vec<MemstoreId>) -> Partition {
        let replicas: Vec<MemstoreId> = (0..2).map(|next| self.memstores.len() + next).collect();
        for id in &replicas {
            self.memstores.push(Memstore::new(*id, keys));
            if self.broken == Some(Broken::ServedWithoutHistory) {
                let revision = self.checker.now().revision;
                self.memstores[*id].pretend(self.checker.entries.len(), revision);
            }
        }
        fresh.extend(&replicas);
        Partition { keys, replicas }
    }

    /// A memstore that no routes name any more goes.
    pub(crate) fn retire(&mut self) {
        let index = self.any_memstore();
        let committed = self.checker.entries.iter().rev().filter_map(|entry| entry.batch.as_ref());
        let sysops = committed.flat_map(|batch| batch.records.iter().rev()).map(|record| &record.sysop);
        let routes = sysops.filter_map(|sysop| match sysop {
            Some(SysOp::Routes(routes)) => Some(routes),
            _ => None,
        });
        let current = routes.into_iter().next().unwrap_or(&self.first_routes);
        let is_fresh = self.change.as_ref().is_some_and(|change| change.fresh.contains(&index));
        if !current.names(index) && !is_fresh {
            tell!(self, "memstore {index} is retired");
            self.memstores[index].retire();
        }
    }

    pub(crate) fn learn_some(&mut self, frontend: usize, entries_max: usize) {
        let node = self.rng.below(NODES);
        let (learner, raft) = (&mut self.frontends[frontend], &self.rafts[node]);
        let end = raft.commit.min(learner.lsn + entries_max);
        while learner.lsn < end && self.nodes[node].is_up {
            let entry = &raft.log[learner.lsn];
            learner.lsn += 1;
            for record in entry.batch.iter().flat_map(|batch| &batch.records) {
                match &record.sysop {
                    Some(SysOp::Auth { denied }) => learner.permissions.push((learner.lsn, *denied)),
                    Some(SysOp::Routes(routes)) => {
                        learner.routes = Rc::clone(routes);
                        // Nobody hoped for these routes any more, and now they are there: who is named serves.
                        let named = routes.partitions.iter().flat_map(|partition| &partition.replicas);
                        named.for_each(|id| self.memstores[*id].is_retired = false);
                    }
                    _ => {}
                }
            }
        }
    }
}
