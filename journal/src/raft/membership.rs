//! Memberships and votes as bytes. `docs/format.md` has the picture.
//!
//!     membership   | 2^64 - 1 | 2 | groups | per group: voters, ids | nodes | per node: id, votes, texts ... |
//!     of old       | groups | per group: voters, ids | nodes | per node: id, length, address |
//!     vote         | term | node | committed |
//!
//! All numbers are u64, little endian: there are few of these, and whoever looks at a disk by hand can read them.

use std::collections::{BTreeMap, BTreeSet};

use openraft::vote::RaftLeaderId;

use super::peer::Peer;
use super::types::Vote;
use crate::member::Member;

pub(super) type Voters = openraft::Membership<u64, Peer>;

/// No membership has so many groups: what follows is the number of a layout.
const LAYOUT_FOLLOWS: u64 = u64::MAX;
const LAYOUT: u64 = 2;

/// The nodes that others can reach, in the order of their ids.
pub(super) fn members(voters: &Voters) -> Vec<Member> {
    let with_vote: BTreeSet<u64> = voters.voter_ids().collect();
    let reached = voters.nodes().filter(|(_, peer)| !peer.peer_urls.is_empty());
    reached.map(|(id, peer)| peer.member(*id, with_vote.contains(id))).collect()
}

pub(super) fn encode(membership: &Voters, out: &mut Vec<u8>) {
    put(out, LAYOUT_FOLLOWS);
    put(out, LAYOUT);
    put_count(out, membership.get_joint_config().len());
    for config in membership.get_joint_config() {
        put_count(out, config.len());
        config.iter().for_each(|id| put(out, *id));
    }
    put_count(out, membership.nodes().count());
    for (id, peer) in membership.nodes() {
        put(out, *id);
        put(out, u64::from(peer.votes));
        put_text(out, &peer.name);
        for urls in [&peer.peer_urls, &peer.client_urls] {
            put_count(out, urls.len());
            urls.iter().for_each(|url| put_text(out, url));
        }
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put(out, count as u64);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// `None` when these are not the bytes of a membership, from their first to their last.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Voters> {
    let from = &mut bytes;
    let mut groups = take(from)?;
    let read_peer = if groups == LAYOUT_FOLLOWS {
        (take(from)? == LAYOUT).then_some(())?;
        groups = take(from)?;
        take_peer
    } else {
        take_address
    };
    let mut configs = Vec::new();
    for _ in 0..groups {
        let mut voters = BTreeSet::new();
        for _ in 0..take(from)? {
            voters.insert(take(from)?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..take(from)? {
        nodes.insert(take(from)?, read_peer(from)?);
    }
    from.is_empty().then(|| Voters::new(configs, nodes).ok()).flatten()
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk::<8>()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

fn take_texts(from: &mut &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for _ in 0..take(from)? {
        texts.push(take_text(from)?);
    }
    Some(texts)
}

fn take_peer(from: &mut &[u8]) -> Option<Peer> {
    let votes = match take(from)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let name = take_text(from)?;
    Some(Peer { name, peer_urls: take_texts(from)?, client_urls: take_texts(from)?, votes })
}

/// All that was known of a node when nodes were voters and nobody reached them.
fn take_address(from: &mut &[u8]) -> Option<Peer> {
    let address = take_text(from)?;
    let peer_urls = if address.is_empty() { Vec::new() } else { vec![address] };
    Some(Peer { peer_urls, votes: true, ..Peer::default() })
}

pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let id = vote.leader_id;
    [id.term(), *id.node_id(), u64::from(vote.committed)].iter().flat_map(|n| n.to_le_bytes()).collect()
}

pub(super) fn decode_vote(mut bytes: &[u8]) -> Option<Vote> {
    let from = &mut bytes;
    let (term, node, committed) = (take(from)?, take(from)?, take(from)?);
    let vote = if committed == 1 { Vote::new_committed(term, node) } else { Vote::new(term, node) };
    (from.is_empty() && committed <= 1).then_some(vote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64, votes: bool) -> Peer {
        let peer_urls = vec![format!("http://host-{id}:2380"), format!("http://host-{id}.local:2380")];
        Peer { name: format!("node-{id}"), peer_urls, client_urls: vec!["http://host:2379".into()], votes }
    }

    #[test]
    fn a_membership_is_read_back() {
        let nodes = (1..=4).map(|id| (id, peer(id, id < 4)));
        let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])];
        let membership = Voters::new(configs, nodes.collect::<BTreeMap<_, _>>()).unwrap();
        let mut bytes = Vec::new();
        encode(&membership, &mut bytes);
        assert_eq!(decode(&bytes), Some(membership));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
        bytes[8] += 1;
        assert_eq!(decode(&bytes), None, "of a later layout");
    }

    #[test]
    fn a_membership_of_the_first_layout_still_counts() {
        let mut bytes = Vec::new();
        [1, 2, 7, 9, 2].into_iter().for_each(|number| put(&mut bytes, number));
        put(&mut bytes, 7);
        put_text(&mut bytes, "");
        put(&mut bytes, 9);
        put_text(&mut bytes, "http://host-9:2380");
        let membership = decode(&bytes).unwrap();
        assert!(membership.voter_ids().eq([7, 9]));
        assert_eq!(membership.get_node(&7).unwrap(), &Peer { votes: true, ..Peer::default() });
        let reached = Member { id: 9, peer_urls: vec!["http://host-9:2380".into()], ..Member::default() };
        assert_eq!(members(&membership), [reached]);
    }

    #[test]
    fn who_is_meant_to_vote_is_no_learner() {
        let nodes = BTreeMap::from([(1, peer(1, false)), (2, peer(2, true)), (3, peer(3, false))]);
        let membership = Voters::new(vec![[1].into()], nodes).unwrap();
        let learners: Vec<bool> = members(&membership).iter().map(|member| member.learner).collect();
        assert_eq!(learners, [false, false, true]);
    }

    #[test]
    fn a_vote_is_read_back() {
        for vote in [Vote::new(7, 3), Vote::new_committed(u64::MAX, 1)] {
            assert_eq!(decode_vote(&encode_vote(&vote)), Some(vote));
        }
        assert_eq!(decode_vote(&[0; 23]), None);
    }
}
