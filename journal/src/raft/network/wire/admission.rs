//! The admission of messages: from whom and for whom they are, as the registry of voters has it, before a body is read.

use proto::raft::Message;
use tonic::Status;

use super::{Link, Method, ROSTER_MAX, Wire};
use crate::raft::message::{Body, Roster};
use crate::raft::peer::Peer;
use crate::raft::types::Types;
use crate::raft::voter_registry::{Finding, VoterRegistry};
use openraft::errors::Unreachable;

impl Wire {
    pub(crate) fn registry(&self) -> &VoterRegistry {
        &self.shared.registry
    }

    /// Returns the message for `to`, signed with what this node knows of itself and of the receiver.
    pub(in crate::raft::network) fn seal(&self, to: u64, body: &impl Body) -> Message {
        let mut message = self.shared.envelope.seal(body);
        self.shared.registry.sign(to, &mut message);
        message
    }

    /// Returns a message of `Members`, which tells of every voter.
    pub(in crate::raft::network) fn introduction(&self, to: u64) -> Message {
        Message { voters: self.shared.registry.told(), ..self.seal(to, &self.roster()) }
    }

    pub(crate) fn node(&self) -> u64 {
        self.shared.envelope.node
    }

    /// This node as the members have it.
    pub(crate) fn itself(&self) -> Option<Peer> {
        let node = self.shared.envelope.node;
        self.shared.roster.lock().members.get_node(&node).cloned()
    }

    /// # Errors
    /// `failed_precondition`: the sender, or this node, is not the one that the other knows.
    /// `unavailable`: the sender is to be recorded first.
    pub(in crate::raft::network) fn examine(&self, message: &Message) -> Result<(), Status> {
        self.shared.envelope.check(message)?;
        let found = self.shared.registry.examine(message);
        found.map_err(|finding| self.refusal(message.from, finding))?;
        self.shared.activity.record_message(message.from, self.shared.clock.now());
        Ok(())
    }

    /// Examines a message, and records its sender where it is not known yet. Durable when it returns.
    ///
    /// # Errors
    /// As of `examine`. `unavailable`: the disk refuses.
    pub(in crate::raft::network) async fn admit(&self, message: &Message) -> Result<(), Status> {
        self.shared.envelope.check(message)?;
        match self.shared.registry.examine(message) {
            Err(Finding::NotRecorded) => {
                let recorded = self.shared.registry.record(message).await;
                recorded.map_err(|error| {
                    Status::unavailable(format!(
                        "the storage id of {:x} cannot be recorded: {error}",
                        message.from
                    ))
                })?;
                self.examine(message)
            }
            Err(finding) => Err(self.refusal(message.from, finding)),
            Ok(()) => {
                self.shared.activity.record_message(message.from, self.shared.clock.now());
                Ok(())
            }
        }
    }

    fn refusal(&self, from: u64, finding: Finding) -> Status {
        let node = self.shared.envelope.node;
        match finding {
            Finding::Misdirected { to } => Status::failed_precondition(format!(
                "this is member {node:x}, and a message of member {from:x} is for member {to:x}: two data directories may \
                 have been swapped; compare the peer URLs of both members with the commands that start them"
            )),
            Finding::OtherStorage { known, shown } => Status::failed_precondition(format!(
                "member {from:x} has already been bootstrapped: member {node:x} knows it by data directory {known:016x}, \
                 and it comes with {shown:016x}"
            )),
            Finding::Replaced { known } => Status::failed_precondition(format!(
                "member {from:x} knows member {node:x} by data directory {known:016x}, and this one is \
                 {:016x}: look at the logs of both",
                self.shared.registry.storage()
            )),
            Finding::NotRecorded => {
                Status::unavailable(format!("member {from:x} is not recorded at member {node:x} yet"))
            }
        }
    }
}

impl Link {
    /// Sees to it that the peer is recorded before an acknowledgement of it can arrive.
    pub(super) async fn record_peer(&self) -> Result<(), Unreachable<Types>> {
        if self.wire.registry().has_recorded(self.target) {
            return Ok(());
        }
        let _: Roster = self.call(Method::Members, &self.wire.roster(), ROSTER_MAX).await?;
        Ok(())
    }
}
