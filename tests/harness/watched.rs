//! Whether watchers were told what happened: every event once, in order, whole revisions, nothing lost over
//! reconnects, and nothing else.
//!
//!     story     2   3   4   5   6   7   8        what happened, as the other judge found out
//!     asked for     3   4       6       8        range and filters
//!     told          3   4   ┊   6 …              ┊ a connection broke: the next session begins behind what was told
//!                           progress 5: everything up to 5 has been told, and nothing of it comes later

use std::collections::BTreeMap;

use maelstrom::check::Findings;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;

use crate::history::Moment;
use crate::linearize::{Sighting, Sightings, Story, is_in};

#[cfg(test)]
mod planted;
mod session;

/// A watcher of a client, over as many connections as it took.
#[derive(Clone, Debug)]
pub struct Watching {
    pub name: String,
    /// As it was first asked for. Later sessions only begin elsewhere.
    pub create: WatchCreateRequest,
    pub sessions: Vec<Session>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Session {
    pub endpoint: usize,
    pub opened: Moment,
    /// 0: from now on.
    pub start: i64,
    pub responses: Vec<(Moment, WatchResponse)>,
}

impl Watching {
    /// Where the next session begins: behind all that was told. 0 if nothing is known yet.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.sessions.iter().map(Session::next).max().unwrap_or(self.create.start_revision)
    }

    /// Whether this is asked for.
    fn wants(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        let filtered =
            if event.r#type == i32::from(EventType::Put) { FilterType::Noput } else { FilterType::Nodelete };
        is_in(&kv.key, &self.create.key, &self.create.range_end)
            && !self.create.filters.contains(&i32::from(filtered))
    }

    fn wants_everything(&self) -> bool {
        self.create.key[..] == [0] && self.create.range_end[..] == [0] && self.create.filters.is_empty()
    }
}

impl Session {
    /// The first revision that it should tell of: if it asked for what comes, the answer says where that begins.
    fn first(&self) -> i64 {
        match self.responses.first() {
            Some((_, created)) if self.start == 0 => header(created) + 1,
            _ => self.start,
        }
    }

    fn next(&self) -> i64 {
        let told = self.responses.iter().map(|(_, response)| told_upto(response)).max();
        told.map_or(0, |upto| upto + 1).max(self.first())
    }
}

fn header(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}

/// The revision up to which everything has been told with this response.
fn told_upto(response: &WatchResponse) -> i64 {
    let last = response.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision).max();
    match last {
        // The rest of a revision that comes in fragments is still to come.
        Some(last) if response.fragment => last - 1,
        Some(last) => last,
        None if is_progress(response) => header(response),
        None => 0,
    }
}

fn is_progress(response: &WatchResponse) -> bool {
    response.events.is_empty() && !response.created && !response.canceled
}

/// What those were told who watched everything.
#[must_use]
pub fn sightings(watchings: &[Watching]) -> Sightings {
    let everything = watchings.iter().filter(|watching| watching.wants_everything());
    let sessions = everything.flat_map(|watching| &watching.sessions);
    let mut sightings = Sightings::new();
    for session in sessions {
        let mut of_session: BTreeMap<i64, Sighting> = BTreeMap::new();
        for (at, response) in &session.responses {
            for event in &response.events {
                let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                let seen =
                    of_session.entry(revision).or_insert_with(|| Sighting { events: Vec::new(), at: *at });
                seen.events.push(event.clone());
            }
        }
        for (revision, seen) in of_session {
            let known = sightings.entry(revision).or_insert_with(|| seen.clone());
            known.at = known.at.min(seen.at);
        }
    }
    sightings
}

/// All watchers, who should have been told everything up to `upto` by now.
#[must_use]
pub fn check(watchings: &[Watching], story: &Story, upto: i64) -> Findings {
    let mut findings = Findings::default();
    for watching in watchings {
        let mut next = watching.create.start_revision;
        for session in &watching.sessions {
            if next < session.start {
                let gap = format!(
                    "{}: a session begins at {}, and nothing was told from {next} on",
                    watching.name, session.start
                );
                findings.undecided.push(gap);
            }
            session::check(watching, session, story, &mut findings);
            next = next.max(session.next());
        }
        session::check_end(watching, story, upto, &mut findings);
    }
    findings
}
