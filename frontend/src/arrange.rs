//! From the keys of a range to its answer: bounds, order, limit.
//!
//!     fetch          what a partition need not send, it does not
//!     arrange        bounds ─► sort ─► limit ─► leave values out
//!
//! One key above the limit is fetched, which tells whether the limit kept any out.

use journal::Revision;
use memstore::{KeyValue, Projection};

use crate::operation::{Bounds, Range, Sort, SortBy};

/// What to ask of the partitions for a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// Keys at most, in the order of their keys, within the bounds; 0 for all.
    pub(crate) limit: usize,
    pub(crate) projection: Projection,
    pub(crate) bounds: memstore::Bounds,
}

impl Fetch {
    /// Every key, with what `projection` says.
    #[must_use]
    pub(crate) fn all(projection: Projection) -> Fetch {
        Fetch { limit: 0, projection, bounds: memstore::Bounds::NONE }
    }
}

impl Range {
    /// The least that must be fetched to answer it.
    #[must_use]
    pub(crate) fn fetch(&self) -> Fetch {
        let by_value = self.sort.is_some_and(|sort| sort.by == SortBy::Value);
        let projection = match self.projection {
            Projection::KeysOnly if by_value => Projection::Full,
            projection => projection,
        };
        let limited = match self.sort {
            None => true,
            Some(sort) => sort.within_limit && self.bounds.is_none(),
        };
        let limit = if limited && self.limit > 0 { self.limit.saturating_add(1) } else { 0 };
        Fetch { limit, projection, bounds: self.bounds.fetch() }
    }

