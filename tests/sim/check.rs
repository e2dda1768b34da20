//! Judges a history: is it one that a store without failures could have had?
//!
//! Revisions are the witness: what watchers were told, revision by revision, is executed from the beginning, and
//!
//!  - every revision is there, and is the work of one request that was not refused, or of a lease that ended;
//!  - every answer is what its request is answered at its revision, whether it wrote or read;
//!  - who asked after an answer had come is told nothing older, and what it wrote is newer;
//!  - an endpoint never goes back, also where it answers from what it has;
//!  - no lease ends before its time.

mod works;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use frontend::LeaseId;

use self::works::Works;
use crate::history::{Answer, Asked, End, Record, Request, Seen};
use crate::state::{State, bare};

/// Everything that is wrong with the history. `rate_max` is how much faster than the world a clock may go.
pub(crate) fn check(record: &Record, rate_max: f64) -> Vec<String> {
    let (states, works) = Default::default();
    let mut judge = Judge { record, states, works, wrong: record.wrong.clone() };
    judge.replay();
    if judge.wrong.is_empty() {
        judge.works = Works::of(&judge);
        judge.wrong.append(&mut judge.works.wrong);
        judge.answers();
        judge.order();
        judge.leases(rate_max);
    }
    judge.wrong
}

struct Judge<'a> {
    record: &'a Record,
    /// By revision; the first two are empty.
    states: Vec<State>,
    works: Works,
    wrong: Vec<String>,
}

