//! The history once more, on the serial model: in the order of its revisions, and each answer compared.

use std::collections::BTreeMap;

use maelstrom::check::Findings;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{RangeResponse, TxnResponse};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};

use super::gaps::{Gap, Suspect, assign};
use super::order::Latest;
use super::store::Store;
use super::{Sightings, Story, Told};
use crate::compat::{Outcome, Request};
use crate::history::{Answer, Operation, revision, wrote};

pub(super) struct Replay<'a> {
    store: Store,
    sightings: &'a Sightings,
    latest: &'a Latest,
    writes: BTreeMap<i64, Vec<&'a Operation>>,
    others: BTreeMap<i64, Vec<&'a Operation>>,
    /// Keys as reads showed them, by the revision that made them so.
    shown: BTreeMap<i64, Vec<KeyValue>>,
    suspects: Vec<Suspect>,
    gaps: Vec<Gap>,
    story: Story,
}

/// Whether there is a point in going on.
enum Next {
    On,
    Stop,
}

impl<'a> Replay<'a> {
    pub(super) fn new(history: &'a [Operation], sightings: &'a Sightings, latest: &'a Latest) -> Replay<'a> {
        let leases = history.iter().filter_map(|operation| match &operation.call.request {
            Request::Grant(grant) if !operation.failed() => Some(grant.id),
            _ => None,
        });
        let mut replay = Replay {
            store: Store::new(leases),
            sightings,
            latest,
            writes: BTreeMap::new(),
            others: BTreeMap::new(),
            shown: BTreeMap::new(),
            suspects: Suspect::all(history),
            gaps: Vec::new(),
            story: Story { compactions: compactions(history), ..Story::default() },
        };
        for operation in history {
            replay.file(operation);
        }
        replay
    }

    fn file(&mut self, operation: &'a Operation) {
        let Some(answer) = operation.answer() else { return };
        for kv in shown(answer.told()) {
            self.shown.entry(kv.mod_revision).or_default().push(kv.clone());
        }
        let Some(at) = revision(operation) else { return };
        let by_revision = if wrote(operation).is_some() { &mut self.writes } else { &mut self.others };
        by_revision.entry(at).or_default().push(operation);
    }

    pub(super) fn run(mut self, findings: &mut Findings) -> Story {
        let last = [self.writes.keys().last(), self.others.keys().last(), self.sightings.keys().last()];
        let last = last.into_iter().flatten().max().copied().unwrap_or(1);
        for operation in self.writes.range(..=1).flat_map(|(_, operations)| operations) {
            let story = vec![operation.to_string(), "an empty store is at 1".to_owned()];
            findings.found("a change that was none", story);
        }
        self.read(1, findings);
        for at in 2..=last {
            match self.step(at, findings) {
                Next::On => self.read(at, findings),
                Next::Stop => break,
            }
        }
        assign(&self.gaps, &self.suspects, findings);
        self.story
    }

    fn step(&mut self, at: i64, findings: &mut Findings) -> Next {
        match self.writes.get(&at).map(Vec::as_slice) {
            None => self.fill(at, findings),
            Some([operation]) => self.write(at, operation, findings),
            Some(several) => {
                let story = several.iter().map(ToString::to_string).collect();
                findings.found("a revision was given out twice", story);
                Next::Stop
            }
        }
    }

    fn write(&mut self, at: i64, operation: &Operation, findings: &mut Findings) -> Next {
        let Some(events) = self.compare(operation, findings) else { return Next::Stop };
        if self.store.revision() != at {
            let story = vec![operation.to_string(), "it changes nothing at that revision".to_owned()];
            findings.found("a change that was none", story);
            return Next::Stop;
        }
        self.tell(at, Told { events, invoked: operation.invoked, by: operation.to_string() }, findings)
    }

    /// Runs it, and says what changed.
    fn compare(&mut self, operation: &Operation, findings: &mut Findings) -> Option<Vec<Event>> {
        let told = operation.answer().expect("only what was answered is compared");
        match self.store.run(&operation.call.request) {
            Ok((expected, events)) => {
                if !is_as_expected(&operation.call.request, told, &expected) {
                    let story = vec![operation.to_string(), format!("it should have been → {expected}")];
                    findings.found("a wrong answer", story);
                }
                Some(events)
            }
            Err(refusal) => {
                let story = vec![
                    operation.to_string(),
                    format!("it should have been refused: {}", refusal.message()),
                ];
                findings.found("an answer instead of a refusal", story);
                None
            }
        }
    }

    /// What stands in no answer's header.
    fn fill(&mut self, at: i64, findings: &mut Findings) -> Next {
        let whole = self.sightings.get(&at).map(|seen| seen.events.clone());
        let seen =
            whole.clone().unwrap_or_else(|| self.shown.get(&at).map_or_else(Vec::new, |kvs| puts(kvs)));
        let could = |suspect: &Suspect| suspect.can_have_made(at, &seen, self.latest);
        let mut fitting = Vec::new();
        for number in (0..self.suspects.len()).filter(|number| could(&self.suspects[*number])) {
            let events = self.store.events_of(&self.suspects[number].request);
            let fits = match &whole {
                Some(whole) => are_alike(whole, &events),
                None => {
                    !events.is_empty()
                        && seen.iter().all(|event| events.iter().any(|other| is_alike(event, other)))
                }
            };
            if fits {
                fitting.push((number, events));
            }
        }
        let Some((first, events)) = fitting.first().cloned() else {
            findings.found("a revision that nobody made", self.orphan(at, &seen));
            return Next::Stop;
        };
        if fitting.iter().any(|(_, others)| !are_alike(others, &events)) {
            let what = format!(
                "revision {at} was made by one of {} unanswered operations, and nobody saw what it did",
                fitting.len()
            );
            findings.undecided.push(what);
            return Next::Stop;
        }
        let suspects: Vec<usize> = fitting.into_iter().map(|(number, _)| number).collect();
        let earliest = suspects.iter().map(|number| self.suspects[*number].invoked()).min();
        let by = self.suspects[first].name.clone();
        self.store.run(&self.suspects[first].request).expect("it was tried out");
        self.gaps.push(Gap { revision: at, suspects });
        self.tell(at, Told { events, invoked: earliest.expect("there is one"), by }, findings)
    }

    fn orphan(&self, at: i64, seen: &[Event]) -> Vec<String> {
        let mut story = vec![format!("revision {at}: {}", texts(seen))];
        for (name, near) in [("before", at - 1), ("behind", at + 1)] {
            let told = self.story.revisions.get(&near).map(|told| told.by.clone());
            let told = told.or_else(|| Some(self.writes.get(&near)?.first()?.to_string()));
            story.extend(told.map(|by| format!("{name} it: {by}")));
        }
        story
    }

    fn tell(&mut self, at: i64, told: Told, findings: &mut Findings) -> Next {
        if let Some(seen) = self.sightings.get(&at).filter(|seen| !are_alike(&seen.events, &told.events)) {
            let seen = format!("but watchers of everything were told {}", texts(&seen.events));
            findings.found("other events than changes", vec![told.by.clone(), texts(&told.events), seen]);
        }
        self.story.revisions.insert(at, told);
        Next::On
    }

    /// Everything that changed nothing, and was answered at this revision.
    fn read(&mut self, at: i64, findings: &mut Findings) {
        for operation in self.others.remove(&at).unwrap_or_default() {
            match &operation.call.request {
                Request::Revoke(revoke) => {
                    let kept = self.store.attached(revoke.id);
                    if let Some(kv) = kept.first() {
                        let key = format!("{} is still there", String::from_utf8_lossy(&kv.key));
                        findings.found("a key outlived its lease", vec![operation.to_string(), key]);
                    }
                }
                Request::Grant(_) | Request::Compact(_) => {}
                _ => {
                    self.compacted(operation, findings);
                    self.unchanged(operation, findings);
                }
            }
        }
    }

    /// Whoever says that nothing has changed has changed nothing, whatever it should have done.
    fn unchanged(&mut self, operation: &Operation, findings: &mut Findings) {
        let reads = matches!(operation.call.request, Request::Range(_));
        let before = (!reads).then(|| self.store.clone());
        let _ = self.compare(operation, findings);
        if let Some(before) = before {
            self.store = before;
        }
    }

    fn compacted(&self, operation: &Operation, findings: &mut Findings) {
        let Request::Range(range) = &operation.call.request else { return };
        let below = self.story.compactions.iter().find(|(revision, _, answered)| {
            0 < range.revision
                && range.revision < *revision
                && answered.is_some_and(|answered| answered < operation.invoked)
        });
        if let Some((revision, ..)) = below {
            let story = vec![operation.to_string(), format!("compacted before that: {revision}")];
            findings.found("a compacted revision was read", story);
        }
    }
}

/// Of leases and compactions only the revision is judged.
fn is_as_expected(request: &Request, told: &Answer, expected: &Answer) -> bool {
    match request {
        Request::Grant(_) | Request::Compact(_) | Request::Revoke(_) => {
            told.told().revision() == expected.told().revision()
        }
        _ => told == expected,
    }
}

fn compactions(history: &[Operation]) -> Vec<(i64, crate::history::Moment, Option<crate::history::Moment>)> {
    let asked = history.iter().filter(|operation| !operation.failed());
    asked
        .filter_map(|operation| match &operation.call.request {
            Request::Compact(compact) => Some((compact.revision, operation.invoked, operation.answered())),
            _ => None,
        })
        .collect()
}

fn shown(outcome: &Outcome) -> Vec<&KeyValue> {
    match outcome {
        Outcome::Range(answer) => in_range(answer),
        Outcome::Txn(answer) => in_txn(answer),
        Outcome::Put(answer) => answer.prev_kv.iter().collect(),
        Outcome::Delete(answer) => answer.prev_kvs.iter().collect(),
        _ => Vec::new(),
    }
}

fn in_range(answer: &RangeResponse) -> Vec<&KeyValue> {
    // Keys without values may have been asked for.
    answer.kvs.iter().filter(|kv| !kv.value.is_empty()).collect()
}

fn in_txn(answer: &TxnResponse) -> Vec<&KeyValue> {
    let responses = answer.responses.iter().filter_map(|op| op.response.as_ref());
    responses
        .flat_map(|response| match response {
            Response::ResponseRange(answer) => in_range(answer),
            Response::ResponsePut(answer) => answer.prev_kv.iter().collect(),
            Response::ResponseDeleteRange(answer) => answer.prev_kvs.iter().collect(),
            Response::ResponseTxn(answer) => in_txn(answer),
        })
        .collect()
}

fn puts(kvs: &[KeyValue]) -> Vec<Event> {
    kvs.iter()
        .map(|kv| Event { r#type: EventType::Put.into(), kv: Some(kv.clone()), prev_kv: None })
        .collect()
}

/// But for what was there before, which only some watchers are told.
pub(crate) fn is_alike(one: &Event, other: &Event) -> bool {
    one.r#type == other.r#type && one.kv == other.kv
}

fn are_alike(these: &[Event], those: &[Event]) -> bool {
    these.len() == those.len() && these.iter().zip(those).all(|(one, other)| is_alike(one, other))
}

pub(crate) fn texts(events: &[Event]) -> String {
    if events.is_empty() {
        return "nothing is known of it".to_owned();
    }
    events.iter().map(crate::history::event).collect::<Vec<_>>().join("; ")
}
