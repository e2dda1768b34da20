//! The keys in order, and how many there are before any of them.
//!
//!     Inner   [ "" 5 keys, 4 alive │ "m" 3 keys, 3 alive ]       each child: its least key, and sums over it
//!                   │                    │
//!     Leaf    [ a  b† d  f  k ]    [ m  p  z ]                   31 bits name the chain, one marks the dead†
//!
//! A B+ tree whose entries are four bytes: the keys themselves stand in the slab. Since every node knows how
//! many living keys it holds, a count is two paths from the root and not a walk over the range: a page of 500
//! out of ten thousand keys tells their number for nothing.

use std::ops::ControlFlow;

use super::slab::{Slab, Slot};

const LEAF_MAX: usize = 128;
const INNER_MAX: usize = 64;

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lower<'a> {
    /// At the key, or the first one behind it.
    At(&'a [u8]),
    /// Behind the key.
    Behind(&'a [u8]),
}

/// How many keys there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Also those whose newest version is a deletion.
    pub(crate) all: usize,
    pub(crate) alive: usize,
}

/// A key's place, and whether it is alive now.
#[derive(Clone, Copy)]
struct Entry(u32);

const DEAD: u32 = 1 << 31;

enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

struct Child {
    /// No key below is smaller. Of the first child it is never looked at.
    least: Box<[u8]>,
    sum: Sum,
    node: Node,
}

/// The tree.
pub(crate) struct Order {
    root: Child,
}

impl Entry {
    fn slot(self) -> Slot {
        Slot(self.0 & !DEAD)
    }

    fn is_alive(self) -> bool {
        self.0 & DEAD == 0
    }

    fn key(self, slab: &Slab) -> &[u8] {
        slab.get(self.slot()).key()
    }
}

impl Lower<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Lower::At(key) | Lower::Behind(key) => key,
        }
    }

    /// Whether the walk begins behind `key`.
    fn excludes(&self, key: &[u8]) -> bool {
        match self {
            Lower::At(lower) => key < *lower,
            Lower::Behind(lower) => key <= *lower,
        }
    }

    fn place(&self, entries: &[Entry], slab: &Slab) -> usize {
        entries.partition_point(|entry| self.excludes(entry.key(slab)))
    }
}

impl Default for Order {
    fn default() -> Order {
        Order { root: Child::new(Box::default(), Node::Leaf(Vec::new())) }
    }
}

impl Order {
    /// How many keys there are.
    pub(crate) fn sum(&self) -> Sum {
        self.root.sum
    }

    /// How many keys there are before `key`.
    pub(crate) fn before(&self, slab: &Slab, key: &[u8]) -> Sum {
        let mut sum = Sum::default();
        let mut node = &self.root.node;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let place = Lower::At(key).place(entries, slab);
                    return sum.plus(Sum::of_entries(&entries[..place]));
                }
                Node::Inner(children) => {
                    let place = place_of(children, key);
                    sum = sum.plus(Sum::of_children(&children[..place]));
                    node = &children[place].node;
                }
            }
        }
    }

    /// Adds the key of a chain that is new, and alive or not.
    pub(crate) fn insert(&mut self, slab: &Slab, slot: Slot) {
        let chain = slab.get(slot);
        let entry = Entry(if chain.is_alive() { slot.0 } else { slot.0 | DEAD });
        let Some(right) = self.root.insert(slab, chain.key(), entry) else { return };
        let left = std::mem::replace(&mut self.root, Child::new(Box::default(), Node::Leaf(Vec::new())));
        self.root = Child::new(Box::default(), Node::Inner(vec![left, right]));
    }

    /// Notes whether a key is alive.
    pub(crate) fn mark(&mut self, slab: &Slab, key: &[u8], alive: bool) {
        self.root.change(slab, key, &mut |entries, place| {
            let slot = entries[place].slot();
            entries[place] = Entry(if alive { slot.0 } else { slot.0 | DEAD });
        });
    }

    /// Takes a key out. Its chain must still be there.
    pub(crate) fn remove(&mut self, slab: &Slab, key: &[u8]) {
        self.root.change(slab, key, &mut |entries, place| {
            entries.remove(place);
        });
        while let Node::Inner(children) = &mut self.root.node {
            if children.len() > 1 {
                return;
            }
            self.root = children.pop().expect("an inner node has children");
        }
    }

    /// Visits the chains of all keys from `lower` on, in order, until told to stop.
    pub(crate) fn walk(&self, slab: &Slab, lower: Lower<'_>, mut visit: impl FnMut(Slot) -> ControlFlow<()>) {
        // A walk that was stopped and one that came to the end are the same to the caller.
        let _ = self.root.node.walk(slab, Some(lower), &mut visit);
    }
}

/// The child that `key` belongs to.
fn place_of(children: &[Child], key: &[u8]) -> usize {
    children[1..].partition_point(|child| child.least[..] <= *key)
}

impl Sum {
    fn plus(self, other: Sum) -> Sum {
        Sum { all: self.all + other.all, alive: self.alive + other.alive }
    }

