//! Runs any program that speaks Maelstrom's protocol under faults, and checks what its clients were told.
//!
//!     clients ──┐                      ┌── node n0   (a process: JSON by the line)
//!               ├── session ── network ┼── node n1
//!     faults ───┘      │               └── …
//!                      └── history ── checker ── report
//!
//! One thread decides everything (`session`, which takes time and chance from outside); the others only move lines between
//! it and the pipes. Clients are never cut off and nothing of theirs is lost; what nodes say to each other is.

pub mod clients;
pub mod drive;
pub mod faults;
pub mod message;
pub mod network;
pub mod process;
pub mod report;
pub mod session;
pub mod settings;
pub mod workload;

use std::fmt;

/// The run itself went wrong: a node that breaks the protocol or ends, or a machine that cannot start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub String);

impl Trouble {
    /// The protocol was broken by a line of a node's. Long ones are cut.
    pub(crate) fn with_line(node: usize, why: &str, line: &str) -> Self {
        const SHOWN_MAX: usize = 400;
        let shown: String = line.chars().take(SHOWN_MAX).collect();
        let cut = if shown.len() < line.len() { " …" } else { "" };
        Self(format!("node n{node}: {why}; its line was: {shown}{cut}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}
