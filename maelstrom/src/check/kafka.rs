//! kafka: a log for each key. Messages have offsets, clients read on from theirs and say how far they are.
//!
//!     offset   1   3   4   8        an offset is one message for good, and one sender's grow
//!            [ a   b   c   d ]      whoever reads past a message has read it
//!                    ▲ committed    never goes back

mod committed;
mod messages;

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use self::messages::Messages;
use super::{Findings, history};

/// Keys are texts here, as in the protocol.
pub type Offsets = BTreeMap<String, i64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Send { key: String, message: i64 },
    Poll { from: Offsets },
    Commit { offsets: Offsets },
    ListCommitted { keys: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Offset(i64),
    Messages(BTreeMap<String, Vec<(i64, i64)>>),
    Done,
    Committed(Offsets),
}

pub type Operation = history::Operation<Call, Answer>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let messages = Messages::of(history, &mut findings);
    messages::check_senders(history, &mut findings);
    messages.check_polls(history, &mut findings);
    committed::check(history, &mut findings);
    findings
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { key, message } => write!(f, "send {key} {message}"),
            Self::Poll { from } => write!(f, "poll from {from:?}"),
            Self::Commit { offsets } => write!(f, "commit {offsets:?}"),
            Self::ListCommitted { keys } => write!(f, "list committed {keys:?}"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "at {offset}"),
            Self::Messages(messages) => write!(f, "{messages:?}"),
            Self::Done => f.write_str("ok"),
            Self::Committed(offsets) => write!(f, "{offsets:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
