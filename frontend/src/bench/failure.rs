//! Why an operation did not succeed, in the words that the report counts it under.

use super::message::Malformed;

/// One operation's failure.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The store said so.
    Status(i32),
    /// The connection broke, or could not be made.
    Transport,
    /// What came back is not an answer.
    Malformed,
    /// Nothing came back in time.
    Timeout,
    /// The store did not begin to watch, or ended it.
    Watch,
}

impl Failure {
    pub(super) fn status(code: tonic::Code, text: String) -> Self {
        Self { kind: Kind::Status(code.into()), text }
    }

    pub(super) fn transport(error: h2::Error) -> Self {
        Self { kind: Kind::Transport, text: error.to_string() }
    }

    pub(super) fn malformed(text: &str) -> Self {
        Self { kind: Kind::Malformed, text: text.to_owned() }
    }

    pub(super) fn watch(reason: &str) -> Self {
        Self { kind: Kind::Watch, text: reason.to_owned() }
    }

    pub(super) fn timeout() -> Self {
        Self { kind: Kind::Timeout, text: "no answer in time".to_owned() }
    }

    /// Nothing more can be expected from the connection.
    pub(super) fn breaks_the_connection(&self) -> bool {
        self.kind == Kind::Transport
    }
}

impl Kind {
    pub(super) fn name(self) -> String {
        match self {
            Self::Status(code) => format!("{:?}", tonic::Code::from(code)),
            Self::Transport => "connection".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Watch => "watch".to_owned(),
        }
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::malformed("a frame that gRPC does not allow")
    }
}

impl From<prost::DecodeError> for Failure {
    fn from(error: prost::DecodeError) -> Self {
        Self::malformed(&error.to_string())
    }
}
