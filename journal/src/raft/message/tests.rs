//! What is said comes over, and nothing that comes over does harm.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;

use super::super::membership::Voters;
use super::super::peer::Peer;
use super::super::types::{Membership, Payload, RaftPayload, SnapshotMeta};
use super::*;
use crate::codec::tests::any_batch;

fn vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
        if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
    })
}

fn log_id() -> impl Strategy<Value = LogId> {
    (any::<u64>(), 0..u64::MAX - 100).prop_map(|(term, index)| LogId::new_term_index(term, index))
}

fn maybe_log_id() -> impl Strategy<Value = Option<LogId>> {
    proptest::option::of(log_id())
}

fn voters() -> impl Strategy<Value = Voters> {
    let urls = || proptest::collection::vec("[a-z:/.0-9]{0,20}", 0..3);
    let peer = ("[a-z]{0,8}", urls(), urls(), any::<bool>())
        .prop_map(|(name, peer_urls, client_urls, votes)| Peer { name, peer_urls, client_urls, votes });
    proptest::collection::btree_map(any::<u64>(), peer, 1..4).prop_map(|nodes: BTreeMap<u64, Peer>| {
        let first = *nodes.keys().next().expect("there is one");
        Voters::new(vec![[first].into()], nodes).expect("it votes")
    })
}

fn payload() -> impl Strategy<Value = RaftPayload> {
    prop_oneof![
        Just(RaftPayload::Blank),
        voters().prop_map(RaftPayload::Membership),
        any_batch().prop_map(|batch| RaftPayload::Normal(Payload::encode(batch))),
    ]
}

fn append() -> impl Strategy<Value = AppendEntriesRequest<Types>> {
    let entries = proptest::collection::vec((any::<u64>(), payload()), 0..4);
    (vote(), maybe_log_id(), maybe_log_id(), entries).prop_map(
        |(vote, prev_log_id, leader_commit, entries)| {
            let first = prev_log_id.map_or(0, |prev| prev.index() + 1);
            let entries = (first..).zip(entries).map(|(index, (term, payload))| {
                let log_id = LogId::new_term_index(term, index);
                RaftEntry { log_id, payload }
            });
            AppendEntriesRequest { vote, prev_log_id, leader_commit, entries: entries.collect() }
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (log_id(), maybe_log_id(), voters(), proptest::collection::vec(any::<u8>(), 0..50)).prop_map(
        |(last, at, voters, state)| Snapshot {
            meta: SnapshotMeta { last_log_id: Some(last), last_membership: Membership::new(at, voters) },
            snapshot: Bytes::from(state),
        },
    )
}

/// Entries have no equality, but their bytes do.
fn told(entries: &[RaftEntry]) -> Vec<String> {
    let told = |entry: &RaftEntry| match &entry.payload {
        RaftPayload::Normal(payload) => format!("{:?} {:?}", entry.log_id, payload.batch),
        other => format!("{:?} {other:?}", entry.log_id),
    };
    entries.iter().map(told).collect()
}

fn comes_over<B: Body + Debug + PartialEq>(body: &B) -> Result<(), TestCaseError> {
    prop_assert_eq!(&B::decode(body.encode()).unwrap(), body);
    Ok(())
}

proptest! {
    #[test]
    fn an_append_comes_over(append in append()) {
        let read = AppendEntriesRequest::<Types>::decode(append.encode()).unwrap();
        prop_assert_eq!(read.vote, append.vote);
        prop_assert_eq!((read.prev_log_id, read.leader_commit), (append.prev_log_id, append.leader_commit));
        prop_assert_eq!(told(&read.entries), told(&append.entries));
    }

    #[test]
    fn a_snapshot_comes_over(vote in vote(), snapshot in snapshot()) {
        let sent = InstallSnapshot { vote, snapshot };
        let read = InstallSnapshot::decode(sent.encode()).unwrap();
        prop_assert_eq!((read.vote, read.snapshot.meta), (sent.vote, sent.snapshot.meta));
        prop_assert_eq!(read.snapshot.snapshot, sent.snapshot.snapshot);
    }

    #[test]
    fn all_else_comes_over(
        (a, b) in (vote(), vote()),
        (c, d) in (maybe_log_id(), maybe_log_id()),
        (at, yes, node) in (log_id(), any::<bool>(), any::<u64>()),
        members in voters(),
    ) {
        comes_over::<StreamAppendResult<Types>>(&Ok(c))?;
        comes_over::<StreamAppendResult<Types>>(&Err(StreamAppendError::Conflict(at)))?;
        comes_over::<StreamAppendResult<Types>>(&Err(StreamAppendError::HigherVote(a)))?;
        let leadership_transfer = yes;
        comes_over(&VoteRequest::<Types> { vote: a, last_log_id: c, leadership_transfer })?;
        comes_over(&VoteResponse::<Types>::new(a, c, yes))?;
        comes_over(&SnapshotResponse::<Types>::new(a))?;
        comes_over(&TransferLeaderRequest::<Types>::new(a, node, c))?;
        comes_over::<TransferLeaderResponse<Types>>(&Ok(()))?;
        let changed = TransferLeaderError::VoteChanged { expected: a, actual: b };
        comes_over::<TransferLeaderResponse<Types>>(&Err(changed))?;
        let behind = TransferLeaderError::LogNotFlushed { expected: c, actual: d };
        comes_over::<TransferLeaderResponse<Types>>(&Err(behind))?;
        comes_over(&Roster { at: Lsn(node), members })?;
    }

    #[test]
    fn no_bytes_do_harm(
        append in append(),
        at in any::<proptest::sample::Index>(),
        flip in 1..=u8::MAX,
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = append.encode().to_vec();
        let cut = at.index(bytes.len());
        prop_assert!(AppendEntriesRequest::<Types>::decode(Bytes::copy_from_slice(&bytes[..cut])).is_err());
        bytes[cut] ^= flip;
        let _ = AppendEntriesRequest::<Types>::decode(Bytes::from(bytes));
        let noise = Bytes::from(noise);
        let _ = AppendEntriesRequest::<Types>::decode(noise.clone());
        let _ = StreamAppendResult::<Types>::decode(noise.clone());
        let _ = InstallSnapshot::decode(noise.clone());
        let _ = TransferLeaderResponse::<Types>::decode(noise.clone());
        let _ = Roster::decode(noise);
    }
}

#[test]
fn entries_with_a_gap_are_refused() {
    let entry = |index| RaftEntry { log_id: LogId::new_term_index(1, index), payload: RaftPayload::Blank };
    let append = AppendEntriesRequest::<Types> {
        vote: Vote::new_committed(1, 1),
        prev_log_id: None,
        leader_commit: None,
        entries: vec![entry(0), entry(2)],
    };
    let error = AppendEntriesRequest::<Types>::decode(append.encode()).unwrap_err();
    assert_eq!(error.to_string(), "entry 2 follows where 1 is next");
}
