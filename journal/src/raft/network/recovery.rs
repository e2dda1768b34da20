//! The recovery of a voter that does not have what it had acknowledged: it votes again once a leader has sent that.

use std::sync::Arc;

use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;

use crate::raft::types::{LogId, Types};
use crate::raft::voter_registry::VoterRegistry;

/// What a leader tells in a stream of appends, and how far this node has it. Clones are the same.
#[derive(Clone)]
pub(super) struct Recovery {
    registry: VoterRegistry,
    /// The newest term of the leader, and how far it has committed.
    told: Arc<Mutex<(u64, Option<LogId>)>>,
}

impl Recovery {
    pub(super) fn new(registry: &VoterRegistry) -> Recovery {
        Recovery { registry: registry.clone(), told: Arc::default() }
    }

    pub(super) fn told(&self, request: &AppendEntriesRequest<Types>) {
        *self.told.lock() = (request.vote.leader_id.term, request.leader_commit);
    }

    /// What is acknowledged is on disk.
    pub(super) fn answered(&self, answer: &StreamAppendResult<Types>) {
        let Ok(matching) = answer else { return };
        if self.registry.standing_now().missing.is_none() {
            return;
        }
        let (term, committed) = *self.told.lock();
        if self.registry.catch_up(term, committed, *matching) {
            tracing::info!(term, "the journal has what this member had acknowledged: it votes again");
            let registry = self.registry.clone();
            tokio::spawn(async move {
                if let Err(error) = registry.save().await {
                    tracing::warn!(%error, "the registry of voters is not saved: it is tried again");
                }
            });
        }
    }
}
