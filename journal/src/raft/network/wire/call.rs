//! Requests with one response each, and among them the one by which a leader confirms that it leads.

use std::time::Duration;

use openraft::errors::Unreachable;
use tonic::{Code, Response, Status};

use super::{Lane, Link, Wire};
use crate::raft::message::Body;
use crate::raft::network::{VoteUnknown, timely, unreachable};
use crate::raft::types::{Types, Vote};

/// Which request.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Vote,
    PreVote,
    InstallSnapshot,
    TransferLeader,
    Members,
    CurrentVote,
}

impl Link {
    pub(super) async fn call<Q: Body, A: Body>(
        &self,
        method: Method,
        question: &Q,
        within: Duration,
    ) -> Result<A, Unreachable<Types>> {
        let answer = self.exchange(method, question, within).await;
        answer.map_err(|(url, status)| match url.is_empty() {
            // Nothing was sent.
            true => unreachable(status.message()),
            false => self.wire.note_failure(self.target, &url, &status),
        })
    }

    /// Sends one request and reads its response. A failure comes with the URL that was tried, and is not noted.
    async fn exchange<Q: Body, A: Body>(
        &self,
        method: Method,
        question: &Q,
        within: Duration,
    ) -> Result<A, (String, Status)> {
        let lane = if matches!(method, Method::InstallSnapshot) { Lane::Bulk } else { Lane::Talk };
        if matches!(method, Method::Vote | Method::PreVote) && !self.wire.registry().may_vote() {
            let refusal = "this node does not vote, so it asks for no votes";
            return Err((String::new(), Status::failed_precondition(refusal)));
        }
        let client = self.wire.client(self.target, lane);
        let (mut client, url) =
            client.map_err(|error| (String::new(), Status::unavailable(error.to_string())))?;
        let message = match method {
            Method::Members => self.wire.introduction(self.target),
            _ => self.wire.seal(self.target, question),
        };
        self.wire.count(self.target, |peer| peer.sent(message.body.len()));
        let answer = async {
            match method {
                Method::Vote => client.vote(message).await,
                Method::PreVote => client.pre_vote(message).await,
                Method::InstallSnapshot => client.install_snapshot(message).await,
                Method::TransferLeader => client.transfer_leader(message).await,
                Method::Members => client.members(message).await,
                Method::CurrentVote => client.current_vote(message).await,
            }
        };
        let answer = timely(within, answer).await.map(Response::into_inner);
        if let Ok(answer) = &answer {
            self.wire.note_responder(self.target, &url, answer.from);
        }
        let answer = match answer {
            Ok(answer) => self.wire.admit(&answer).await.and_then(|()| self.wire.envelope().open(answer)),
            Err(status) => Err(status),
        };
        answer.map_err(|status| (url, status))
    }
}

impl Wire {
    /// Returns the vote that `peer` holds at some moment after this call began.
    ///
    /// # Errors
    /// `Unsupported`: the peer runs a version before this request. `Unreachable`: it did not answer in time.
    pub(in crate::raft::network) async fn current_vote(
        &self,
        peer: u64,
        ours: &Vote,
        within: Duration,
    ) -> Result<Vote, VoteUnknown> {
        let link = Link { wire: self.clone(), target: peer, lane: Lane::Talk };
        let answer = link.exchange(Method::CurrentVote, ours, within).await;
        answer.map_err(|(url, status)| match status.code() {
            Code::Unimplemented => VoteUnknown::Unsupported,
            _ => VoteUnknown::Unreachable(self.note_failure(peer, &url, &status)),
        })
    }
}
