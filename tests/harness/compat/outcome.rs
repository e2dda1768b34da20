//! An answer without what may differ: ids and terms are blanked, and whether they were there is kept.

use proto::etcdserverpb::{
    AlarmResponse, AuthDisableResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserListResponse,
    CompactionResponse, DefragmentResponse, DeleteRangeResponse, HashKvResponse, HashResponse,
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, MemberListResponse, MoveLeaderResponse, PutResponse, RangeResponse,
    ResponseHeader, StatusResponse, TxnResponse, response_op,
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
    Stream(Vec<RangeResponse>),
    /// What is asked seldom: the answer as a text.
    Told(String),
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
            Outcome::Stream(pieces) => write!(f, "{pieces:#?}"),
            Outcome::Told(text) => write!(f, "{text}"),
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

    pub(super) fn pieces(mut pieces: Vec<RangeResponse>) -> Outcome {
        pieces.iter_mut().for_each(|piece| blank(&mut piece.header));
        Outcome::Stream(pieces)
    }

    /// Only that there is a hash.
    pub(super) fn without_hash(mut self) -> Outcome {
        if let Outcome::HashKv(answer) = &mut self {
            (answer.hash, answer.compact_revision) = (answer.hash.min(1), 0);
        }
        self
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
            Outcome::Stream(pieces) => &pieces.last()?.header,
            Outcome::Told(_) | Outcome::Refused(..) => return None,
        };
        header.as_ref().map(|header| header.revision)
    }
}

/// The outcome without the places where etcd 3.6 and 3.7 differ, besides their versions:
/// - 3.7 leaves out the lease of a key that is read without its value (it answers such reads from its index,
///   which knows no leases);
/// - of two reasons to refuse one put, an unknown lease and a key that `ignore_*` misses, they name another first.
pub(super) fn in_both_etcds(mut outcome: Outcome) -> Outcome {
    match &mut outcome {
        Outcome::Range(answer) => bare(answer),
        Outcome::Txn(answer) => bare_txn(answer),
        Outcome::Stream(pieces) => pieces.iter_mut().for_each(bare),
        Outcome::Told(text) => *text = text.replace("3.7.0", "3.6.0"),
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
    HashKvResponse => HashKv,
}

macro_rules! told {
    ($($response:ty),* $(,)?) => {$(
        impl Answer for $response {
            fn outcome(mut self) -> Outcome {
                blank(&mut self.header);
                Outcome::Told(format!("{self:?}"))
            }
        }
    )*};
}

told! {
    AuthDisableResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserListResponse, DefragmentResponse,
    LeaseKeepAliveResponse, MoveLeaderResponse,
}

impl Answer for HashResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        // Of a file in etcd, of keys in Mainstem; and never nothing.
        self.hash = self.hash.min(1);
        Outcome::Told(format!("{self:?}"))
    }
}

impl Answer for MemberListResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        for member in &mut self.members {
            member.id = member.id.min(1);
            member.name.clear();
            // Ports are each store's own, and so is what peers are told.
            for url in &mut member.client_ur_ls {
                let port = url.rfind(':').map_or(url.len(), |colon| colon + 1);
                url.truncate(port);
            }
            member.peer_ur_ls.iter_mut().for_each(String::clear);
        }
        // How many there are is each store's own, too.
        self.members.dedup();
        Outcome::Told(format!("{self:?}"))
    }
}

impl Answer for StatusResponse {
    fn outcome(mut self) -> Outcome {
        blank(&mut self.header);
        // A frontend of its own is no member, and does not lead.
        self.leader = self.leader.min(1);
        (self.db_size, self.db_size_in_use) = (self.db_size.signum(), self.db_size_in_use.signum());
        self.raft_applied_index = u64::from(self.raft_applied_index <= self.raft_index);
        (self.raft_index, self.raft_term) = (self.raft_index.min(1), self.raft_term.min(1));
        // The third number is each program's own.
        let release = self.version.rfind('.').unwrap_or_default();
        self.version.replace_range(release.., ".0");
        Outcome::Told(format!("{self:?}"))
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
