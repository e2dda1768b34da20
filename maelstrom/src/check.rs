//! Checkers: pure functions from a history of operations to what is wrong with it.
//!
//!     history ──► register, list_append, rw_register, g_set, counter, kafka, unique_ids, echo ──► Findings
//!
//! What is reported is proven by the operations named beside it. What a checker cannot decide within its bounds it calls
//! unknown, and unknown is not valid. An operation whose outcome nobody knows may have happened at any later time, or never.

pub mod counter;
pub mod cycles;
pub mod echo;
pub mod g_set;
pub mod graph;
pub mod history;
pub mod kafka;
pub mod linearize;
pub mod list_append;
pub mod realtime;
pub mod register;
pub mod rw_register;
pub mod txn;
pub mod unique_ids;

use std::fmt;

/// One thing that must not be, and the operations that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// As the literature has it: `G1a`, `G-single-realtime`, `lost append`.
    pub name: String,
    pub story: Vec<String>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.story.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    /// A bound was hit before anything wrong was found.
    Unknown,
    Invalid,
}

/// What a checker has to say about a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub anomalies: Vec<Anomaly>,
    /// What could not be decided, and why.
    pub undecided: Vec<String>,
}

impl Findings {
    pub fn verdict(&self) -> Verdict {
        match (self.anomalies.is_empty(), self.undecided.is_empty()) {
            (false, _) => Verdict::Invalid,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Valid,
        }
    }

    pub fn found(&mut self, name: &str, story: Vec<String>) {
        self.anomalies.push(Anomaly { name: name.to_owned(), story });
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&str> {
        self.anomalies.iter().map(|anomaly| anomaly.name.as_str()).collect()
    }
}