    /// What remains without `other`, which is part of it.
    pub(crate) fn minus(self, other: Sum) -> Sum {
        Sum { all: self.all - other.all, alive: self.alive - other.alive }
    }

    fn of_entries(entries: &[Entry]) -> Sum {
        Sum { all: entries.len(), alive: entries.iter().filter(|entry| entry.is_alive()).count() }
    }

    fn of_children(children: &[Child]) -> Sum {
        children.iter().fold(Sum::default(), |sum, child| sum.plus(child.sum))
    }
}

impl Child {
    fn new(least: Box<[u8]>, node: Node) -> Child {
        Child { least, sum: node.sum(), node }
    }

    /// Puts the entry where it belongs. Answers the right half when the node had to be split.
    fn insert(&mut self, slab: &Slab, key: &[u8], entry: Entry) -> Option<Child> {
        let split = match &mut self.node {
            Node::Leaf(entries) => {
                let place = Lower::At(key).place(entries, slab);
                entries.insert(place, entry);
                (entries.len() > LEAF_MAX).then(|| {
                    let right = split(entries, place, LEAF_MAX);
                    Child::new(right[0].key(slab).into(), Node::Leaf(right))
                })
            }
            Node::Inner(children) => {
                let place = place_of(children, key);
                children[place].insert(slab, key, entry).and_then(|right| {
                    children.insert(place + 1, right);
                    (children.len() > INNER_MAX).then(|| {
                        let right = split(children, place + 1, INNER_MAX);
                        Child::new(right[0].least.clone(), Node::Inner(right))
                    })
                })
            }
        };
        self.sum = match &split {
            Some(_) => self.node.sum(),
            None => self.sum.plus(Sum::of_entries(&[entry])),
        };
        split
    }

    /// Lets `act` change the leaf that holds `key`, at its place there, and brings everything above up to date.
    fn change(&mut self, slab: &Slab, key: &[u8], act: &mut dyn FnMut(&mut Vec<Entry>, usize)) {
        match &mut self.node {
            Node::Leaf(entries) => {
                let place = Lower::At(key).place(entries, slab);
                let found = entries.get(place).expect("a key that is known has its place");
                assert!(found.key(slab) == key, "a key that is known has its place");
                act(entries, place);
                self.sum = Sum::of_entries(entries);
            }
            Node::Inner(children) => {
                let place = place_of(children, key);
                children[place].change(slab, key, act);
                if children[place].is_sparse() {
                    merge(children, place);
                }
                self.sum = Sum::of_children(children);
            }
        }
    }

    fn is_sparse(&self) -> bool {
        self.node.len() < self.node.len_max() / 4
    }
}

/// Cuts off the right part of a node that has become too large by what was put at `place`. Keys often come in
/// ascending order: then the left part stays full.
fn split<T>(items: &mut Vec<T>, place: usize, max: usize) -> Vec<T> {
    let cut = if place + 1 == items.len() { place } else { items.len() / 2 };
    let mut right = Vec::with_capacity(max + 1);
    right.extend(items.drain(cut..));
    right
}

/// Joins a sparse node with a neighbour where both fit into one, and takes it out once it is empty.
fn merge(children: &mut Vec<Child>, place: usize) {
    if children[place].node.len() == 0 && children.len() > 1 {
        children.remove(place);
        return;
    }
    let left = if place + 1 < children.len() { place } else { place.saturating_sub(1) };
    let Some(right) = children.get(left + 1) else { return };
    if children[left].node.len() + right.node.len() <= right.node.len_max() / 2 {
        let right = children.remove(left + 1);
        children[left].absorb(right);
    }
}

impl Child {
    fn absorb(&mut self, right: Child) {
        match (&mut self.node, right.node) {
            (Node::Leaf(left), Node::Leaf(entries)) => left.extend(entries),
            (Node::Inner(left), Node::Inner(mut children)) => {
                // As a first child it may have taken in smaller keys than it was made for.
                children[0].least = right.least;
                left.extend(children);
            }
            _ => unreachable!("neighbours are of one height"),
        }
        self.sum = self.sum.plus(right.sum);
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn len_max(&self) -> usize {
        match self {
            Node::Leaf(_) => LEAF_MAX,
            Node::Inner(_) => INNER_MAX,
        }
    }

    fn sum(&self) -> Sum {
        match self {
            Node::Leaf(entries) => Sum::of_entries(entries),
            Node::Inner(children) => Sum::of_children(children),
        }
    }

    fn walk(
        &self,
        slab: &Slab,
        lower: Option<Lower<'_>>,
        visit: &mut impl FnMut(Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Node::Leaf(entries) => {
                let place = lower.map_or(0, |lower| lower.place(entries, slab));
                entries[place..].iter().try_for_each(|entry| visit(entry.slot()))
            }
            Node::Inner(children) => {
                let place = lower.map_or(0, |lower| place_of(children, lower.key()));
                children[place].node.walk(slab, lower, visit)?;
                children[place + 1..].iter().try_for_each(|child| child.node.walk(slab, None, visit))
            }
        }
    }
}

#[cfg(test)]
mod tests;
