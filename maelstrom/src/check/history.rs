//! What clients asked, what they were told, and when.
//!
//!     invoked ├──────────────┤ at          Ok, Fail: it happened, or did not, between the two
//!     invoked ├─────────────────── …       Info: it may happen at any later time, or never
//!
//! Of two operations one is *before* the other if it had been answered when the other was invoked. Nothing else is said
//! about their order.

use std::fmt::{self, Display};
use std::time::Duration;

/// Time since a run began.
pub type Moment = Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// With faults.
    Main,
    /// After the faults have ended and the cluster had time to heal.
    Final,
}

/// A client has one operation at a time, and ends with one whose outcome it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, A> {
    pub client: u32,
    pub call: C,
    pub invoked: Moment,
    pub outcome: Outcome<A>,
    pub phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<A> {
    Ok {
        at: Moment,
        answer: A,
    },
    /// It never happened.
    Fail {
        at: Moment,
        code: u64,
    },
    Info {
        why: String,
    },
}

impl<C, A> Operation<C, A> {
    pub fn answer(&self) -> Option<&A> {
        match &self.outcome {
            Outcome::Ok { answer, .. } => Some(answer),
            Outcome::Fail { .. } | Outcome::Info { .. } => None,
        }
    }

    /// When the client was told, if it was.
    pub fn answered(&self) -> Option<Moment> {
        match &self.outcome {
            Outcome::Ok { at, .. } | Outcome::Fail { at, .. } => Some(*at),
            Outcome::Info { .. } => None,
        }
    }

    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok { .. })
    }

    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Fail { .. })
    }

    pub fn is_before<D, B>(&self, other: &Operation<D, B>) -> bool {
        self.answered().is_some_and(|at| at < other.invoked)
    }
}

impl<C: Display, A: Display> Display for Operation<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{} [{:.4}", self.client, self.invoked.as_secs_f64())?;
        match &self.outcome {
            Outcome::Ok { at, answer } => write!(f, " – {:.4}] {} → {answer}", at.as_secs_f64(), self.call),
            Outcome::Fail { at, code } => {
                write!(f, " – {:.4}] {} → failed with {code}", at.as_secs_f64(), self.call)
            }
            Outcome::Info { why } => write!(f, " – …] {} → unknown: {why}", self.call),
        }
    }
}

#[cfg(test)]
pub(crate) mod planted {
    //! Histories by hand: times are whole seconds.

    use super::*;

    fn operation<C, A>(client: u32, invoked: u64, call: C, outcome: Outcome<A>) -> Operation<C, A> {
        Operation { client, call, invoked: Duration::from_secs(invoked), outcome, phase: Phase::Main }
    }

    pub(crate) fn ok<C, A>(client: u32, from: u64, to: u64, call: C, answer: A) -> Operation<C, A> {
        operation(client, from, call, Outcome::Ok { at: Duration::from_secs(to), answer })
    }

    pub(crate) fn fail<C, A>(client: u32, from: u64, to: u64, call: C, code: u64) -> Operation<C, A> {
        operation(client, from, call, Outcome::Fail { at: Duration::from_secs(to), code })
    }

    pub(crate) fn info<C, A>(client: u32, from: u64, call: C) -> Operation<C, A> {
        operation(client, from, call, Outcome::Info { why: "no answer".to_owned() })
    }

    pub(crate) fn last<C, A>(operation: Operation<C, A>) -> Operation<C, A> {
        Operation { phase: Phase::Final, ..operation }
    }
}
