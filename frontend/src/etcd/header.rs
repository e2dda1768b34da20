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

/// Whose `Status` an endpoint tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// A journal runs here: its own.
    ForItself,
    /// No journal runs here, so that nobody finds this endpoint among the members: the leader's.
    ForLeader,
}

impl Speaks {
    /// Who is in the header of a `Status`. Without a leader there is nobody else to speak for.
    #[must_use]
    pub fn identity(self, own: Identity, leader: Option<u64>) -> Identity {
        match (self, leader) {
            (Speaks::ForLeader, Some(leader)) => Identity { member_id: leader, ..own },
            (Speaks::ForLeader, None) | (Speaks::ForItself, _) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_member_speaks_of_the_leader() {
        let own = Identity { cluster_id: 1, member_id: 2 };
        let told = |speaks: Speaks, leader| {
            let Identity { cluster_id, member_id } = speaks.identity(own, leader);
            (cluster_id, member_id)
        };
        assert_eq!(told(Speaks::ForLeader, Some(7)), (1, 7));
        assert_eq!(told(Speaks::ForLeader, None), (1, 2));
        assert_eq!(told(Speaks::ForItself, Some(7)), (1, 2));
    }
}
