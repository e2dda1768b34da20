//! What becomes of the cluster when a member is to come, go or change: decided here, with etcd's refusals.
//!
//!     Add ──► it follows ──► has caught up ──► it votes       (a learner stays where it is until it is promoted)
//!
//! At most one voter comes or goes with one entry of the log, so every majority before shares a voter with every
//! majority after, and no state in between is needed.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::Voters;
use super::peer::Peer;
use crate::member::{MemberChange, MemberRefusal};

/// What a leader sees of its cluster.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) members: Voters,
    pub(super) leader: u64,
    /// Who has answered lately; so has the leader itself.
    pub(super) up: BTreeSet<u64>,
    /// Nodes that have been connected to the leader for etcd's health interval, and the leader itself.
    pub(super) steady: BTreeSet<u64>,
    /// The last index that each node is known to have.
    pub(super) matched: BTreeMap<u64, u64>,
    /// The leader's last index.
    pub(super) last: u64,
    /// Refuses what could leave the cluster without a majority: etcd's `--strict-reconfig-check`.
    pub(super) is_strict: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The next list of members.
    Append(Voters),
    SetPeer(u64, Peer),
    /// Another leads first, and is then asked again.
    HandOver(u64),
    Nothing,
}

impl Sight {
    pub(super) fn plan(&self, change: MemberChange, learners_max: usize) -> Result<Plan, MemberRefusal> {
        match change {
            MemberChange::Add(member) => {
                if self.members.get_node(&member.id).is_some() {
                    return Err(MemberRefusal::Exists);
                }
                self.check_urls(member.id, &member.peer_urls)?;
                if member.learner {
                    let learners = self.members.nodes().filter(|(id, peer)| !self.is_to_vote(**id, peer));
                    if learners_max <= learners.count() {
                        return Err(MemberRefusal::TooManyLearners);
                    }
                } else {
                    self.check_started(None, 1, 0)?;
                }
                if self.is_strict && !self.bears_one_more() {
                    return Err(MemberRefusal::Unhealthy);
                }
                Ok(self.append(|_, nodes| {
                    nodes.insert(member.id, Peer::of(&member));
                }))
            }
            MemberChange::Promote { id } => {
                let peer = self.members.get_node(&id).ok_or(MemberRefusal::NotFound)?;
                if self.is_to_vote(id, peer) {
                    return Err(MemberRefusal::NotLearner);
                }
                if !self.has_caught_up(id) {
                    return Err(MemberRefusal::LearnerNotReady);
                }
                self.check_started(None, 1, 1)?;
                Ok(self.with_vote(id))
            }
            MemberChange::Remove { id } => self.remove(id),
            MemberChange::Update { id, peer_urls } => {
                let peer = self.members.get_node(&id).ok_or(MemberRefusal::NotFound)?;
                self.check_urls(id, &peer_urls)?;
                Ok(set_peer(id, peer, Peer { peer_urls, ..peer.clone() }))
            }
            MemberChange::Publish { id, name, client_urls } => {
                let peer = self.members.get_node(&id).ok_or(MemberRefusal::NotFound)?;
                Ok(set_peer(id, peer, Peer { name, client_urls, ..peer.clone() }))
            }
        }
    }

    fn remove(&self, id: u64) -> Result<Plan, MemberRefusal> {
        self.members.get_node(&id).ok_or(MemberRefusal::NotFound)?;
        if self.has_vote(id) {
            self.check_started(Some(id), 0, 0)?;
            // One that is down is no part of the majority that works.
            let is_down = !self.up.contains(&id);
            if self.is_strict && !is_down && self.steady_voters() < 2 + (self.voting().count() - 1) / 2 {
                return Err(MemberRefusal::Unhealthy);
            }
            if id == self.leader {
                return self.successor().map(Plan::HandOver).ok_or(MemberRefusal::Unhealthy);
            }
        }
        Ok(self.append(|voters, nodes| {
            voters.remove(&id);
            nodes.remove(&id);
        }))
    }

