//! The nodes of a journal's cluster, and how the cluster is changed.
//!
//! Members are Raft's: they stand in the log itself, so that every node learns of a change in the order of
//! everything else. What a change may be refused for is etcd's.

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    /// Empty until the node has started for the first time.
    pub name: String,
    /// Where other nodes, memstores and frontends reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it. Empty until the node has started for the first time.
    pub client_urls: Vec<String>,
    /// Whether it follows without a vote.
    pub learner: bool,
    /// True of a member that is to vote and has no vote until it has caught up.
    pub awaits_vote: bool,
}

/// What can be done to the cluster, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It begins with everything that is committed. `learner` says whether it gets a vote.
    Add(Member),
    /// A learner that has caught up gets a vote.
    Promote {
        id: u64,
    },
    Remove {
        id: u64,
    },
    /// It is reached elsewhere.
    Update {
        id: u64,
        peer_urls: Vec<String>,
    },
    /// A node tells what it is called and where clients reach it.
    Publish {
        id: u64,
        name: String,
        client_urls: Vec<String>,
    },
}

/// Why the cluster stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberRefusal {
    #[error("there is no member of this id")]
    NotFound,
    #[error("a member of this id is there already")]
    Exists,
    #[error("a member of this peer URL is there already")]
    PeerUrlExists,
    #[error("the member has a vote already")]
    NotLearner,
    #[error("the learner has not caught up with the leader")]
    LearnerNotReady,
    #[error("there are as many learners as there may be")]
    TooManyLearners,
    /// Counted are those that have told their name.
    #[error("too few of those that would vote have started")]
    NotEnoughStarted,
    #[error("too few of the voters that would be left are up")]
    Unhealthy,
    /// Another change is not yet committed: try again.
    #[error("another change of the members is under way")]
    UnderWay,
}

/// The members after a change, or why there was none.
pub type MembersChanged = Result<Vec<Member>, MemberRefusal>;

/// Why another does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    #[error("this member cannot lead: it is not there, or has no vote")]
    NotAVoter,
    /// It does not answer, or somebody else was elected.
    #[error("the member did not take the lead in time")]
    TookTooLong,
}

/// Whether another leads now.
pub type LeaderMoved = Result<(), MoveRefusal>;
