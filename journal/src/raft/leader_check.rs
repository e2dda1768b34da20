//! Check that this node still leads, which a quorum of the voters answers for.
//!
//!     question ─► check ─┬─► every voter: which vote do you hold?      sent after the question arrived
//!                        └── votes of a quorum, none of a later term ─► nobody else led when the check began
//!
//! A leader of a later term needs the votes of a quorum, and every quorum has a voter in common with this one. An answer
//! belongs to its own request, so one that was sent earlier and arrives late proves nothing about a later check.
//!
//! openraft has its own form of this, `ReadPolicy::ReadIndex`, which counts an answer for requests sent after the one it
//! answers (ADR 0027). It is used only where a voter of the version before takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use openraft::{AsyncRuntime, ReadPolicy};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::network::{Network, VoteUnknown};
use super::runtime::Runtime;
use super::types::{Raft, Types, Vote};
use crate::error::Error;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends the checks of one node.
#[derive(Clone)]
pub(super) struct LeaderCheck {
    raft: Raft,
    network: Network,
    node: u64,
    /// Bound on the duration of one check.
    within: Duration,
    /// Pause before a voter that did not answer is asked again.
    pause: Duration,
    /// One permit for each voter: a slow voter holds one request, also where many checks have ended meanwhile.
    /// Bounded by the voters that there ever were while this node ran.
    permits: Arc<Mutex<BTreeMap<u64, Arc<Semaphore>>>>,
}

/// Voters that must agree: a majority of each configuration, of which there are two while voters change.
pub(super) struct Electorate {
    pub(super) vote: Vote,
    pub(super) configurations: Vec<BTreeSet<u64>>,
}

impl Electorate {
    fn voters(&self) -> BTreeSet<u64> {
        self.configurations.iter().flatten().copied().collect()
    }

    fn is_quorum(&self, voters: &BTreeSet<u64>) -> bool {
        let majority = |all: &BTreeSet<u64>| all.len() / 2 < all.intersection(voters).count();
        self.configurations.iter().all(majority)
    }

    /// Returns whether a voter that holds `vote` has elected nobody after this leader.
    fn supports(&self, vote: &Vote) -> bool {
        vote.leader_id.term <= self.vote.leader_id.term
    }
}

impl LeaderCheck {
    pub(super) fn new(
        raft: Raft,
        network: Network,
        node: u64,
        within: Duration,
        pause: Duration,
    ) -> LeaderCheck {
        LeaderCheck { raft, network, node, within, pause, permits: Arc::default() }
    }

    /// Checks that nobody of a later term led when this call began.
    ///
    /// # Errors
    /// `NoQuorum`: too few voters answered in time, or too many have promised a later term. `NotLeader` and `Closed`.
    pub(super) async fn run(self, electorate: Electorate) -> Result<(), Error> {
        let within = self.within;
        tokio::time::timeout(within, self.ask(electorate)).await.unwrap_or(Err(Error::NoQuorum))
    }

    async fn ask(self, electorate: Electorate) -> Result<(), Error> {
        let asked = electorate.voters().into_iter().map(|voter| self.vote_of(voter, electorate.vote));
        let mut asked: FuturesUnordered<Task<_>> = asked.collect();
        let mut supporters = BTreeSet::new();
        let mut fallback: Option<Task<Result<(), Error>>> = None;
        loop {
            tokio::select! {
                Some((voter, vote)) = asked.next() => match vote {
                    Ok(vote) if electorate.supports(&vote) => {
                        supporters.insert(voter);
                        if electorate.is_quorum(&supporters) {
                            return Ok(());
                        }
                    }
                    Ok(_) => {}
                    Err(Refusal::Closed) => return Err(Error::Closed),
                    Err(Refusal::Unsupported) => {
                        fallback.get_or_insert_with(|| Box::pin(read_index(self.raft.clone())));
                    }
                },
                confirmed = async { fallback.as_mut().expect("there is one").await }, if fallback.is_some() => {
                    return confirmed;
                }
                else => return Err(Error::NoQuorum),
            }
        }
    }

    /// Resolves with the vote that a voter holds now. Asks again until it answers.
    fn vote_of(&self, voter: u64, ours: Vote) -> Task<(u64, Result<Vote, Refusal>)> {
        if voter == self.node {
            let raft = self.raft.clone();
            return Box::pin(async move {
                let vote = raft.with_raft_state(|state| *state.vote_ref()).await;
                (voter, vote.map_err(|_| Refusal::Closed))
            });
        }
        let permit = self.permits.lock().entry(voter).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let (network, within, pause) = (self.network.clone(), self.within, self.pause);
        Box::pin(async move {
            loop {
                let permit = permit.clone().acquire_owned().await.expect("it is never closed");
                let network = network.clone();
                // A task, since a check that ends early must not reset the stream of a voter that is slow.
                let asked = tokio::spawn(async move {
                    let vote = tokio::time::timeout(within, network.current_vote(voter, &ours, within)).await;
                    drop(permit);
                    vote
                });
                match asked.await {
                    Ok(Ok(Ok(vote))) => return (voter, Ok(vote)),
                    Ok(Ok(Err(VoteUnknown::Unsupported))) => return (voter, Err(Refusal::Unsupported)),
                    Ok(Ok(Err(VoteUnknown::Unreachable(error)))) => {
                        tracing::debug!(voter, %error, "a voter did not confirm this leader");
                    }
                    Ok(Err(_late)) => tracing::debug!(voter, "a voter did not answer in time"),
                    Err(_) => return (voter, Err(Refusal::Closed)),
                }
                Runtime::sleep(pause).await;
            }
        })
    }
}

/// Reason why a voter's vote will not come.
enum Refusal {
    Unsupported,
    Closed,
}

/// openraft's own confirmation.
async fn read_index(raft: Raft) -> Result<(), Error> {
    use openraft::errors::{LinearizableReadError, RaftError};
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(_)) => Err(Error::Closed),
        Err(RaftError::APIError(LinearizableReadError::<Types>::ForwardToLeader(to))) => {
            Err(Error::NotLeader { hint: to.leader_id })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoQuorum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn electorate(configurations: &[&[u64]]) -> Electorate {
        let set = |voters: &&[u64]| voters.iter().copied().collect();
        Electorate {
            vote: Vote::new_committed(5, 1),
            configurations: configurations.iter().map(set).collect(),
        }
    }

    #[test]
    fn while_voters_change_both_configurations_must_agree() {
        let electorate = electorate(&[&[1, 2, 3], &[1, 4, 5]]);
        let is_quorum = |voters: &[u64]| electorate.is_quorum(&voters.iter().copied().collect());
        assert_eq!(electorate.voters(), [1, 2, 3, 4, 5].into());
        assert!(is_quorum(&[1, 2, 4]) && is_quorum(&[2, 3, 4, 5]));
        assert!(!is_quorum(&[1, 2, 3]) && !is_quorum(&[1, 4, 5]) && !is_quorum(&[1]));
    }

    #[test]
    fn a_voter_that_has_promised_a_later_term_supports_no_leader_of_this_one() {
        let electorate = electorate(&[&[1, 2, 3]]);
        assert!(electorate.supports(&Vote::new_committed(5, 1)));
        assert!(electorate.supports(&Vote::new(4, 2)), "it has not heard of this leader yet");
        assert!(!electorate.supports(&Vote::new(6, 2)) && !electorate.supports(&Vote::new_committed(6, 2)));
    }
}
