//! What the log knows of a node of the cluster, beside its id.

use crate::member::Member;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) client_urls: Vec<String>,
    /// Whether it is meant to vote. One that is new gets its vote when it has caught up: were it counted before it
    /// has started, the cluster might stand still until it does.
    pub(crate) votes: bool,
}

impl Peer {
    pub(crate) fn of(member: &Member) -> Peer {
        let Member { id: _, name, peer_urls, client_urls, learner, awaits_vote: _ } = member.clone();
        Peer { name, peer_urls, client_urls, votes: !learner }
    }

    pub(crate) fn member(&self, id: u64, has_vote: bool) -> Member {
        let Peer { name, peer_urls, client_urls, votes } = self.clone();
        let (learner, awaits_vote) = (!has_vote && !votes, !has_vote && votes);
        Member { id, name, peer_urls, client_urls, learner, awaits_vote }
    }
}