    /// Brings what was fetched into the form that was asked for. Answers whether the limit kept keys out.
    pub(crate) fn arrange(&self, kvs: &mut Vec<KeyValue>) -> bool {
        if self.projection == Projection::CountOnly {
            kvs.clear();
            return false;
        }
        if !self.bounds.is_none() {
            kvs.retain(|kv| self.bounds.admit(kv.mod_revision, kv.create_revision));
        }
        // A partition sends no more than that. What a transaction sees of its own writes is whole.
        let fetched = self.fetch().limit;
        if fetched > 0 {
            kvs.truncate(fetched);
        }
        if let Some(sort) = self.sort {
            sort.apply(kvs);
        }
        let more = self.limit > 0 && kvs.len() > self.limit;
        if more {
            kvs.truncate(self.limit);
        }
        if self.projection == Projection::KeysOnly {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        more
    }
}

impl Sort {
    fn apply(self, kvs: &mut [KeyValue]) {
        let compare = |a: &KeyValue, b: &KeyValue| match self.by {
            SortBy::Key => a.key.cmp(&b.key),
            SortBy::Version => a.version.cmp(&b.version),
            SortBy::Create => a.create_revision.cmp(&b.create_revision),
            SortBy::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortBy::Value => a.value.cmp(&b.value),
        };
        if self.descending {
            kvs.sort_by(|a, b| compare(b, a));
        } else {
            kvs.sort_by(compare);
        }
    }
}

impl Bounds {
    /// As partitions know them. Below 0 a minimum leaves nothing out, and a maximum everything.
    fn fetch(self) -> memstore::Bounds {
        let bound = |bound: i64| u64::try_from(bound).ok().map(Revision);
        let min = |min: i64| bound(min).filter(|min| *min > Revision::ZERO);
        let max = |max: i64| if max == 0 { None } else { Some(bound(max).unwrap_or(Revision::ZERO)) };
        memstore::Bounds {
            min_mod: min(self.min_mod),
            max_mod: max(self.max_mod),
            min_create: min(self.min_create),
            max_create: max(self.max_create),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::{Expect, expect};
    use journal::{KeyRange, LeaseId};

    use super::*;

    /// name, value, create, mod, version
    const KEYS: [(&str, &str, u64, u64, u64); 4] =
        [("a", "3", 2, 9, 3), ("b", "1", 3, 3, 1), ("c", "2", 4, 8, 2), ("d", "0", 5, 5, 1)];

    /// What the partitions would send for `fetch`.
    fn fetched(fetch: Fetch) -> Vec<KeyValue> {
        let keys = KEYS.iter().map(|&(key, value, create, modified, version)| KeyValue {
            key: Bytes::from(key),
            value: Bytes::from(if fetch.projection == Projection::Full { value } else { "" }),
            create_revision: Revision(create),
            mod_revision: Revision(modified),
            version,
            lease: LeaseId::NONE,
        });
        let inside = keys.filter(|kv| fetch.bounds.admit(kv.mod_revision, kv.create_revision));
        inside.take(if fetch.limit == 0 { usize::MAX } else { fetch.limit }).collect()
    }

    fn check(change: impl FnOnce(&mut Range), expect: Expect) {
        let mut range = Range::all(KeyRange::all());
        change(&mut range);
        let mut kvs = fetched(range.fetch());
        let fetched = kvs.len();
        let more = range.arrange(&mut kvs);
        let show = |kv: &KeyValue| format!("{}{}", kv.key.escape_ascii(), kv.value.escape_ascii());
        let shown: Vec<_> = kvs.iter().map(show).collect();
        expect.assert_eq(&format!("fetched {fetched}: {}{}", shown.join(" "), if more { " .." } else { "" }));
    }

    fn by(by: SortBy, descending: bool) -> Option<Sort> {
        Some(Sort { by, descending, within_limit: false })
    }

    #[test]
    fn a_limit_fetches_one_more_to_know_of_more() {
        check(|range| range.limit = 2, expect!["fetched 3: a3 b1 .."]);
        check(|range| range.limit = 4, expect!["fetched 4: a3 b1 c2 d0"]);
        check(|_| (), expect!["fetched 4: a3 b1 c2 d0"]);
    }

    #[test]
    fn the_limit_is_applied_after_sorting() {
        check(|range| (range.sort, range.limit) = (by(SortBy::Mod, true), 1), expect!["fetched 4: a3 .."]);
        check(
            |range| (range.sort, range.limit) = (by(SortBy::Create, true), 2),
            expect!["fetched 4: d0 c2 .."],
        );
    }

    #[test]
    fn equal_keys_stay_in_the_order_of_their_keys() {
        check(|range| range.sort = by(SortBy::Version, false), expect!["fetched 4: b1 d0 c2 a3"]);
        check(|range| range.sort = by(SortBy::Version, true), expect!["fetched 4: a3 c2 b1 d0"]);
    }

    #[test]
    fn a_field_without_an_order_sorts_what_the_limit_let_through_and_one_more() {
        let sort = Some(Sort { by: SortBy::Mod, descending: false, within_limit: true });
        check(|range| (range.sort, range.limit) = (sort, 1), expect!["fetched 2: b1 .."]);
        check(|range| (range.sort, range.limit) = (sort, 2), expect!["fetched 3: b1 c2 .."]);
        check(
            |range| (range.sort, range.limit, range.bounds.min_mod) = (sort, 1, 1),
            expect!["fetched 4: b1 .."],
        );
    }

    #[test]
    fn what_was_not_cut_when_it_was_fetched_is_cut_before_it_is_sorted() {
        let sort = Some(Sort { by: SortBy::Create, descending: true, within_limit: true });
        let range = Range { sort, limit: 1, ..Range::all(KeyRange::all()) };
        let mut kvs = fetched(Fetch::all(Projection::Full));
        assert!(range.arrange(&mut kvs));
        assert_eq!(kvs.len(), 1);
        assert_eq!(kvs[0].key, "b", "of the first two");
    }

    #[test]
    fn values_are_compared_although_only_keys_are_asked_for() {
        check(
            |range| (range.sort, range.projection) = (by(SortBy::Value, false), Projection::KeysOnly),
            expect!["fetched 4: d b c a"],
        );
    }

    #[test]
    fn bounds_hold_both_ends() {
        check(|range| (range.bounds.min_mod, range.bounds.max_mod) = (5, 8), expect!["fetched 2: c2 d0"]);
        check(|range| range.bounds.max_create = 3, expect!["fetched 2: a3 b1"]);
        check(|range| (range.bounds.min_mod, range.limit) = (5, 2), expect!["fetched 3: a3 c2 .."]);
    }

    #[test]
    fn a_negative_minimum_is_none_and_a_negative_maximum_leaves_nothing() {
        check(|range| range.bounds.min_create = -1, expect!["fetched 4: a3 b1 c2 d0"]);
        check(|range| range.bounds.max_mod = -1, expect!["fetched 0: "]);
    }

    #[test]
    fn counting_answers_no_keys() {
        check(|range| range.projection = Projection::CountOnly, expect!["fetched 4: "]);
    }
}
