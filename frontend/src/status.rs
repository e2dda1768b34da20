//! What a cluster is like, as one document: `/status.json`, and what `mainstem status` prints of it.
//!
//!     any member ── asks the others' journals ──► Document ──► JSON, or a page for people
//!
//! A document is judged from what stands in it and from nothing else, so that whoever reads it comes to the same
//! conclusion. Fields may be added; one that changes its meaning raises `FORMAT`. `docs/status.md` explains them.

mod collect;
mod command;
mod health;
mod text;

use serde::{Deserialize, Serialize};

pub(crate) use self::collect::{Collector, Process};
pub use self::command::{Arguments, run};

/// Of the document.
const FORMAT: u32 = 1;

/// The cluster as one member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    pub format: u32,
    pub health: Health,
    /// The health in a sentence.
    pub summary: String,
    /// How many more voters may fail, and writes go on.
    pub may_fail: usize,
    /// What to do about what is wrong, the most urgent first.
    pub next_steps: Vec<String>,
    /// Ids are hexadecimal, as etcdctl prints them.
    pub cluster: String,
    /// The member that tells this, or another process.
    pub told_by: String,
    pub leader: Option<String>,
    pub term: u64,
    pub revision: u64,
    pub compacted_revision: u64,
    pub members: Vec<Member>,
    /// Of the process that tells this, or of the memstores that it asks.
    pub partitions: Vec<Partition>,
    /// Those of processes of their own.
    pub memstores: Vec<Memstore>,
    pub alarms: Vec<Alarm>,
}

/// Whether it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is to be done.
    Healthy,
    /// It works, and something is to be done.
    Degraded,
    /// It takes no writes.
    #[default]
    Unavailable,
}

/// A journal node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// Whether it told its own state now. If not, what follows is not known.
    pub answers: bool,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    /// Whom it follows, and in which term.
    pub leader: Option<String>,
    pub term: u64,
    /// The last position that it has applied, and how far it is behind the furthest.
    pub applied: u64,
    pub lag: u64,
    /// It is behind, and was asked twice without having applied anything in between.
    pub stalled: bool,
    /// The position up to which it had acknowledged what it does not have: it does not vote until it has been sent that.
    pub missing_up_to: Option<u64>,
    /// It is to vote, and has no vote until it has what the others have.
    pub awaits_vote: bool,
    /// It has never started, or serves clients and has not told the others where yet.
    pub unstarted: bool,
    pub journal_bytes: u64,
    /// What only a member itself knows: those of the others are there where they were asked, too.
    pub version: Option<String>,
    pub database_bytes: Option<u64>,
    pub database_bytes_in_use: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Leader,
    #[default]
    Follower,
    Learner,
}

/// A range of keys, and the state of it in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    pub id: u64,
    /// Keys, with what is no printable ASCII escaped. No `end`: to the end of all keys.
    pub start: String,
    pub end: Option<String>,
    pub keys: u64,
    pub bytes: u64,
    pub applied: u64,
    pub watchers: u64,
    /// Memstores that should hold it, by their names; none where all hold everything.
    pub replicas: Vec<String>,
    /// No memstore serves it: requests for its keys wait, and what else is told of it is not known.
    pub lost: bool,
}

/// A registered memstore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memstore {
    pub id: String,
    pub name: String,
    pub url: String,
    pub zone: String,
    /// Whether it reports to the process that tells this. `None`: that one asks no memstores.
    pub answers: Option<bool>,
    /// The last position that everything it serves has applied, and how far that is behind the journal.
    pub applied: u64,
    pub lag: u64,
    /// The partitions that it serves.
    pub serves: Vec<u64>,
}

/// What was raised, and by which member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarm {
    pub member: String,
    pub alarm: String,
}

impl Document {
    /// Takes from another member's document what only that member knows.
    fn absorb(&mut self, other: &Document) {
        let own = other.members.iter().find(|member| member.id == other.told_by);
        let known = self.members.iter_mut().find(|member| member.id == other.told_by);
        if let (Some(own), Some(known)) = (own, known) {
            known.version.clone_from(&own.version);
            known.database_bytes = own.database_bytes;
            known.database_bytes_in_use = own.database_bytes_in_use;
        }
    }

    /// The document of a process that has not reached a journal yet.
    pub(crate) fn of_a_start() -> Document {
        Document {
            format: FORMAT,
            summary: "starting: this process has no answer from its journal yet".to_owned(),
            next_steps: vec!["if it lasts, look at this process's log for what it waits for".to_owned()],
            ..Document::default()
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a document of texts and numbers is JSON")
    }
}

#[cfg(test)]
mod tests;