    /// The next one that is meant to vote and has caught up.
    pub(super) fn next_voter(&self) -> Option<u64> {
        let waiting = self.members.nodes().filter(|(id, peer)| peer.votes && !self.has_vote(**id));
        waiting.map(|(id, _)| *id).find(|id| self.has_caught_up(*id))
    }

    /// Whether anybody is meant to vote who does not.
    pub(super) fn awaits_voters(&self) -> bool {
        self.members.nodes().any(|(id, peer)| peer.votes && !self.has_vote(*id))
    }

    pub(super) fn with_vote(&self, id: u64) -> Plan {
        self.append(|voters, _| {
            voters.insert(id);
        })
    }

    /// Who can lead best after this leader: it answers, and has the most.
    fn successor(&self) -> Option<u64> {
        let voters = self.members.voter_ids().filter(|id| *id != self.leader && self.up.contains(id));
        voters.max_by_key(|id| self.matched.get(id))
    }

    pub(super) fn has_vote(&self, id: u64) -> bool {
        self.members.voter_ids().any(|voter| voter == id)
    }

    fn is_to_vote(&self, id: u64, peer: &Peer) -> bool {
        peer.votes || self.has_vote(id)
    }

    /// Who votes, or is meant to.
    fn voting(&self) -> impl Iterator<Item = (u64, &Peer)> {
        self.members.nodes().filter(|(id, peer)| self.is_to_vote(**id, peer)).map(|(id, peer)| (*id, peer))
    }

    /// As etcd counts it: nine tenths of what the leader has.
    fn has_caught_up(&self, id: u64) -> bool {
        let matched = self.matched.get(&id).is_some_and(|matched| self.last / 10 * 9 <= *matched);
        matched && self.up.contains(&id)
    }

    fn check_urls(&self, id: u64, peer_urls: &[String]) -> Result<(), MemberRefusal> {
        let others = self.members.nodes().filter(|(other, _)| **other != id);
        let taken = others.flat_map(|(_, peer)| &peer.peer_urls).any(|url| peer_urls.contains(url));
        if taken { Err(MemberRefusal::PeerUrlExists) } else { Ok(()) }
    }

    /// Returns true where the steady voters would be a majority beside a new voter that never comes up. etcd 3.6.16 refuses
    /// an addition to two or three members while one is down, and takes it where there are four or five.
    fn bears_one_more(&self) -> bool {
        let voting = self.voting().count();
        voting == 1 || voting.div_ceil(2) < self.steady_voters()
    }

    /// Returns the number of voters that are up and steady.
    fn steady_voters(&self) -> usize {
        self.voting().filter(|(id, _)| self.up.contains(id) && self.steady.contains(id)).count()
    }

    /// Whether of those who will vote, without `leaving` and with `more`, a majority has started.
    fn check_started(
        &self,
        leaving: Option<u64>,
        more: usize,
        more_started: usize,
    ) -> Result<(), MemberRefusal> {
        let stay = || self.voting().filter(|(id, _)| Some(*id) != leaving);
        let voters = stay().count() + more;
        let started = stay().filter(|(id, peer)| *id == self.leader || !peer.name.is_empty()).count();
        let started = started + more_started;
        // One that has started may always get a second.
        let grows_from_one = leaving.is_none() && (started, voters) == (1, 2);
        let majority = voters / 2 + 1;
        if voters == 0 || (self.is_strict && started < majority && !grows_from_one) {
            return Err(MemberRefusal::NotEnoughStarted);
        }
        Ok(())
    }

    fn append(&self, change: impl FnOnce(&mut BTreeSet<u64>, &mut BTreeMap<u64, Peer>)) -> Plan {
        let mut voters: BTreeSet<u64> = self.members.voter_ids().collect();
        let mut nodes = self.members.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        change(&mut voters, &mut nodes);
        Plan::Append(
            Voters::new(vec![voters], nodes).expect("whoever votes is a node, and the last voter stays"),
        )
    }
}

fn set_peer(id: u64, before: &Peer, after: Peer) -> Plan {
    if *before == after { Plan::Nothing } else { Plan::SetPeer(id, after) }
}

#[cfg(test)]
mod tests;
