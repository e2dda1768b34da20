//! An answer without what may differ: ids and terms are blanked, and whether they were there is kept.

use proto::etcdserverpb::{
    AlarmResponse, CompactionResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse,
    LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, PutResponse, RangeResponse,
    ResponseHeader, TxnResponse, response_op,
};
use tonic::{Code, Status};

/// What a store answered.
#[derive(Clone, PartialEq)]
pub enum Outcome {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    Leases(LeaseLeasesResponse),
    HashKv(HashKvResponse),
    Alarm(AlarmResponse),
    Refused(Code, String),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Range(answer) => write!(f, "{answer:?}"),
            Outcome::Put(answer) => write!(f, "{answer:?}"),
            Outcome::Delete(answer) => write!(f, "{answer:?}"),
            Outcome::Txn(answer) => write!(f, "{answer:#?}"),
            Outcome::Compact(answer) => write!(f, "{answer:?}"),
            Outcome::Grant(answer) => write!(f, "{answer:?}"),
            Outcome::Revoke(answer) => write!(f, "{answer:?}"),
            Outcome::TimeToLive(answer) => write!(f, "{answer:?}"),
            Outcome::Leases(answer) => write!(f, "{answer:?}"),
            Outcome::HashKv(answer) => write!(f, "{answer:?}"),
            Outcome::Alarm(answer) => write!(f, "{answer:?}"),
            Outcome::Refused(code, text) => write!(f, "{code:?}: {text}"),
        }
    }
}

impl Outcome {
    pub(super) fn of(answer: impl Answer) -> Outcome {
        answer.outcome()
    }

    pub(super) fn refused(status: &Status) -> Outcome {
        Outcome::Refused(status.code(), status.message().to_owned())
    }

    /// The store's revision, where the answer tells it.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        let header = match self {
            Outcome::Range(answer) => &answer.header,
            Outcome::Put(answer) => &answer.header,
            Outcome::Delete(answer) => &answer.header,
            Outcome::Txn(answer) => &answer.header,
            Outcome::Compact(answer) => &answer.header,
            Outcome::Grant(answer) => &answer.header,
            Outcome::Revoke(answer) => &answer.header,
            Outcome::TimeToLive(answer) => &answer.header,
            Outcome::Leases(answer) => &answer.header,
            Outcome::HashKv(answer) => &answer.header,
            Outcome::Alarm(answer) => &answer.header,
            Outcome::Refused(..) => return None,
        };
        header.as_ref().map(|header| header.revision)
    }
}

/// The outcome without the two places where etcd 3.6 and 3.7 differ:
/// - 3.7 leaves out the lease of a key that is read without its value (it answers such reads from its index,
///   which knows no leases);
/// - of two reasons to refuse one put, an unknown lease and a key that `ignore_*` misses, they name another first.
#[must_use]
pub fn in_both_etcds(mut outcome: Outcome) -> Outcome {
    match &mut outcome {
        Outcome::Range(answer) => bare(answer),
        Outcome::Txn(answer) => bare_txn(answer),
        Outcome::Refused(code, text)
            if text.ends_with("lease not found") || text.ends_with("key not found") =>
        {
            *code = Code::NotFound;
            "etcdserver: lease or key not found".clone_into(text);
        }
        _ => {}
    }
    outcome
}

fn bare(answer: &mut RangeResponse) {
    for kv in answer.kvs.iter_mut().filter(|kv| kv.value.is_empty()) {
        kv.lease = 0;
    }
}

fn bare_txn(txn: &mut TxnResponse) {
    for response in &mut txn.responses {
        match &mut response.response {
            Some(response_op::Response::ResponseRange(answer)) => bare(answer),
            Some(response_op::Response::ResponseTxn(answer)) => bare_txn(answer),
            _ => {}
        }
    }
}

/// Ids and terms become 1 where they are set, so that a missing one still shows.
pub(super) fn blank(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = header.member_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }
}

/// An answer of one kind.
pub(super) trait Answer {
    fn outcome(self) -> Outcome;
}

macro_rules! answers {
    ($($response:ty => $outcome:ident),* $(,)?) => {$(
        impl Answer for $response {
            fn outcome(mut self) -> Outcome {
                blank(&mut self.header);
                Outcome::$outcome(self)
            }
        }
    )*};
}

answers! {
    RangeResponse => Range,
    PutResponse => Put,
    DeleteRangeResponse => Delete,
    CompactionResponse => Compact,
    LeaseGrantResponse => Grant,
    LeaseRevokeResponse => Revoke,
}

impl Answer for HashKvResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        // At a compacted revision etcd answers from what it noted when it compacted, if it is done with that: the
        // compaction before. Elsewhere it is the last compaction, and the hash is the same either way.
        if self.compact_revision <= self.hash_revision {
            self.compact_revision = 0;
        }
        Outcome::HashKv(self)
    }
}

impl Answer for TxnResponse {
    fn outcome(mut self) -> Outcome {
        blank_txn(&mut self);
        Outcome::Txn(self)
    }
}

fn blank_txn(txn: &mut TxnResponse) {
    blank(&mut txn.header);
    for response in &mut txn.responses {
        match &mut response.response {
            Some(response_op::Response::ResponseRange(answer)) => blank(&mut answer.header),
            Some(response_op::Response::ResponsePut(answer)) => blank(&mut answer.header),
            Some(response_op::Response::ResponseDeleteRange(answer)) => blank(&mut answer.header),
            Some(response_op::Response::ResponseTxn(answer)) => blank_txn(answer),
            None => {}
        }
    }
}

impl Answer for LeaseTimeToLiveResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        // Seconds pass while the stores are asked; that there are some left is what can be compared.
        self.ttl = self.ttl.signum();
        self.keys.sort();
        Outcome::TimeToLive(self)
    }
}

impl Answer for LeaseLeasesResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        self.leases.sort_by_key(|lease| lease.id);
        Outcome::Leases(self)
    }
}

impl Answer for AlarmResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        for alarm in &mut self.alarms {
            alarm.member_id = alarm.member_id.min(1);
        }
        Outcome::Alarm(self)
    }
}
