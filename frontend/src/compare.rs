//! Whether a transaction's condition holds.

use std::cmp::Ordering;

use memstore::KeyValue;

use crate::operation::{Compare, Relation, Subject};

impl Compare {
    /// Whether it holds for every key of its range, of which `kvs` are all that exist.
    ///
    /// A range without keys compares as zeros; its value compares as nothing, not even as different.
    pub fn holds<'a>(&self, kvs: impl IntoIterator<Item = &'a KeyValue>) -> bool {
        let mut kvs = kvs.into_iter().peekable();
        if kvs.peek().is_none() {
            let is_value = matches!(self.subject, Subject::Value(_));
            return !is_value && self.holds_for(&KeyValue::default());
        }
        kvs.all(|kv| self.holds_for(kv))
    }

    fn holds_for(&self, kv: &KeyValue) -> bool {
        let order = match &self.subject {
            Subject::Version(version) => i64::try_from(kv.version).unwrap_or(i64::MAX).cmp(version),
            Subject::Create(revision) => kv.create_revision.to_wire().cmp(revision),
            Subject::Mod(revision) => kv.mod_revision.to_wire().cmp(revision),
            Subject::Lease(lease) => kv.lease.0.cmp(lease),
            Subject::Value(value) => kv.value.cmp(value),
            Subject::Unknown => Ordering::Equal,
        };
        match self.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
            Relation::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{KeyRange, LeaseId, Revision};

    use super::*;

    fn key(version: u64) -> KeyValue {
        KeyValue {
            key: Bytes::from("k"),
            value: Bytes::from("v"),
            create_revision: Revision(5),
            mod_revision: Revision(5 + version),
            version,
            lease: LeaseId(3),
        }
    }

    fn check(kvs: &[KeyValue], subject: Subject, holding: &[Relation]) {
        for relation in [Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less] {
            let compare = Compare { keys: KeyRange::all(), subject: subject.clone(), relation };
            assert_eq!(compare.holds(kvs), holding.contains(&relation), "{subject:?} {relation:?}");
        }
        let compare = Compare { keys: KeyRange::all(), subject, relation: Relation::Unknown };
        let is_missing_value = kvs.is_empty() && matches!(compare.subject, Subject::Value(_));
        assert_eq!(compare.holds(kvs), !is_missing_value);
    }

    use Relation::{Equal, Greater, Less, NotEqual};

    #[test]
    fn each_field_is_compared_with_its_own() {
        check(&[key(2)], Subject::Version(2), &[Equal]);
        check(&[key(2)], Subject::Create(4), &[NotEqual, Greater]);
        check(&[key(2)], Subject::Mod(8), &[NotEqual, Less]);
        check(&[key(2)], Subject::Lease(3), &[Equal]);
        check(&[key(2)], Subject::Value(Bytes::from("u")), &[NotEqual, Greater]);
    }

    #[test]
    fn a_missing_key_counts_as_zero() {
        for subject in [Subject::Version(0), Subject::Create(0), Subject::Mod(0), Subject::Lease(0)] {
            check(&[], subject, &[Equal]);
        }
        check(&[], Subject::Version(1), &[NotEqual, Less]);
        check(&[], Subject::Version(-1), &[NotEqual, Greater]);
    }

    #[test]
    fn a_missing_value_compares_as_nothing() {
        check(&[], Subject::Value(Bytes::new()), &[]);
        check(&[], Subject::Value(Bytes::from("v")), &[]);
    }

    #[test]
    fn every_key_of_a_range_must_do() {
        check(&[key(1), key(2)], Subject::Version(1), &[]);
        check(&[key(1), key(2)], Subject::Version(0), &[NotEqual, Greater]);
    }

    #[test]
    fn everything_is_equal_in_an_unknown_field() {
        check(&[key(1)], Subject::Unknown, &[Equal]);
        check(&[], Subject::Unknown, &[Equal]);
    }
}
