//! Memberships and votes as bytes. `docs/format.md` has the picture.
//!
//!     membership   | configs | per config: voters, ids | nodes | per node: id, length, address |
//!     vote         | term | node | committed |
//!
//! All numbers are u64, little endian: there are few of these, and whoever looks at a disk by hand can read them.

use std::collections::{BTreeMap, BTreeSet};

use openraft::BasicNode;
use openraft::vote::RaftLeaderId;

use super::types::Vote;

pub(super) type Voters = openraft::Membership<u64, BasicNode>;

pub(super) fn encode(membership: &Voters, out: &mut Vec<u8>) {
    put(out, membership.get_joint_config().len());
    for config in membership.get_joint_config() {
        put(out, config.len());
        config.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
    }
    put(out, membership.nodes().count());
    for (id, node) in membership.nodes() {
        out.extend_from_slice(&id.to_le_bytes());
        put(out, node.addr.len());
        out.extend_from_slice(node.addr.as_bytes());
    }
}

fn put(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

/// `None` when these are not the bytes of a membership, from their first to their last.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Voters> {
    let from = &mut bytes;
    let mut configs = Vec::new();
    for _ in 0..take(from)? {
        let mut voters = BTreeSet::new();
        for _ in 0..take(from)? {
            voters.insert(take(from)?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..take(from)? {
        let id = take(from)?;
        let length = usize::try_from(take(from)?).ok()?;
        let (address, rest) = from.split_at_checked(length)?;
        *from = rest;
        nodes.insert(id, BasicNode::new(std::str::from_utf8(address).ok()?));
    }
    from.is_empty().then(|| Voters::new(configs, nodes).ok()).flatten()
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk::<8>()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
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

    #[test]
    fn a_membership_is_read_back() {
        let nodes = (1..=4).map(|id| (id, BasicNode::new(format!("host-{id}:2380"))));
        let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])];
        let membership = Voters::new(configs, nodes.collect::<BTreeMap<_, _>>()).unwrap();
        let mut bytes = Vec::new();
        encode(&membership, &mut bytes);
        assert_eq!(decode(&bytes), Some(membership));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_vote_is_read_back() {
        for vote in [Vote::new(7, 3), Vote::new_committed(u64::MAX, 1)] {
            assert_eq!(decode_vote(&encode_vote(&vote)), Some(vote));
        }
        assert_eq!(decode_vote(&[0; 23]), None);
    }
}
