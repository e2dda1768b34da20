//! Changes of the cluster, run at its leader, beside the sequencer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant};

use super::cluster::Cluster;
use super::membership;
use super::reconfigure::{Plan, Sight};
use super::types::{LogId, RaftPayload, Types};
use crate::error::Error;
use crate::member::{LeaderMoved, MemberChange, MemberRefusal, MembersChanged, MoveRefusal};

/// What a change may take beside two election timeouts, as etcd's requests.
const CHANGE_MAX: Duration = Duration::from_secs(5);

impl Cluster {
    /// Changes the cluster. Answers its members once the change is committed and applied here.
    ///
    /// # Errors
    /// `NotLeader`, also where this node had to hand leadership over first: ask the new leader. `NoQuorum` where it
    /// is not known what became of it. `Closed`.
    pub(crate) async fn change_members(&self, change: MemberChange) -> Result<MembersChanged, Error> {
        let Ok(_one_at_a_time) = self.changing.try_lock() else {
            return Ok(Err(MemberRefusal::UnderWay));
        };
        let (sight, at) = self.sight()?;
        tracing::info!(?change, "the cluster is to change");
        let plan = match sight.plan(change, self.learners_max) {
            Ok(plan) => plan,
            Err(refusal) => {
                let connected = sight.steady.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(",");
                tracing::warn!(
                    ?refusal,
                    connected,
                    "rejected a change of the members, which stay as they are: additions and removals need members that \
                     have been connected for five seconds"
                );
                return Ok(Err(refusal));
            }
        };
        let changed = match plan {
            Plan::HandOver(to) => {
                self.let_lead(to).await?;
                return Err(Error::NotLeader { hint: self.leadership().leader });
            }
            plan => self.carry_out(plan, at).await?,
        };
        if let Err(refusal) = changed {
            return Ok(Err(refusal));
        }
        Ok(Ok(membership::members(self.servers.borrow_watched().membership_config.membership())))
    }

    /// Lets another voter lead, and answers when it does.
    ///
    /// # Errors
    /// `NotLeader` and `Closed`.
    pub(crate) async fn move_leader(&self, to: u64) -> Result<LeaderMoved, Error> {
        let _one_at_a_time = self.changing.lock().await;
        let (sight, _) = self.sight()?;
        if !sight.has_vote(to) {
            return Ok(Err(MoveRefusal::NotAVoter));
        }
        // It would not answer, and until another is elected nobody could write.
        if !sight.up.contains(&to) {
            return Ok(Err(MoveRefusal::TookTooLong));
        }
        if to == sight.leader {
            return Ok(Ok(()));
        }
        let moved = self.let_lead(to).await?;
        Ok(if moved { Ok(()) } else { Err(MoveRefusal::TookTooLong) })
    }

    /// Gives a vote to everybody who is meant to have one, once it has caught up. Ends with the node.
    pub(crate) async fn admit(mut self) {
        while self.admit_one().await.is_ok() {}
    }

    async fn admit_one(&mut self) -> Result<(), Error> {
        // A receiver that has seen nothing yet is told of a change at once, and so for ever.
        let mut progress = self.raft.data_metrics();
        drop(progress.borrow_and_update());
        let waiting = self.sight().ok().filter(|(sight, _)| sight.awaits_voters());
        let Some((sight, at)) = waiting else { return self.leadership_changed().await };
        if let Some(next) = sight.next_voter()
            && let Ok(_one_at_a_time) = self.changing.try_lock()
        {
            let admitted = self.carry_out(sight.with_vote(next), at).await;
            tracing::info!(node = format!("{next:016x}"), ?admitted, "a new member has caught up and votes");
        }
        tokio::select! {
            changed = progress.changed() => changed.map_err(|_| Error::Closed),
            changed = self.leadership_changed() => changed,
        }
    }

    /// Answers whether `to` leads.
    async fn let_lead(&self, to: u64) -> Result<bool, Error> {
        let before = self.leadership();
        let mut cluster = self.clone();
        self.transfer_leader(to).await?;
        let moved = async {
            loop {
                let now = cluster.leadership();
                if now.leader.is_some() && !now.is_of_reign(before) {
                    return Ok(now.leader == Some(to));
                }
                cluster.leadership_changed().await?;
            }
        };
        within(self.patience, moved).await.unwrap_or(Ok(false))
    }

    fn sight(&self) -> Result<(Sight, Option<LogId>), Error> {
        let leadership = self.leadership();
        if !leadership.leads {
            return Err(Error::NotLeader { hint: leadership.leader });
        }
        let members = self.servers.borrow_watched().membership_config.clone();
        let data = self.raft.data_metrics().borrow_watched().clone();
        let last = data.last_log.map_or(0, |last| last.index());
        let matched = data.replication.unwrap_or_default();
        let matched = matched.into_iter().filter_map(|(id, at)| Some((id, at?.index())));
        let mut matched: BTreeMap<u64, u64> = matched.collect();
        matched.insert(self.node, last);
        let acknowledged = data.heartbeat.unwrap_or_default().into_iter();
        let lately = acknowledged.filter(|(_, at)| at.is_some_and(|at| at.elapsed() < self.patience));
        let mut up: BTreeSet<u64> = lately.map(|(id, _)| id).chain([self.node]).collect();
        if let Some(wire) = self.wire() {
            // A new leader has no acknowledgements of those who have just elected it.
            up.extend(
                members
                    .membership()
                    .nodes()
                    .map(|(id, _)| *id)
                    .filter(|id| wire.is_heard(*id, self.patience)),
            );
        }
        let is_steady = |id: &u64| *id == self.node || self.wire().is_none_or(|wire| wire.is_steady(*id));
        let steady = members.membership().nodes().map(|(id, _)| *id).filter(is_steady).collect();
        let sight = Sight {
            members: members.membership().clone(),
            leader: self.node,
            up,
            steady,
            matched,
            last,
            is_strict: self.is_strict,
        };
        Ok((sight, *members.log_id()))
    }

    async fn carry_out(&self, plan: Plan, at: Option<LogId>) -> Result<Result<(), MemberRefusal>, Error> {
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id: at }];
        let written = async {
            match plan {
                Plan::Nothing | Plan::HandOver(_) => return Ok(Ok(())),
                Plan::Append(members) => {
                    self.raft.append_membership(members, RaftPayload::Blank, unchanged).await.map(drop)
                }
                Plan::SetPeer(id, peer) => {
                    let change = ChangeMembers::SetNodes(BTreeMap::from([(id, peer)]));
                    self.raft.change_membership_if(change, true, unchanged).await.map(drop)
                }
            }
            .map_or_else(refusal, |()| Ok(Ok(())))
        };
        within(CHANGE_MAX + self.patience, written).await.unwrap_or(Err(Error::NoQuorum))
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, answer).await.ok()
}

fn refusal(error: RaftError<Types, ClientWriteError<Types>>) -> Result<Result<(), MemberRefusal>, Error> {
    match error {
        RaftError::Fatal(_) => Err(Error::Closed),
        RaftError::APIError(
            ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to),
        ) => Err(Error::NotLeader { hint: to.leader_id }),
        // The one before is not committed yet, or came in between.
        RaftError::APIError(
            other @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)),
        ) => {
            tracing::debug!(error = %other, "the members did not change");
            Ok(Err(MemberRefusal::UnderWay))
        }
    }
}
