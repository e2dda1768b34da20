//! The addresses of the members, as the log has them, or as a start is told them.

use super::Wire;
use crate::lsn::Lsn;
use crate::member::Member;
use crate::raft::membership::Voters;
use crate::raft::message::Roster;

impl Wire {
    /// The cluster has these members since the entry `at`.
    pub(in crate::raft::network) fn learn(&self, at: Lsn, members: &Voters) {
        let roster = Roster { at, members: members.clone() };
        let before = std::mem::replace(&mut *self.shared.roster.lock(), roster);
        let has_left = |id: &&u64| members.get_node(id).is_none();
        before.members.nodes().map(|(id, _)| id).filter(has_left).for_each(|id| self.registry().forget(*id));
        let others = members.nodes().map(|(id, _)| *id).filter(|id| *id != self.shared.envelope.node);
        self.shared.peers.learn(others);
        let mut book = self.shared.book.lock();
        for (id, peer) in members.nodes() {
            book.note(*id, &peer.peer_urls);
        }
        let stays = |id: &u64| members.get_node(id).is_some();
        self.shared.activity.retain(|id| stays(&id));
        book.peers.retain(|id, _| stays(id));
        book.channels.retain(|(id, _), _| stays(id));
    }

    /// Nothing is applied here yet, and these are said to be the members.
    pub(crate) fn introduce(&self, members: &[Member]) {
        let mut book = self.shared.book.lock();
        members.iter().for_each(|member| book.note(member.id, &member.peer_urls));
    }

    /// The nodes that can be reached, as far as is known.
    pub(crate) fn addresses(&self) -> Vec<u64> {
        self.shared.book.lock().peers.keys().copied().collect()
    }

    /// Records which node answered at a URL of the peer: this one, where two data directories were swapped.
    pub(super) fn note_responder(&self, peer: u64, url: &str, responder: u64) {
        if let Some(place) = self.shared.book.lock().peers.get_mut(&peer) {
            place.own_url = (responder == self.shared.envelope.node).then(|| url.to_owned());
        }
    }

    /// Returns the URL of the peer at which this node itself answered, if it did.
    pub(crate) fn own_url_of(&self, peer: u64) -> Option<String> {
        self.shared.book.lock().peers.get(&peer)?.own_url.clone()
    }

    /// Where the peer is reached, as far as is known.
    pub(in crate::raft) fn url(&self, peer: u64) -> Option<String> {
        let book = self.shared.book.lock();
        let place = book.peers.get(&peer).filter(|place| !place.urls.is_empty())?;
        Some(place.url().to_owned())
    }
}
