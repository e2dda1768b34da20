//! What etcd puts before each answer: who answers, and how far the store was.

use proto::etcdserverpb::ResponseHeader;

use crate::answer::Position;

/// Who answers: the same for as long as the cluster and this endpoint exist, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: u64,
    pub member_id: u64,
}

impl Identity {
    /// The header of an answer that stands at `at`.
    #[must_use]
    pub fn header(&self, at: Position) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision: at.revision.to_wire(),
            raft_term: at.term,
        }
    }
}
