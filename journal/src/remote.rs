//! A journal in another process, behind the same handle.
//!
//!     Journal ── questions ──► task ──► line to the leader ──► the leader's sequencer
//!        │                      ▲
//!        │                      └── who leads: statuses of all nodes, the newest term counts
//!        └─────── tails ───────────► any node that follows the leader
//!
//! Whoever holds the handle sees a node that cannot be reached as one that does not lead, and an append whose answer
//! was lost on the way as `Unknown`.

mod line;
mod lines;
mod statuses;
mod tails;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::client::{COMMANDS_MAX, Call, Journal, Status, Tails};
use crate::clock::Clock;
use crate::dial::Dialer;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::tail::Tail;

pub(crate) use lines::Lines;
pub use statuses::ask_status;
pub(crate) use statuses::open_status;
pub(crate) use tails::{RemoteTail, RemoteTails, SILENCE_MAX};

/// Questions passed on at once.
const COMMANDS_AT_ONCE: usize = 1_024;

/// Where a journal is.
#[derive(Clone)]
pub struct Remote {
    /// URLs of some of its nodes, such as `http://10.0.0.1:2380`. They tell of the others.
    pub endpoints: Vec<String>,
    /// The cluster that is meant. `None`: whichever the first node that answers belongs to.
    pub cluster: Option<u64>,
    /// What this process calls itself: the node that its status names.
    pub id: u64,
    pub dialer: Dialer,
    pub clock: Arc<dyn Clock>,
}

impl Remote {
    /// A handle, which connects in the background, on the current runtime, until it and its copies are dropped.
    /// `Journal::status` tells of a cluster once a node has answered.
    ///
    /// # Errors
    /// `Io`: an endpoint is no URL.
    pub fn connect(self) -> Result<Journal, Error> {
        for endpoint in &self.endpoints {
            self.dialer.channel(endpoint)?;
        }
        let (commands, questions) = mpsc::channel(COMMANDS_MAX);
        let status = statuses::watch(&self);
        let tails = RemoteTails::new(self.clone(), status.clone());
        let lines = Lines::new(self.dialer.clone(), status.clone());
        tokio::spawn(pass_on(questions, status.clone(), lines));
        Ok(Journal::new(commands, status, Tails::There(tails)))
    }

    /// What the endpoints themselves have from `from` on: no other node is turned to. The cluster must be named.
    ///
    /// # Errors
    /// `Io`: an endpoint is no URL.
    pub fn tail(self, from: Lsn) -> Result<Tail, Error> {
        for endpoint in &self.endpoints {
            self.dialer.channel(endpoint)?;
        }
        let cluster = self.cluster.unwrap_or_default();
        // Of a cluster that never tells of members.
        let (_, status) = watch::channel(Status { cluster, ..Status::default() });
        Ok(Tail::there(RemoteTails::new(self, status).open(from)))
    }
}

/// Passes questions on to whoever leads, until nobody can ask any more.
async fn pass_on(mut questions: mpsc::Receiver<Call>, mut status: watch::Receiver<Status>, mut lines: Lines) {
    let mut taken = Vec::new();
    loop {
        tokio::select! {
            biased;
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
                lines.keep(status.borrow_and_update().leader);
            }
            count = questions.recv_many(&mut taken, COMMANDS_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                let status = status.borrow();
                for Call { command, .. } in taken.drain(..) {
                    match status.leader {
                        Some(leader) => lines.pass_on(leader, &status.members, command),
                        None => command.refuse(Error::NotLeader { hint: None }),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