impl Judge<'_> {
    fn replay(&mut self) {
        self.states = vec![State::default(), State::default()];
        for (revision, changed) in &self.record.changes {
            let mut state = self.states.last().expect("the first is there").clone();
            if *revision != self.states.len() as u64 {
                return self.wrong.push(format!("nobody was told of revision {}", self.states.len()));
            }
            if let Err(wrong) = state.apply(*revision, &changed.events) {
                return self.wrong.push(wrong);
            }
            self.states.push(state);
        }
    }

    fn state(&self, revision: u64) -> Option<&State> {
        self.states.get(usize::try_from(revision).ok()?)
    }

    fn does(&self, request: &Request, revision: u64, events: &[Seen]) -> bool {
        let done = self.state(revision - 1).and_then(|state| state.execute(&request.asked, revision));
        let kvs =
            |events: &[Seen]| events.iter().map(|event| (event.kind, event.kv.clone())).collect::<Vec<_>>();
        done.is_some_and(|(done, _)| kvs(&done) == kvs(events))
    }

    /// The lease whose keys, and no others, this revision deletes.
    fn ended_lease(&self, revision: u64) -> Option<LeaseId> {
        let (before, changed) = (self.state(revision - 1)?, self.record.changes.get(&revision)?);
        let lease = before.keys.get(&changed.events.first()?.kv.key)?.lease;
        let deleted: Vec<&Bytes> = changed.events.iter().map(|event| &event.kv.key).collect();
        (lease != LeaseId::NONE && before.attached(lease) == deleted).then_some(lease)
    }

    /// Each answer is that of its request at its revision.
    fn answers(&mut self) {
        for request in &self.record.requests {
            let Some((_, End::Answered { answer, revision })) = &request.ended else { continue };
            let is_work = self.works.by_revision.get(revision) == Some(&request.id);
            let past = match &request.asked {
                Asked::Range(range) => range.past().map(|past| past.0),
                _ => None,
            };
            let at = past.unwrap_or(if is_work { revision - 1 } else { *revision });
            let expected = self.state(at).and_then(|state| state.execute(&request.asked, *revision));
            let Some((events, expected)) = expected else {
                if self.state(at).is_none() {
                    self.wrong.push(format!(
                        "nobody was told of revision {at}, by which there is an answer: {request:?}"
                    ));
                }
                continue;
            };
            if !is_work && !events.is_empty() {
                self.wrong.push(format!(
                    "revision {revision} is not the work of the request that it acknowledges: {request:?}"
                ));
            } else if format!("{:?}", bare(expected.clone())) != format!("{:?}", bare(answer.clone())) {
                self.wrong.push(format!("the answer should be {expected:?}: {request:?}"));
            }
        }
    }

    /// The order of the answers is that of the revisions.
    fn order(&mut self) {
        let mut moments: Vec<(u64, bool, &Request)> = Vec::new();
        for request in &self.record.requests {
            moments.push((request.called.place, false, request));
            moments.extend(request.ended.iter().map(|(moment, _)| (moment.place, true, request)));
        }
        moments.sort_unstable_by_key(|(place, ..)| *place);
        let surely = |(_, id): &(&u64, &u64)| !self.works.guessed.contains(id);
        let works: BTreeMap<u64, u64> =
            self.works.by_revision.iter().filter(surely).map(|(revision, id)| (*id, *revision)).collect();
        let (mut told, mut told_by, mut floors) = (0, BTreeMap::new(), BTreeMap::new());
        for (_, is_end, request) in moments {
            let work = works.get(&request.id).copied();
            let own = *told_by.get(&request.endpoint).unwrap_or(&0);
            if !is_end {
                floors.insert(request.id, (told, own));
                if let Some(work) = work.filter(|work| *work <= told) {
                    self.wrong
                        .push(format!("revision {work} was told before its request was made: {request:?}"));
                }
                continue;
            }
            let Some((_, End::Answered { revision, .. })) = &request.ended else { continue };
            if *revision == 0 {
                continue;
            }
            let (floor, own) = floors[&request.id];
            let floor = if is_serializable(&request.asked) { own } else { floor };
            if *revision < floor {
                self.wrong.push(format!("revision {floor} was told before this was asked: {request:?}"));
            }
            told = told.max(*revision);
            let own = told_by.entry(request.endpoint).or_insert(0);
            *own = (*own).max(*revision);
        }
    }

    /// No lease has ended before its time, as far as watchers were told.
    fn leases(&mut self, rate_max: f64) {
        let mut alive: BTreeMap<i64, Vec<(Duration, Duration)>> = BTreeMap::new();
        let mut revoked: BTreeMap<i64, Duration> = BTreeMap::new();
        for request in &self.record.requests {
            let called = request.called.time;
            let lives = match (&request.asked, &request.ended) {
                (Asked::Revoke(lease), _) => {
                    let first = revoked.entry(lease.0).or_insert(called);
                    *first = called.min(*first);
                    None
                }
                (_, Some((moment, End::Answered { answer: Answer::Granted { lease, ttl_seconds }, .. }))) => {
                    Some((lease.0, moment.time, *ttl_seconds))
                }
                (
                    Asked::KeepAlive(lease),
                    Some((moment, End::Answered { answer: Answer::Kept(Some(ttl)), .. })),
                ) => Some((lease.0, moment.time, *ttl)),
                _ => None,
            };
            if let Some((lease, answered, ttl)) = lives {
                let ttl = Duration::from_secs(ttl.unsigned_abs()).div_f64(rate_max);
                alive.entry(lease).or_default().push((answered, called + ttl));
            }
        }
        for (revision, changed) in &self.record.changes {
            let Works { by_revision, in_doubt, .. } = &self.works;
            if by_revision.contains_key(revision) || in_doubt.contains(revision) {
                continue;
            }
            let Some(lease) = self.ended_lease(*revision) else { continue };
            if revoked.get(&lease.0).is_some_and(|asked| *asked <= changed.told) {
                continue;
            }
            // What was answered after the end was on its way.
            let renewals = alive.get(&lease.0).into_iter().flatten();
            let until =
                renewals.filter(|(answered, _)| *answered <= changed.told).map(|(_, until)| *until).max();
            if let Some(until) = until.filter(|until| changed.told < *until) {
                let told = changed.told;
                self.wrong.push(format!("lease {lease:?} has ended by {told:?} in revision {revision}, and was promised until {until:?}"));
            }
        }
    }
}

fn is_serializable(asked: &Asked) -> bool {
    matches!(asked, Asked::Range(range) if range.serializable)
}
