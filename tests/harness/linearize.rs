//! Whether a history is that of one store on which everything happened one after the other: judged by its revisions.
//!
//!     history ──► by revision ──► the serial model, replayed ──► each answer: equal?      (replay)
//!                     │                     ▲
//!                     │      revisions that no answer names: unanswered operations that fit   (gaps)
//!                     └──► time: nobody is behind what was answered before it began      (order)
//!
//! A revision is a witness of the order, so nothing has to be tried out: sorting is what takes longest, and replaying
//! costs a step for each key that the history has. Whether revisions can be trusted is the other judge's business (`by_key`).
//!
//! What is needed is a watcher of everything: it says what unanswered operations did. Without one the history is
//! judged as far as reads tell that, and is undecided behind.

use std::collections::BTreeMap;

use maelstrom::check::Findings;
use proto::mvccpb::Event;

use crate::history::{Moment, Operation};

mod gaps;
mod order;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod properties;
mod replay;
#[cfg(test)]
pub(crate) mod script;
mod store;

pub(crate) use self::replay::is_alike;
pub(crate) use self::store::is_in;

/// After so many anomalies the rest follows from them.
const ANOMALIES_MAX: usize = 10;

/// What a watcher of all keys was told of one revision, and when. Previous values are not looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub events: Vec<Event>,
    pub at: Moment,
}

pub type Sightings = BTreeMap<i64, Sighting>;

/// What happened: all changes by revision, each with what was there before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    pub revisions: BTreeMap<i64, Told>,
    /// Compactions that were asked for: the revision, and when that was asked and answered.
    pub compactions: Vec<(i64, Moment, Option<Moment>)>,
}

/// One revision of a story.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub events: Vec<Event>,
    /// Nothing of it can have been known before that.
    pub invoked: Moment,
    /// Who made it.
    pub by: String,
}

/// A history that begins with an empty store, judged.
#[must_use]
pub fn check(history: &[Operation], sightings: &Sightings) -> (Findings, Story) {
    let mut findings = Findings::default();
    order::check(history, sightings, &mut findings);
    let latest = order::Latest::of(history, sightings);
    let story = replay::Replay::new(history, sightings, &latest).run(&mut findings);
    findings.anomalies.truncate(ANOMALIES_MAX);
    (findings, story)
}
