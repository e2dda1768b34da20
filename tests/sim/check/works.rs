//! Whose work each revision is.
//!
//!     it puts something              the request that wrote this value: no two write the same
//!     it deletes, and was answered   whoever was told this revision
//!     it deletes                     a deletion that nobody answered, or a lease that ended: each for one revision at most

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use frontend::EventKind;
use frontend::operation::Op;
use harness::matching::{Unmatched, matching};

use super::Judge;
use crate::history::{Answer, Asked, Changed, End, Request};

#[derive(Default)]
pub(super) struct Works {
    /// The requests by the revision that is their work.
    pub(super) by_revision: BTreeMap<u64, u64>,
    /// Those of them that another deletion without an answer may have done as well.
    pub(super) guessed: BTreeSet<u64>,
    /// Revisions that may be a lease's end or somebody's work.
    pub(super) in_doubt: BTreeSet<u64>,
    pub(super) wrong: Vec<String>,
}

/// A revision that deletes, and whoever may have done that.
struct Riddle<'a> {
    revision: u64,
    suspects: Vec<&'a Request>,
    may_be_a_lease: bool,
}

impl Works {
    pub(super) fn of(judge: &Judge<'_>) -> Works {
        let mut works = Works::default();
        let (mut by_value, mut answered) = (BTreeMap::new(), BTreeMap::new());
        for request in &judge.record.requests {
            by_value.extend(values(&request.asked).into_iter().map(|value| (value, request)));
            if let Some((_, End::Answered { revision, answer: Answer::Delete(answer) })) = &request.ended
                && 0 < answer.deleted
            {
                answered.insert(*revision, request);
            }
        }
        let (mut riddles, mut done) = (Vec::new(), BTreeSet::new());
        for (revision, changed) in &judge.record.changes {
            let put = changed.events.iter().find(|event| event.kind == EventKind::Put);
            let work = match put {
                Some(put) => by_value.get(&put.kv.value),
                None => answered.get(revision),
            };
            match work {
                Some(request) => {
                    if !done.insert(request.id) {
                        works.wrong.push(format!("revision {revision} is done a second time: {request:?}"));
                    }
                    works.is_sure(judge, *revision, changed, request);
                }
                None if put.is_none() => riddles.push(Riddle::new(judge, *revision, changed)),
                None => {
                    works.wrong.push(format!("revision {revision} is nobody's work: {:?}", changed.events));
                }
            }
        }
        works.guess(judge, &riddles);
        works
    }

    fn is_sure(&mut self, judge: &Judge<'_>, revision: u64, changed: &Changed, request: &Request) {
        if !may_have_happened(request) || !judge.does(request, revision, &changed.events) {
            let events = &changed.events;
            self.wrong.push(format!("revision {revision} is {events:?}, which was not done by {request:?}"));
        }
        self.by_revision.insert(revision, request.id);
    }

    /// Finds somebody for each, and nobody for two.
    fn guess(&mut self, judge: &Judge<'_>, riddles: &[Riddle<'_>]) {
        let requests = judge.record.requests.len();
        let number = |request: &&Request| usize::try_from(request.id).expect("it counts requests");
        let options = riddles.iter().enumerate().map(|(at, riddle)| {
            let lease = riddle.may_be_a_lease.then_some(requests + at);
            lease.into_iter().chain(riddle.suspects.iter().map(number)).collect()
        });
        let found = matching(&options.collect::<Vec<Vec<usize>>>());
        let made = match found {
            Ok(made) => made,
            Err(Unmatched { thing, .. }) => {
                let Riddle { revision, suspects, .. } = &riddles[thing];
                let events = &judge.record.changes[revision].events;
                return self.wrong.push(format!(
                    "revision {revision} is nobody's work: {events:?}, at best of {suspects:?}"
                ));
            }
        };
        for (riddle, by) in riddles.iter().zip(made) {
            if by < requests {
                self.by_revision.insert(riddle.revision, by as u64);
                self.guessed.insert(by as u64);
            } else if !riddle.suspects.is_empty() {
                self.in_doubt.insert(riddle.revision);
            }
        }
    }
}

impl<'a> Riddle<'a> {
    fn new(judge: &Judge<'a>, revision: u64, changed: &Changed) -> Riddle<'a> {
        let could = |request: &&Request| {
            matches!(request.asked, Asked::Delete(_))
                && is_unknown(request)
                && request.called.time <= changed.told
                && judge.does(request, revision, &changed.events)
        };
        let suspects = judge.record.requests.iter().filter(could).collect();
        Riddle { revision, suspects, may_be_a_lease: judge.ended_lease(revision).is_some() }
    }
}

fn is_unknown(request: &Request) -> bool {
    !matches!(request.ended, Some((_, End::Refused(_) | End::Answered { .. })))
}

fn may_have_happened(request: &Request) -> bool {
    !matches!(request.ended, Some((_, End::Refused(_))))
}

/// What it writes. No two requests write the same.
fn values(asked: &Asked) -> Vec<Bytes> {
    match asked {
        Asked::Put(put) => vec![put.value.clone()],
        Asked::Txn(txn) => {
            let value = |op: &Op| match op {
                Op::Put(put) => Some(put.value.clone()),
                _ => None,
            };
            txn.ops().filter_map(value).collect()
        }
        _ => Vec::new(),
    }
}
