//! The members of the cluster: who there is, changing that, and who leads.

use journal::{Error as JournalError, Member, MemberChange, MemberRefusal, MoveRefusal};

use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::store::Store;

impl Store {
    /// In the order of their ids. `linearizable`: at least as of this call.
    ///
    /// # Errors
    /// `TimedOut` where nobody leads for too long, `Stopped`.
    pub(crate) async fn members(&self, linearizable: bool) -> Result<Vec<Member>, Error> {
        match linearizable {
            true => Ok(self.status_by_now().await?.members),
            false => Ok(self.journal().status_now().members.clone()),
        }
    }

    /// Changes the cluster, and answers who is in it then. Waits while nobody leads, and for other changes.
    ///
    /// # Errors
    /// `Member` says why it stays as it is; `TimedOut` leaves that open.
    pub(crate) async fn change_members(&self, change: MemberChange) -> Result<Vec<Member>, Error> {
        self.within(async {
            let mut may_be_done = false;
            let mut interregnum = Interregnum::default();
            loop {
                match self.journal().change_members(change.clone()).await {
                    Ok(Ok(members)) => return Ok(members),
                    Ok(Err(refusal)) if may_be_done && is_done(&change, refusal) => {
                        return self.members(true).await;
                    }
                    Ok(Err(MemberRefusal::UnderWay)) => {}
                    Ok(Err(refusal)) => return Err(Error::Member(refusal)),
                    Err(JournalError::NotLeader { .. } | JournalError::NoQuorum) => may_be_done = true,
                    Err(error) => return Err(error.into()),
                }
                interregnum.wait(self.journal()).await;
            }
        })
        .await
    }

    /// Lets another voter lead, and waits until it does.
    ///
    /// # Errors
    /// `NotLeader` where this member is not the one that leads, `BadTransferee`, `TransferTimedOut`.
    pub(crate) async fn move_leader(&self, to: u64) -> Result<(), Error> {
        let mut status = self.journal().status();
        let known = status.borrow().clone();
        // A member leaves it to the leader, as etcd's do. A frontend that is no member passes it on.
        if self.follows() {
            return Err(Error::NotLeader);
        }
        if !known.members.iter().any(|member| member.id == to && !member.learner) {
            return Err(Error::BadTransferee);
        }
        let moved = async {
            let mut interregnum = Interregnum::default();
            while to != known.node && status.borrow().leader != Some(to) {
                match self.journal().move_leader(to).await {
                    Ok(Ok(())) => break,
                    Ok(Err(MoveRefusal::NotAVoter)) => return Err(Error::BadTransferee),
                    Ok(Err(MoveRefusal::TookTooLong)) => return Err(Error::TransferTimedOut),
                    // Who was asked leads no more. It may have let another lead: elsewhere that is all one hears of it.
                    Err(error) => interregnum.ride_out(self.journal(), error).await?,
                }
            }
            status.wait_for(|status| status.leader == Some(to)).await.map(drop).map_err(|_| Error::Stopped)
        };
        self.within(moved).await.map_err(|error| match error {
            Error::TimedOut => Error::TransferTimedOut,
            error => error,
        })
    }

    /// Whether the journal of this process leaves leading to another member's. Where none runs here there is no
    /// member that this one could leave something to.
    pub(crate) fn follows(&self) -> bool {
        let status = self.journal().status_now();
        status.leader != Some(status.node) && status.members.iter().any(|member| member.id == status.node)
    }

    /// Whether this member follows without a vote.
    pub(crate) fn learns(&self) -> bool {
        let status = self.journal().status_now();
        status.members.iter().any(|member| member.id == status.node && member.learner)
    }
}

/// Whether a refusal of a change that was tried before says that it was made then.
fn is_done(change: &MemberChange, refusal: MemberRefusal) -> bool {
    match change {
        MemberChange::Add(_) => refusal == MemberRefusal::Exists,
        MemberChange::Remove { .. } => refusal == MemberRefusal::NotFound,
        MemberChange::Promote { .. } => refusal == MemberRefusal::NotLearner,
        MemberChange::Update { .. } | MemberChange::Publish { .. } => false,
    }
}
