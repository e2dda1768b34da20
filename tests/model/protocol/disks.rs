//! Disks that are lost, or put back from an older copy, and what a node is told at its next start.
//!
//!     peers hear    [ 1  2  3  4  5 )     the promise of the node: its newest term, and the end of its durable log
//!     its disk      [ 1  2 )              blank, or older: it neither votes nor stands until a leader has sent the rest
//!
//! A node on another disk than it had starts where it reaches both others: what nobody tells it cannot miss.

use super::broken::Broken;
use super::raft::{NODES, Promise};
use super::record::NodeId;
use super::story::tell;
use super::world::World;

impl World {
    /// An operator copies what is on the disk of a node.
    pub(crate) fn copy_disk(&mut self, id: NodeId) {
        self.copies[id] = self.rafts[id].disk();
    }

    /// The disk of a node is lost, and replaced by a blank one or by the copy. One at a time: two are a majority.
    pub(crate) fn lose_disk(&mut self, id: NodeId) {
        let others_are_whole =
            (0..NODES).all(|node| !self.has_other_disk[node] && !self.rafts[node].is_behind());
        let disk = if self.rng.percent(50) { self.copies[id].clone() } else { super::raft::Disk::default() };
        if !others_are_whole || disk.promise.covers(self.told_of(id)) {
            return;
        }
        self.crash(id);
        tell!(self, "node {id} has lost its disk, and gets one with {:?}", disk.promise);
        self.nodes[id].is_up = false;
        self.nodes[id].trimmed = 0;
        self.rafts[id].replace_disk(disk);
        self.has_other_disk[id] = true;
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        if self.has_other_disk[id] {
            let reaches =
                |other: NodeId| other == id || (self.nodes[other].is_up && !self.are_cut(id, other));
            if !(0..NODES).all(reaches) {
                return;
            }
            let told = self.told_of(id);
            if self.broken != Some(Broken::LostDiskUnnoticed) {
                self.rafts[id].miss(told);
            }
            tell!(self, "node {id} is told that it had promised {told:?}");
            self.has_other_disk[id] = false;
        }
        self.nodes[id].is_up = true;
    }

    /// What the others have heard of a node's promise.
    fn told_of(&self, id: NodeId) -> Promise {
        let others = (0..NODES).filter(|other| *other != id);
        others.map(|other| self.rafts[other].heard[id]).fold(Promise::default(), Promise::join)
    }
}
