//! Which of many key ranges a key falls into.
//!
//!           [b ------------------ p)  latest end below here: s        a search tree ordered by the start of the
//!           /                     \                                   range and balanced by chance; each node
//!     [a -- c) latest: c      [d --------- s) latest: s               knows the latest end in its part of the tree
//!
//! A look-up goes only where a range begins at or before the key and some range ends behind it: the cost
//! is a path for each range found, however many there are.

use std::cmp::Ordering;

use bytes::Bytes;

/// The ranges, each with what belongs to it.
pub(super) struct RangeIndex<T> {
    root: Link<T>,
    /// Where the next node's place in the balance comes from. Chance that can be replayed.
    dice: u64,
}

type Link<T> = Option<Box<Node<T>>>;

struct Node<T> {
    start: Bytes,
    end: End,
    value: T,
    /// Higher than that of everything below.
    priority: u64,
    /// The latest end in this part of the tree.
    latest: End,
    left: Link<T>,
    right: Link<T>,
}

/// Where a range ends: before a key, or never.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => *key < end[..],
            End::Never => true,
        }
    }
}

impl<T> RangeIndex<T> {
    pub(super) fn new() -> RangeIndex<T> {
        RangeIndex { root: None, dice: 0 }
    }

    /// What belongs to the range `[start, end)`, made now if there is nothing yet.
    pub(super) fn entry(&mut self, start: &Bytes, end: &End, make: impl FnOnce() -> T) -> &mut T {
        if find(&mut self.root, start, end).is_none() {
            let node = Box::new(Node {
                start: start.clone(),
                end: end.clone(),
                value: make(),
                priority: self.roll(),
                latest: end.clone(),
                left: None,
                right: None,
            });
            let (left, right) = split(self.root.take(), start, end);
            self.root = join(join(left, Some(node)), right);
        }
        &mut find(&mut self.root, start, end).expect("it is there or was just put there").value
    }

    pub(super) fn get_mut(&mut self, start: &Bytes, end: &End) -> Option<&mut T> {
        find(&mut self.root, start, end).map(|node| &mut node.value)
    }

    pub(super) fn remove(&mut self, start: &Bytes, end: &End) -> Option<T> {
        remove(&mut self.root, start, end)
    }

    /// Visits what belongs to each range that holds `key`.
    pub(super) fn at(&self, key: &[u8], visit: &mut impl FnMut(&T)) {
        at(self.root.as_deref(), key, visit);
    }

    /// What belongs to the ranges, in their order.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        let mut values = Vec::new();
        drain(self.root, &mut values);
        values.into_iter()
    }

    /// splitmix64.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl<T> Node<T> {
    fn order(&self, start: &Bytes, end: &End) -> Ordering {
        self.start.cmp(start).then_with(|| self.end.cmp(end))
    }

    fn update(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.latest);
        self.latest = below.chain([&self.end]).max().expect("it has an end of its own").clone();
    }
}

fn find<'tree, T>(mut link: &'tree mut Link<T>, start: &Bytes, end: &End) -> Option<&'tree mut Node<T>> {
    while let Some(node) = link {
        match node.order(start, end) {
            Ordering::Equal => return Some(node),
            Ordering::Less => link = &mut node.right,
            Ordering::Greater => link = &mut node.left,
        }
    }
    None
}

fn at<T>(node: Option<&Node<T>>, key: &[u8], visit: &mut impl FnMut(&T)) {
    let Some(node) = node.filter(|node| node.latest.is_after(key)) else { return };
    at(node.left.as_deref(), key, visit);
    if node.start[..] <= *key {
        if node.end.is_after(key) {
            visit(&node.value);
        }
        at(node.right.as_deref(), key, visit);
    }
}

/// What is before the range, and what is at or behind it.
fn split<T>(link: Link<T>, start: &Bytes, end: &End) -> (Link<T>, Link<T>) {
    let Some(mut node) = link else { return (None, None) };
    if node.order(start, end).is_lt() {
        let (before, behind) = split(node.right.take(), start, end);
        node.right = before;
        node.update();
        (Some(node), behind)
    } else {
        let (before, behind) = split(node.left.take(), start, end);
        node.left = behind;
        node.update();
        (before, Some(node))
    }
}

/// Everything in `left` is before everything in `right`.
fn join<T>(left: Link<T>, right: Link<T>) -> Link<T> {
    match (left, right) {
        (None, one) | (one, None) => one,
        (Some(mut left), Some(right)) if left.priority > right.priority => {
            left.right = join(left.right.take(), Some(right));
            left.update();
            Some(left)
        }
        (left, Some(mut right)) => {
            right.left = join(left, right.left.take());
            right.update();
            Some(right)
        }
    }
}

fn drain<T>(link: Link<T>, values: &mut Vec<T>) {
    let Some(node) = link else { return };
    let Node { value, left, right, .. } = *node;
    drain(left, values);
    values.push(value);
    drain(right, values);
}

fn remove<T>(link: &mut Link<T>, start: &Bytes, end: &End) -> Option<T> {
    let node = link.as_mut()?;
    let removed = match node.order(start, end) {
        Ordering::Less => remove(&mut node.right, start, end),
        Ordering::Greater => remove(&mut node.left, start, end),
        Ordering::Equal => {
            let node = link.take().expect("it was just looked at");
            let Node { value, left, right, .. } = *node;
            *link = join(left, right);
            return Some(value);
        }
    };
    node.update();
    removed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(code: u8) -> End {
        if code == 0 { End::Never } else { End::Before(Bytes::copy_from_slice(&[code])) }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_scan_of_all_ranges_finds(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..12, 0_u8..12), 0..120),
        ) {
            let mut index = RangeIndex::new();
            let mut model: Vec<(Bytes, End)> = Vec::new();
            for (add, start, code) in steps {
                let range = (Bytes::copy_from_slice(&[start]), end(code));
                if add {
                    index.entry(&range.0, &range.1, || range.clone());
                    model.retain(|other| *other != range);
                    model.push(range);
                } else {
                    let known = model.contains(&range);
                    prop_assert_eq!(index.get_mut(&range.0, &range.1).is_some(), known);
                    prop_assert_eq!(index.remove(&range.0, &range.1).is_some(), known);
                    model.retain(|other| *other != range);
                }
                for key in 0..13_u8 {
                    let mut found = Vec::new();
                    index.at(&[key], &mut |range: &(Bytes, End)| found.push(range.clone()));
                    let mut expected = model.clone();
                    expected.retain(|(start, end)| start[..] <= [key][..] && end.is_after(&[key]));
                    expected.sort();
                    prop_assert_eq!(found, expected);
                }
            }
            model.sort();
            prop_assert_eq!(index.into_values().collect::<Vec<_>>(), model);
        }
    }

    #[test]
    fn ranges_that_come_in_order_do_not_make_a_list() {
        let mut index = RangeIndex::new();
        for start in 0..10_000_u32 {
            index.entry(&Bytes::copy_from_slice(&start.to_be_bytes()), &End::Never, || ());
        }
        assert!(depth(&index.root) < 60);
    }

    fn depth<T>(link: &Link<T>) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }
}
