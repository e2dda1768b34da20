//! One stream of one watcher, walked beside what happened.

use std::collections::BTreeMap;

use maelstrom::check::Findings;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::Event;

use super::{Session, Watching, header, is_progress};
use crate::history::{Moment, event as text};
use crate::linearize::{Story, is_alike};

struct Walk<'a> {
    watching: &'a Watching,
    session: &'a Session,
    story: &'a Story,
    /// What this session should tell, in order, and how much of it was told.
    due: Vec<(i64, &'a Event)>,
    told: usize,
    start: i64,
    progress: i64,
    findings: &'a mut Findings,
}

pub(super) fn check(watching: &Watching, session: &Session, story: &Story, findings: &mut Findings) {
    let start = session.first();
    let due = due(watching, story, start);
    let mut walk = Walk { watching, session, story, due, told: 0, start, progress: 0, findings };
    for (at, response) in &session.responses {
        walk.hear(*at, response);
    }
}

/// What should have been told by now, over all sessions.
pub(super) fn check_end(watching: &Watching, story: &Story, upto: i64, findings: &mut Findings) {
    let told: BTreeMap<i64, usize> = count(watching);
    let ended = watching.sessions.last().and_then(|session| session.responses.last());
    if ended.is_some_and(|(_, response)| response.compact_revision > 0) {
        return;
    }
    // Sessions that were told nothing at all have not begun.
    let first = watching.sessions.iter().map(Session::first).find(|first| *first > 0);
    let start = first.unwrap_or(watching.create.start_revision);
    let missing = due(watching, story, start)
        .into_iter()
        .find(|(revision, _)| *revision <= upto && !told.contains_key(revision));
    if let Some((revision, event)) = missing {
        let told = format!(
            "{} was told up to {}, and should have been up to {upto}",
            watching.name,
            watching.next() - 1
        );
        findings.found("a lost event", vec![told, text(event), by(story, revision)]);
    }
}

fn count(watching: &Watching) -> BTreeMap<i64, usize> {
    let responses = watching.sessions.iter().flat_map(|session| &session.responses);
    let events = responses.flat_map(|(_, response)| &response.events).map(revision_of);
    events.fold(BTreeMap::new(), |mut counts, revision| {
        *counts.entry(revision).or_default() += 1;
        counts
    })
}

