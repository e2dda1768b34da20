//! What every message on the wire says of its sender, and whose messages are read.

use proto::raft::Message;
use tonic::Status;

use crate::raft::message::Body;

/// Of what this version says. Raised with every change of a message; the version before is still understood.
const VERSION: u32 = 1;

/// The largest message: a record of the largest size, in one request with what fits beside it.
pub(super) const MESSAGE_BYTES_MAX: usize = 192 << 20;

/// Whose messages a node sends and reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub(super) cluster: u64,
    pub(super) node: u64,
}

impl Envelope {
    pub(super) fn seal(self, body: &impl Body) -> Message {
        Message {
            version: VERSION,
            cluster: self.cluster,
            from: self.node,
            body: body.encode(),
            ..Message::default()
        }
    }

    /// # Errors
    /// `failed_precondition`: nothing of this sender can be read before an operator has done something.
    /// `invalid_argument`: this message cannot.
    pub(super) fn open<B: Body>(self, message: Message) -> Result<B, Status> {
        self.check(&message)?;
        let Message { from, body, .. } = message;
        B::decode(body).map_err(|error| {
            Status::invalid_argument(format!("a message of journal node {from:016x} cannot be read: {error}"))
        })
    }

    /// # Errors
    /// `failed_precondition`, as above.
    pub(super) fn check(self, message: &Message) -> Result<(), Status> {
        let Message { version, cluster, from, .. } = *message;
        if cluster != self.cluster {
            return Err(Status::failed_precondition(format!(
                "journal node {from:016x} is of cluster {cluster:016x}, and this is node {:016x} of cluster \
                 {:016x}: compare --initial-cluster and --initial-cluster-token of both, and their data \
                 directories",
                self.node, self.cluster
            )));
        }
        if version > VERSION + 1 {
            return Err(Status::failed_precondition(format!(
                "journal node {from:016x} speaks version {version}, and node {:016x} understands up to {}: upgrade \
                 one release at a time, this node first",
                self.node,
                VERSION + 1
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::Vote;
    use bytes::Bytes;
    use expect_test::{Expect, expect};

    const ENVELOPE: Envelope = Envelope { cluster: 0xc0, node: 0x1 };

    fn check(message: Message, expected: Expect) {
        let read = ENVELOPE.open::<Vote>(message);
        expected.assert_eq(&read.map_or_else(|status| status.message().to_owned(), |vote| vote.to_string()));
    }

    #[test]
    fn only_what_is_of_the_cluster_and_understood_is_read() {
        let sent = Envelope { cluster: 0xc0, node: 0x2 }.seal(&Vote::new_committed(7, 2));
        check(sent.clone(), expect!["<T7-N2:Q>"]);
        check(Message { version: VERSION + 1, ..sent.clone() }, expect!["<T7-N2:Q>"]);
        check(
            Message { version: VERSION + 2, ..sent.clone() },
            expect![
                "journal node 0000000000000002 speaks version 3, and node 0000000000000001 understands up to 2: upgrade one release at a time, this node first"
            ],
        );
        check(
            Message { cluster: 0xc1, ..sent.clone() },
            expect![
                "journal node 0000000000000002 is of cluster 00000000000000c1, and this is node 0000000000000001 of cluster 00000000000000c0: compare --initial-cluster and --initial-cluster-token of both, and their data directories"
            ],
        );
        check(
            Message { body: Bytes::from_static(b"\xff"), ..sent },
            expect!["a message of journal node 0000000000000002 cannot be read: term is malformed at byte 1"],
        );
    }
}
