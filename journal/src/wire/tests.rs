//! What is read is what was written, and nothing that can be sent makes it panic.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use proto::journal as message;

use super::answers::Answer;
use super::questions::Asked;
use super::*;
use crate::client::{Expired, LeaseStatus, Status};
use crate::error::Error;
use crate::key_range::KeyRange;
use crate::lsn::Lsn;
use crate::member::Member;
use crate::origin::Origin;
use crate::record::{Alarm, Append, Batch, Entry, LeaseId, Read, Record, SysOp, Write};
use crate::revision::Revision;
use crate::routes::{Routes, tests::any_routes};
use crate::verdict::{Barrier, Fate, Verdict};

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from)
}

fn origin() -> impl Strategy<Value = Origin> {
    any::<(u64, u64, u32)>().prop_map(|(frontend, seq, attempt)| Origin { frontend, seq, attempt })
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (bytes(), bytes(), any::<i64>()).prop_map(|(key, value, lease)| Write::Put {
            key,
            value,
            lease: LeaseId(lease)
        }),
        bytes().prop_map(|key| Write::Delete { key }),
    ]
}

fn keys() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        bytes().prop_map(KeyRange::Single),
        bytes().prop_map(KeyRange::From),
        (bytes(), bytes()).prop_map(|(start, end)| KeyRange::Range { start, end }),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        (keys(), any::<u64>()).prop_map(|(keys, at)| Read::Keys { keys, at: Revision(at) }),
        any::<(i64, u64)>().prop_map(|(lease, at)| Read::Lease { lease: LeaseId(lease), at: Revision(at) }),
    ]
}

fn sysop() -> impl Strategy<Value = Option<SysOp>> {
    prop::option::of(prop_oneof![
        any::<(i64, i64)>()
            .prop_map(|(lease, ttl_seconds)| SysOp::LeaseGrant { lease: LeaseId(lease), ttl_seconds }),
        any::<u64>().prop_map(|revision| SysOp::Compact { revision: Revision(revision) }),
    ])
}