fn due<'a>(watching: &Watching, story: &'a Story, start: i64) -> Vec<(i64, &'a Event)> {
    let revisions = story.revisions.range(start.max(0)..);
    let events = revisions.flat_map(|(revision, told)| told.events.iter().map(|event| (*revision, event)));
    events.filter(|(_, event)| watching.wants(event)).collect()
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn by(story: &Story, revision: i64) -> String {
    let told = story.revisions.get(&revision);
    told.map_or_else(|| format!("revision {revision} was never made"), |told| format!("made by {}", told.by))
}

impl Walk<'_> {
    fn found(&mut self, at: Moment, name: &str, more: Vec<String>) {
        let endpoint = self.session.endpoint;
        let who = format!(
            "{} at e{endpoint}, from {} on, told at {:.4}",
            self.watching.name,
            self.start,
            at.as_secs_f64()
        );
        self.findings.found(name, std::iter::once(who).chain(more).collect());
    }

    fn hear(&mut self, at: Moment, response: &WatchResponse) {
        if response.canceled {
            self.end(at, response);
        } else if is_progress(response) {
            self.progress(at, header(response));
        }
        if response.events.is_empty() {
            return;
        }
        for event in &response.events {
            self.event(at, event);
        }
        let last = response.events.last().map_or(0, revision_of);
        if header(response) < last {
            let header = format!("its header says {}, and its last event is of {last}", header(response));
            self.found(at, "a header behind its events", vec![header]);
        }
        if let (false, Some((revision, event))) = (response.fragment, self.due.get(self.told))
            && *revision == last
        {
            let more = vec![format!("not yet told: {}", text(event)), by(self.story, last)];
            self.found(at, "half a revision", more);
        }
    }

    fn event(&mut self, at: Moment, event: &Event) {
        let revision = revision_of(event);
        let place = self.due.iter().position(|(_, due)| is_alike(due, event));
        let who = vec![text(event), by(self.story, revision)];
        match place {
            _ if revision < self.start => self.found(at, "an event from before the start", who),
            None => self.unasked(at, event),
            Some(_) if revision <= self.progress => {
                let progress = format!("progress was {} before that", self.progress);
                self.found(at, "progress was ahead", [who, vec![progress]].concat());
            }
            Some(place) if place < self.told => self.found(at, "an event told again, or out of order", who),
            Some(place) => {
                if place > self.told {
                    let (revision, lost) = self.due[self.told];
                    let lost =
                        vec![text(lost), by(self.story, revision), format!("then came {}", text(event))];
                    self.found(at, "a lost event", lost);
                }
                self.told = place + 1;
                self.prev_kv(at, event, place);
            }
        }
        let invoked = self.story.revisions.get(&revision).map(|told| told.invoked);
        if invoked.is_some_and(|invoked| at < invoked) {
            self.found(at, "an event from the future", vec![text(event), by(self.story, revision)]);
        }
        self.compacted(at, event);
    }

    fn unasked(&mut self, at: Moment, event: &Event) {
        let revision = revision_of(event);
        let happened = self.story.revisions.get(&revision);
        let happened = happened.is_some_and(|told| told.events.iter().any(|other| is_alike(other, event)));
        let name = if happened { "an event that was not asked for" } else { "an event that did not happen" };
        self.found(at, name, vec![text(event), by(self.story, revision)]);
    }

    fn prev_kv(&mut self, at: Moment, event: &Event, place: usize) {
        let (revision, due) = self.due[place];
        let expected = due.prev_kv.as_ref().filter(|_| self.watching.create.prev_kv);
        let is_gone =
            self.story.compactions.iter().any(|(compacted, asked, _)| revision <= *compacted && *asked <= at);
        if event.prev_kv.as_ref() == expected || (is_gone && event.prev_kv.is_none()) {
            return;
        }
        let expected =
            format!("it should have been: {}", text(&Event { prev_kv: expected.cloned(), ..due.clone() }));
        self.found(at, "a wrong previous value", vec![text(event), expected, by(self.story, revision)]);
    }

    fn progress(&mut self, at: Moment, progress: i64) {
        if progress < self.progress {
            let before = format!("it is {progress}, and was {}", self.progress);
            self.found(at, "progress went back", vec![before]);
        }
        if let Some((revision, event)) = self.due.get(self.told).copied()
            && revision <= progress
        {
            let more = vec![
                format!("progress is {progress}"),
                format!("not yet told: {}", text(event)),
                by(self.story, revision),
            ];
            self.found(at, "progress was ahead", more);
        }
        self.progress = self.progress.max(progress);
    }

    /// Who begins below a compaction that was answered before is told of it, and of nothing else.
    fn compacted(&mut self, at: Moment, event: &Event) {
        let (start, opened) = (self.session.start, self.session.opened);
        let below = self.story.compactions.iter().find(|(compacted, _, answered)| {
            0 < start && start < *compacted && answered.is_some_and(|answered| answered < opened)
        });
        if let Some((compacted, ..)) = below {
            let more = vec![format!("compacted before that: {compacted}"), text(event)];
            self.found(at, "a compaction that was not told", more);
        }
    }

    fn end(&mut self, at: Moment, response: &WatchResponse) {
        let told = response.compact_revision;
        let last = self.told.checked_sub(1).map_or(0, |last| self.due[last].0);
        // The store may have looked further, for others. No less far.
        let next = self.start.max(last + 1).max(self.progress + 1);
        let asked =
            self.story.compactions.iter().any(|(compacted, asked, _)| *compacted == told && *asked <= at);
        if told > 0 && !(asked && next < told) {
            self.found(
                at,
                "a compaction that was not",
                vec![format!("ended as compacted at {told}, next is {next}")],
            );
        }
    }
}
