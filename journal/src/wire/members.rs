//! Changes of the cluster, and what became of them, from and to messages.

use proto::journal as message;
use proto::journal::member_change::Change;

use super::Malformed;
use super::status::{read_member, write_member};
use crate::member::{LeaderMoved, MemberChange, MemberRefusal, MembersChanged, MoveRefusal};

/// A refusal goes by its place, counted from one.
const REFUSALS: [MemberRefusal; 9] = [
    MemberRefusal::NotFound,
    MemberRefusal::Exists,
    MemberRefusal::PeerUrlExists,
    MemberRefusal::NotLearner,
    MemberRefusal::LearnerNotReady,
    MemberRefusal::TooManyLearners,
    MemberRefusal::NotEnoughStarted,
    MemberRefusal::Unhealthy,
    MemberRefusal::UnderWay,
];

const MOVE_REFUSALS: [MoveRefusal; 2] = [MoveRefusal::NotAVoter, MoveRefusal::TookTooLong];

pub(crate) fn write_change(change: &MemberChange) -> message::MemberChange {
    let change = match change.clone() {
        MemberChange::Add(member) => Change::Add(write_member(&member)),
        MemberChange::Promote { id } => Change::Promote(id),
        MemberChange::Remove { id } => Change::Remove(id),
        MemberChange::Update { id, peer_urls } => Change::Update(message::MemberUpdate { id, peer_urls }),
        MemberChange::Publish { id, name, client_urls } => {
            Change::Publish(message::MemberPublish { id, name, client_urls })
        }
    };
    message::MemberChange { change: Some(change) }
}

pub(crate) fn read_change(change: message::MemberChange) -> Result<MemberChange, Malformed> {
    Ok(match change.change.ok_or_else(|| Malformed::without("the change"))? {
        Change::Add(member) => MemberChange::Add(read_member(member)),
        Change::Promote(id) => MemberChange::Promote { id },
        Change::Remove(id) => MemberChange::Remove { id },
        Change::Update(message::MemberUpdate { id, peer_urls }) => MemberChange::Update { id, peer_urls },
        Change::Publish(message::MemberPublish { id, name, client_urls }) => {
            MemberChange::Publish { id, name, client_urls }
        }
    })
}

pub(crate) fn write_changed(changed: &MembersChanged) -> message::MembersChanged {
    match changed {
        Ok(members) => {
            message::MembersChanged { refusal: 0, members: members.iter().map(write_member).collect() }
        }
        Err(refusal) => message::MembersChanged { refusal: number(&REFUSALS, refusal), members: Vec::new() },
    }
}

pub(crate) fn read_changed(changed: message::MembersChanged) -> Result<MembersChanged, Malformed> {
    Ok(match refusal(&REFUSALS, changed.refusal)? {
        None => Ok(changed.members.into_iter().map(read_member).collect()),
        Some(refusal) => Err(refusal),
    })
}

pub(crate) fn write_moved(moved: LeaderMoved) -> message::LeaderMoved {
    message::LeaderMoved { refusal: moved.err().map_or(0, |refusal| number(&MOVE_REFUSALS, &refusal)) }
}

pub(crate) fn read_moved(moved: message::LeaderMoved) -> Result<LeaderMoved, Malformed> {
    Ok(refusal(&MOVE_REFUSALS, moved.refusal)?.map_or(Ok(()), Err))
}

fn number<T: PartialEq>(all: &[T], one: &T) -> u32 {
    let at = all.iter().position(|other| other == one).expect("every refusal is there");
    u32::try_from(at + 1).expect("there are few")
}

fn refusal<T: Copy>(all: &[T], number: u32) -> Result<Option<T>, Malformed> {
    let Some(at) = number.checked_sub(1) else { return Ok(None) };
    let refusal = all.get(at as usize).copied();
    refusal.map(Some).ok_or_else(|| Malformed(format!("refusal {number} is of a later version")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Member;

    #[test]
    fn changes_and_what_becomes_of_them_come_over() {
        let member = Member {
            id: 7,
            name: "a".into(),
            peer_urls: vec!["p".into()],
            learner: true,
            ..Member::default()
        };
        let changes = [
            MemberChange::Add(member.clone()),
            MemberChange::Promote { id: 1 },
            MemberChange::Remove { id: 2 },
            MemberChange::Update { id: 3, peer_urls: vec!["q".into()] },
            MemberChange::Publish { id: 4, name: "b".into(), client_urls: vec!["c".into()] },
        ];
        for change in changes {
            assert_eq!(read_change(write_change(&change)), Ok(change));
        }
        let refusals = REFUSALS.into_iter().map(Err);
        for changed in refusals.chain([Ok(vec![member]), Ok(Vec::new())]) {
            assert_eq!(read_changed(write_changed(&changed)), Ok(changed));
        }
        for moved in MOVE_REFUSALS.map(Err).into_iter().chain([Ok(())]) {
            assert_eq!(read_moved(write_moved(moved)), Ok(moved));
        }
        assert!(read_change(message::MemberChange::default()).is_err());
        assert!(read_moved(message::LeaderMoved { refusal: 3 }).is_err());
    }
}
