//! What is written is read back, piece by piece, and what is no message is refused.

use std::sync::Arc;

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use proptest::prelude::*;
use prost::Message;
use proto::memstore as message;

use super::answers::{Cut, Gathered, PART_BYTES, Said};
use super::reports::{self, Identity, Position, Report};
use super::watching::{News, read_update, read_wish, write_events};
use super::{Malformed, questions};
use crate::error::Error;
use crate::event::{Change, Event, EventKind};
use crate::frontier::Applied;
use crate::hash_kv::HashedBytes;
use crate::hashing::{Hash, HashedPart};
use crate::key_value::KeyValue;
use crate::memory::MemoryReservation;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::query::Answer;

fn kv(key: &str, value_bytes: usize) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from(vec![7; value_bytes]),
        create_revision: Revision(2),
        mod_revision: Revision(9),
        version: 3,
        lease: LeaseId(-5),
    }
}

fn found(sizes: &[usize]) -> Said {
    let kvs: Vec<_> = sizes.iter().enumerate().map(|(at, size)| kv(&format!("{at:05}"), *size)).collect();
    let applied = Applied { lsn: Lsn(7), revision: Revision(9) };
    Said::Found(Answer { count: 12, kvs, more: true, at: Revision(8), applied })
}

/// The pieces as they come out at the other end, and their sizes.
fn gather(said: Said) -> (Said, Vec<usize>) {
    let (mut cut, mut gathered, mut sizes) =
        (Cut::new(4, said, MemoryReservation::of(&Arc::default())), Gathered::default(), Vec::new());
    loop {
        let part = cut.part();
        sizes.push(part.answer.encoded_len());
        let answer =
            message::Answer::decode(Bytes::from(part.answer.encode_to_vec())).expect("what we wrote");
        assert_eq!(answer.id, 4);
        let said = gathered.take(answer).expect("what we wrote");
        assert_eq!(said.is_some(), part.is_last);
        if let Some(said) = said {
            return (said, sizes);
        }
    }
}

#[test]
fn every_answer_is_read_back() {
    let hashed =
        HashedBytes { position: (Revision(4), 1), crc: u32::MAX, bytes: 17, visible: true, below: false };
    let all = [
        found(&[]),
        found(&[0, 5]),
        Said::Values(Revision(3), vec![None, Some(kv("a", 3)), None]),
        Said::LeasedKeys(Revision(3), vec!["a".into(), "b".into()]),
        Said::Hash(Hash { hash: 8, revision: Revision(4), compacted: Revision(2) }),
        Said::Reached(Position { applied: Applied { lsn: Lsn(1), revision: Revision(2) }, bytes_in_use: 3 }),
        Said::Hashed(HashedPart { versions: vec![hashed], at_end: true }),
        Said::Refused(Error::Closed),
        Said::Refused(Error::Behind),
        Said::Refused(Error::WrongPartition),
        Said::Refused(Error::Compacted { compacted: Revision(5) }),
        Said::Refused(Error::FutureRevision { current: Revision(5) }),
    ];
    for said in all {
        assert_eq!(gather(said.clone()).0, said);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_long_answer_comes_in_parts_of_a_bounded_size(
        sizes in prop::collection::vec(prop_oneof![5 => 0_usize..400_000, 1 => 900_000_usize..3_000_000], 0..12),
    ) {
        let said = found(&sizes);
        let (read, parts) = gather(said.clone());
        prop_assert_eq!(read, said);
        let largest = sizes.iter().max().copied().unwrap_or_default().max(PART_BYTES);
        prop_assert!(parts.iter().all(|part| *part <= largest + 1_024), "{:?}", parts);
        let least = sizes.iter().sum::<usize>() / PART_BYTES;
        prop_assert!(parts.len() <= 2 * least + 2, "{} of {:?}", parts.len(), sizes);
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(question) = message::Question::decode(bytes.clone()) {
            drop(questions::read(question));
        }
        if let Ok(answer) = message::Answer::decode(bytes.clone()) {
            drop(Gathered::default().take(answer));
        }
        if let Ok(update) = message::WatchUpdate::decode(bytes.clone()) {
            drop(read_update(update));
        }
        if let Ok(change) = message::WatchChange::decode(bytes.clone()) {
            drop(read_wish(change));
        }
        if let Ok(report) = message::Report::decode(bytes) {
            drop(reports::read(report));
        }
    }
}

#[test]
fn an_event_is_passed_on_as_it_came() {
    let change = Change {
        revision: Revision(9),
        sub: 4,
        kind: EventKind::Put,
        kv: kv("k", 3),
        prev: Some(KeyValue { mod_revision: Revision(7), version: 2, ..kv("k", 2) }),
    };
    let event = Arc::new(Event::new(change.clone()));
    for prev_kv in [false, true] {
        let update = write_events(3, std::slice::from_ref(&event), prev_kv, Some(Revision(10)));
        let update =
            message::WatchUpdate::decode(Bytes::from(update.encode_to_vec())).expect("what we wrote");
        let Ok(News::Events { watcher: 3, events, upto: Some(Revision(10)) }) = read_update(update) else {
            panic!("what we wrote")
        };
        let expected = Change { prev: change.prev.clone().filter(|_| prev_kv), ..change.clone() };
        assert_eq!(**events[0], expected);
        assert_eq!(events[0].wire(prev_kv), event.wire(prev_kv));
        assert_eq!(events[0].wire(false), event.wire(false));
    }
}

#[test]
fn partitions_that_overlap_are_refused() {
    let range = |id, start: &'static str, end: Option<&'static str>| PartitionRange {
        id: PartitionId(id),
        start: start.into(),
        end: end.map(Bytes::from),
    };
    let report = |serving: &[PartitionRange]| {
        let identity = Identity { cluster: 1, process: 2, name: "m1".to_owned() };
        let report = Report { identity, serving: Some(serving.to_vec()), ..Report::default() };
        let read = reports::read(reports::write(report.clone()));
        read.map(|read| assert_eq!(read, report))
    };
    let apart = [range(7, "", Some("b")), range(3, "b", Some("m")), range(9, "n", None)];
    assert_eq!(report(&apart), Ok(()));
    assert_eq!(report(&[]), Ok(()));
    let overlapping = [
        [range(1, "", Some("c")), range(2, "b", None)],
        [range(1, "b", None), range(2, "c", None)],
        [range(1, "b", None), range(2, "", Some("b"))],
        [range(1, "b", Some("a")), range(2, "b", None)],
    ];
    for ranges in overlapping {
        assert!(matches!(report(&ranges), Err(Malformed(_))), "{ranges:?}");
    }
}
