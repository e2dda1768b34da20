//! The store as one would write it without thinking of failures: what a request does to a map of keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use frontend::answer::{DeleteAnswer, OpAnswer, PutAnswer, RangeAnswer, TxnAnswer};
use frontend::operation::{Compare, DeleteRange, Op, Put, Range, Relation, Subject, Txn};
use frontend::{EventKind, KeyRange, KeyValue, LeaseId, Revision};

use crate::history::{Answer, Asked, Seen};

/// All keys at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) keys: BTreeMap<Bytes, KeyValue>,
}

impl State {
    /// What a watcher is told of `events` at this state, or what is wrong with them.
    pub(crate) fn apply(&mut self, revision: u64, events: &[Seen]) -> Result<(), String> {
        for event in events {
            let before = self.keys.get(&event.kv.key).cloned();
            if event.prev.is_some() && event.prev != before {
                return Err(format!(
                    "revision {revision}: {event:?} tells what was before it, which is {before:?}"
                ));
            }
            let expected = match event.kind {
                EventKind::Put => {
                    put(before.as_ref(), &event.kv.key, &event.kv.value, event.kv.lease, revision)
                }
                EventKind::Delete if before.is_some() => {
                    KeyValue::deleted(event.kv.key.clone(), Revision(revision))
                }
                EventKind::Delete => return Err(format!("revision {revision}: {event:?} deletes nothing")),
            };
            if expected != event.kv {
                return Err(format!("revision {revision}: {event:?} should be {expected:?}"));
            }
            match event.kind {
                EventKind::Put => drop(self.keys.insert(expected.key.clone(), expected)),
                EventKind::Delete => drop(self.keys.remove(&event.kv.key)),
            }
        }
        Ok(())
    }

    /// What the request does as `revision`, and is answered. `None`: it is no request of keys.
    pub(crate) fn execute(&self, asked: &Asked, revision: u64) -> Option<(Vec<Seen>, Answer)> {
        let mut work = Work { keys: self.keys.clone(), events: Vec::new(), revision };
        let answer = match asked {
            Asked::Put(put) => Answer::Put(work.put(put)),
            Asked::Delete(delete) => Answer::Delete(work.delete(delete)),
            Asked::Range(range) => Answer::Range(work.range(range)),
            Asked::Txn(txn) => Answer::Txn(work.txn(txn)),
            _ => return None,
        };
        Some((work.events, answer))
    }

    /// The keys of a lease.
    pub(crate) fn attached(&self, lease: LeaseId) -> Vec<&Bytes> {
        self.keys.values().filter(|kv| kv.lease == lease).map(|kv| &kv.key).collect()
    }
}

fn put(before: Option<&KeyValue>, key: &Bytes, value: &Bytes, lease: LeaseId, revision: u64) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: value.clone(),
        create_revision: before.map_or(Revision(revision), |before| before.create_revision),
        mod_revision: Revision(revision),
        version: before.map_or(0, |before| before.version) + 1,
        lease,
    }
}

struct Work {
    keys: BTreeMap<Bytes, KeyValue>,
    events: Vec<Seen>,
    revision: u64,
}

impl Work {
    fn inside(&self, keys: &KeyRange) -> Vec<KeyValue> {
        self.keys.values().filter(|kv| keys.contains(&kv.key)).cloned().collect()
    }

    fn put(&mut self, asked: &Put) -> PutAnswer {
        let before = self.keys.get(&asked.key).cloned();
        let kv = put(before.as_ref(), &asked.key, &asked.value, asked.lease, self.revision);
        self.keys.insert(kv.key.clone(), kv.clone());
        self.events.push(Seen { kind: EventKind::Put, kv, prev: before.clone() });
        PutAnswer { revision: Revision(self.revision), prev_kv: before.filter(|_| asked.prev_kv) }
    }

    fn delete(&mut self, asked: &DeleteRange) -> DeleteAnswer {
        let gone = self.inside(&asked.keys);
        for before in &gone {
            self.keys.remove(&before.key);
            let kv = KeyValue::deleted(before.key.clone(), Revision(self.revision));
            self.events.push(Seen { kind: EventKind::Delete, kv, prev: Some(before.clone()) });
        }
        let deleted = gone.len() as u64;
        let prev_kvs = if asked.prev_kv { gone } else { Vec::new() };
        DeleteAnswer { revision: Revision(self.revision), deleted, prev_kvs }
    }

    fn range(&self, asked: &Range) -> RangeAnswer {
        let mut kvs = self.inside(&asked.keys);
        let count = kvs.len() as u64;
        let more = 0 < asked.limit && asked.limit < kvs.len();
        if more {
            kvs.truncate(asked.limit);
        }
        RangeAnswer { revision: Revision(self.revision), kvs, more, count }
    }

    fn txn(&mut self, asked: &Txn) -> TxnAnswer {
        let succeeded = asked.compares.iter().all(|compare| self.holds(compare));
        let mut answers = Vec::new();
        for op in asked.branch(succeeded) {
            answers.push(match op {
                Op::Range(range) => OpAnswer::Range(self.range(range)),
                Op::Put(put) => OpAnswer::Put(self.put(put)),
                Op::DeleteRange(delete) => OpAnswer::DeleteRange(self.delete(delete)),
                Op::Txn(txn) => OpAnswer::Txn(self.txn(txn)),
            });
        }
        TxnAnswer { revision: Revision(self.revision), succeeded, answers }
    }

    /// Of what clients compare here.
    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.inside(&compare.keys).pop().unwrap_or_default();
        let (found, given) = match &compare.subject {
            Subject::Mod(revision) => (kv.mod_revision.0.cast_signed(), *revision),
            Subject::Version(version) => (kv.version.cast_signed(), *version),
            other => unreachable!("nobody compares {other:?}"),
        };
        match compare.relation {
            Relation::Equal => found == given,
            Relation::Greater => given < found,
            other => unreachable!("nobody compares by {other:?}"),
        }
    }
}

/// The answer without the revisions inside it: the header's is looked at alone.
pub(crate) fn bare(answer: Answer) -> Answer {
    match answer {
        Answer::Put(put) => Answer::Put(PutAnswer { revision: Revision::ZERO, ..put }),
        Answer::Delete(delete) => Answer::Delete(DeleteAnswer { revision: Revision::ZERO, ..delete }),
        Answer::Range(range) => Answer::Range(RangeAnswer { revision: Revision::ZERO, ..range }),
        Answer::Txn(txn) => {
            let bare = |answer| match answer {
                OpAnswer::Put(put) => OpAnswer::Put(PutAnswer { revision: Revision::ZERO, ..put }),
                OpAnswer::DeleteRange(delete) => {
                    OpAnswer::DeleteRange(DeleteAnswer { revision: Revision::ZERO, ..delete })
                }
                OpAnswer::Range(range) => OpAnswer::Range(RangeAnswer { revision: Revision::ZERO, ..range }),
                txn @ OpAnswer::Txn(_) => txn,
            };
            let answers = txn.answers.into_iter().map(bare).collect();
            Answer::Txn(TxnAnswer { revision: Revision::ZERO, succeeded: txn.succeeded, answers })
        }
        other => other,
    }
}