fn append() -> impl Strategy<Value = Append> {
    let lists = (prop::collection::vec(read(), 0..4), prop::collection::vec(write(), 0..4));
    (origin(), lists, sysop(), any::<bool>()).prop_map(|(origin, (reads, writes), sysop, reserve)| Append {
        origin,
        reads,
        writes,
        sysop,
        reserve,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        append().prop_map(Asked::Append),
        origin().prop_map(Asked::Fate),
        any::<i64>().prop_map(|lease| Asked::KeepAlive(LeaseId(lease))),
        any::<i64>().prop_map(|lease| Asked::Lease(LeaseId(lease))),
        Just(Asked::Barrier),
        Just(Asked::Leases),
        Just(Asked::Expired),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        any::<(u64, u64, u64, u32)>().prop_map(|(lsn, revision, term, attempt)| Verdict::Committed {
            lsn: Lsn(lsn),
            revision: Revision(revision),
            term,
            attempt
        }),
        any::<u64>().prop_map(|wait| Verdict::Conflict { wait: Revision(wait) }),
        Just(Verdict::Reserved),
        Just(Verdict::Forgotten),
        any::<u64>().prop_map(|wait| Verdict::TooOld { wait: Revision(wait) }),
        any::<i64>().prop_map(|lease| Verdict::LeaseNotFound(LeaseId(lease))),
        any::<i64>().prop_map(|lease| Verdict::LeaseExists(LeaseId(lease))),
        any::<u64>().prop_map(|compacted| Verdict::Compacted { compacted: Revision(compacted) }),
        any::<u64>().prop_map(|current| Verdict::FutureRevision { current: Revision(current) }),
        any::<u64>().prop_map(|version| Verdict::RoutesChanged { version }),
        any::<u64>().prop_map(|ms| Verdict::Overloaded { retry_after: Duration::from_millis(ms) }),
        any::<(u64, u64)>().prop_map(|(bytes, bytes_max)| Verdict::TooLarge { bytes, bytes_max }),
        prop::option::of(1u64..).prop_map(|hint| Verdict::NotLeader { hint }),
        Just(Verdict::Unknown),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        any::<(u64, u64, u64, u32)>().prop_map(|(lsn, revision, term, attempt)| Fate::Committed {
            lsn: Lsn(lsn),
            revision: Revision(revision),
            term,
            attempt
        }),
        Just(Fate::Pending),
        Just(Fate::Never),
        Just(Fate::Expired),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let lease = any::<(i64, i64)>()
        .prop_map(|(granted_seconds, remaining_seconds)| LeaseStatus { granted_seconds, remaining_seconds });
    let end =
        any::<(u32, i64)>().prop_map(|(ends, lease)| (Duration::from_micros(ends.into()), LeaseId(lease)));
    let expired = any::<(i64, u64)>().prop_map(|(lease, term)| Expired { lease: LeaseId(lease), term });
    prop_oneof![
        verdict().prop_map(Answer::Verdict),
        fate().prop_map(Answer::Fate),
        any::<(u64, u64, u64)>().prop_map(|(lsn, revision, term)| {
            Answer::Barrier(Barrier { lsn: Lsn(lsn), revision: Revision(revision), term })
        }),
        any::<Option<i64>>().prop_map(Answer::KeepAlive),
        prop::option::of(lease).prop_map(Answer::Lease),
        (prop::collection::vec(end, 0..4), any::<bool>())
            .prop_map(|(leases, more)| Answer::Leases { leases, more }),
        prop::collection::vec(expired, 0..4).prop_map(Answer::Expired),
        prop::option::of(1u64..).prop_map(|hint| Answer::Refused(Error::NotLeader { hint })),
        Just(Answer::Refused(Error::NoQuorum)),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let urls = || prop::collection::vec("[a-z]{0,4}", 0..3);
    (any::<u64>(), "[a-z]{0,4}", urls(), urls(), any::<[bool; 2]>()).prop_map(
        |(id, name, peer_urls, client_urls, [learner, awaits_vote])| Member {
            id,
            name,
            peer_urls,
            client_urls,
            learner,
            awaits_vote,
        },
    )
}

/// There and back over the wire.
fn carried<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).expect("it was encoded just before")
}

proptest! {
    #[test]
    fn a_question_arrives_as_it_was_asked(id: u64, asked in asked()) {
        let message = questions::write(id, &asked);
        prop_assert_eq!(questions::read(carried(&message)), Ok((id, asked)));
    }

    #[test]
    fn an_answer_arrives_as_it_was_given(id: u64, answer in answer()) {
        let message = answers::write(id, answer.clone());
        prop_assert_eq!(answers::read(carried(&message)), Ok((id, answer)));
    }

    #[test]
    fn a_status_arrives_as_it_was_told(
        numbers in any::<[u64; 8]>(),
        members in prop::collection::vec(member(), 0..3),
        alarmed in any::<bool>(),
        routes in prop_oneof![Just(Routes::default()), any_routes()],
    ) {
        let [cluster, node, leader, term, applied, revision, compacted, first] = numbers;
        let alarms = if alarmed { vec![(node, Alarm::NoSpace), (leader, Alarm::Corrupt)] } else { Vec::new() };
        let status = Status {
            cluster,
            node,
            members,
            leader: answers::id(leader),
            term,
            applied: Lsn(applied),
            revision: Revision(revision),
            compacted: Revision(compacted),
            alarms,
            routes: routes.into(),
            first: Lsn(first),
            disk_bytes: 7,
            bootstrapped: vec![node, leader],
            missing_up_to: answers::id(first).map(Lsn),
            serves_clients: alarmed,
        };
        prop_assert_eq!(status::read(carried(&status::write(&status))), Ok(status));
    }

    #[test]
    fn an_entry_arrives_as_it_was_committed(
        lsn: u64,
        term: u64,
        records in prop::collection::vec((origin(), prop::collection::vec(write(), 0..4)), 0..4),
    ) {
        let records: Vec<Record> =
            records.into_iter().map(|(origin, writes)| Record { origin, writes, sysop: None }).collect();
        let batch = Batch { term, base_revision: Revision(2), wall_clock_ms: 9, records };
        for batch in [None, Some(std::sync::Arc::new(batch))] {
            let entry = Entry { lsn: Lsn(lsn), term, batch };
            let read = entries::read(carried(&entries::write(&entry))).expect("it was written just before");
            prop_assert_eq!((read.lsn, read.term, read.batch), (entry.lsn, entry.term, entry.batch));
        }
    }

    #[test]
    fn what_anybody_may_send_is_read_or_refused(junk in prop::collection::vec(any::<u8>(), 0..64)) {
        let junk = Bytes::from(junk);
        if let Ok(question) = message::Question::decode(junk.clone()) {
            drop(questions::read(question));
        }
        if let Ok(answer) = message::Answer::decode(junk.clone()) {
            drop(answers::read(answer));
        }
        if let Ok(status) = message::StatusPart::decode(junk.clone()) {
            drop(status::read(status));
        }
        drop(entries::read(message::Entry { lsn: 1, term: 1, batch: junk.clone() }));
        let append = message::Append { effects: junk, reads: Vec::new(), reserve: false };
        let ask = Some(message::question::Ask::Append(append));
        drop(questions::read(message::Question { id: 1, ask }));
    }
}

#[test]
fn what_says_nothing_is_refused() {
    assert!(questions::read(message::Question { id: 1, ask: None }).is_err());
    assert!(answers::read(message::Answer { id: 1, answer: None }).is_err());
}
