//! Memstores that hold very unequal amounts: what to move first, and when to leave it.
//!
//!     b ████████████ 12        b ████████ 8
//!     e ██            2   ──►  e ██████   6       a partition of 4: not more than half of the difference
//!
//! Only what makes the two more alike is worth it, so that there is an end; only what makes them much more alike is
//! worth a copy. Which replica goes once there is one too many is for `excess` to say, so it is asked before.

use journal::Route;

use super::{Planning, Step, Why};

/// Differences below are left as they are.
const UNEQUAL_MIN_BYTES: u64 = 64 << 20;
/// And those where the fuller one holds less than so many times as much.
const UNEQUAL_RATIO: u64 = 2;
/// The least part of the difference that is worth a copy.
const WORTH: u64 = 16;

impl Planning<'_> {
    /// One more in an emptier memstore, so that one in a fuller one goes.
    pub(super) fn unequal(&self) -> Option<Step> {
        // One partition is under way at a time, and only while all is well.
        let calm = |route: &Route| route.replicas.len() <= self.wanted && self.all_serve(route);
        if !self.routes.partitions().iter().all(calm) {
            return None;
        }
        let partitions = self.routes.partitions().iter();
        // With fewer there is nothing to choose: another one is lacking, and not to be had.
        let full = partitions.filter(|route| route.replicas.len() == self.wanted);
        let moves = full.flat_map(|route| self.moves(route));
        let (_, step) = moves.max_by_key(|(bytes, _)| *bytes)?;
        Some(step)
    }

    /// What is worth moving, with its size.
    fn moves(&self, route: &Route) -> impl Iterator<Item = (u64, Step)> {
        let (partition, bytes) = (route.partition, self.bytes_of(route.partition));
        let free = self.up().filter(|id| !route.replicas.contains(id));
        free.filter(move |to| {
            let replicas: Vec<u64> = route.replicas.iter().copied().chain([*to]).collect();
            let from = self.worst(partition, &replicas).filter(|from| from != to);
            from.is_some_and(|from| is_worth(self.weights[&from].0, self.weights[to].0, bytes))
        })
        .map(move |memstore| (bytes, Step::Add { partition, memstore, why: Why::Unequal }))
    }
}

fn is_worth(from: u64, to: u64, bytes: u64) -> bool {
    let difference = from.saturating_sub(to);
    let is_unequal = UNEQUAL_MIN_BYTES <= difference && UNEQUAL_RATIO.saturating_mul(to) <= from;
    is_unequal && 0 < bytes && bytes <= difference / 2 && difference / WORTH <= bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn only_what_makes_them_much_more_alike_is_worth_it() {
        assert!(is_worth(200 * MIB, 0, 100 * MIB));
        assert!(!is_worth(200 * MIB, 0, 101 * MIB), "the other one would be the fuller then");
        assert!(!is_worth(200 * MIB, 0, 12 * MIB), "little is gained");
        assert!(!is_worth(200 * MIB, 120 * MIB, 30 * MIB), "it is not half as much");
        assert!(!is_worth(60 * MIB, 0, 20 * MIB), "it is little");
        assert!(!is_worth(0, 200 * MIB, 20 * MIB) && !is_worth(200 * MIB, 0, 0));
    }
}
