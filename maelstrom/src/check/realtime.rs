//! The order of real time as few edges: what follows from two others is left out.

use super::history::Moment;

/// `spans`: when each was invoked and answered, if it was. Answers pairs (before, after), enough of them that every other
/// pair follows. There are no more than there are operations times clients.
pub fn edges(spans: &[(Moment, Option<Moment>)]) -> Vec<(usize, usize)> {
    let mut events: Vec<(Moment, bool, usize)> = Vec::with_capacity(2 * spans.len());
    for (index, (invoked, answered)) in spans.iter().enumerate() {
        events.push((*invoked, false, index));
        events.extend(answered.map(|at| (at, true, index)));
    }
    // Calls before answers of the same moment: neither is before the other.
    events.sort_unstable();
    // Those that were answered, and no other that was answered began after their answer.
    let mut newest: Vec<usize> = Vec::new();
    let mut edges = Vec::new();
    for (_, answered, index) in events {
        if answered {
            newest.retain(|other| spans[*other].1.is_none_or(|at| at >= spans[index].0));
            newest.push(index);
        } else {
            edges.extend(newest.iter().map(|before| (*before, index)));
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_edges_reach_exactly_what_was_before(
            times in proptest::collection::vec((0..20_u64, proptest::option::of(0..8_u64)), 0..10)
        ) {
            let spans: Vec<_> = times
                .iter()
                .map(|(from, length)| {
                    (Duration::from_secs(*from), length.map(|length| Duration::from_secs(from + length)))
                })
                .collect();
            let mut reached = vec![vec![false; spans.len()]; spans.len()];
            edges(&spans).iter().for_each(|(a, b)| reached[*a][*b] = true);
            for by in 0..spans.len() {
                for a in 0..spans.len() {
                    for b in 0..spans.len() {
                        reached[a][b] |= reached[a][by] && reached[by][b];
                    }
                }
            }
            for (a, from) in spans.iter().enumerate() {
                for (b, to) in spans.iter().enumerate() {
                    prop_assert_eq!(reached[a][b], from.1.is_some_and(|at| at < to.0), "{} {}", a, b);
                }
            }
        }
    }
}
