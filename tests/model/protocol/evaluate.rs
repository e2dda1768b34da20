//! What a request does to what was looked at: pure, and only right if nothing it looked at has changed since.

use super::record::{KeyRange, NO_LEASE, Read, Revision, SysOp, Write};
use super::request::{Answer, Kv, Kvs, Op, Part, Request, Txn};

/// The revision of what the request itself writes: nobody knows it yet.
const OWN: Revision = Revision::MAX;

/// What was looked at: each key as its partition had it, and at which revision that was.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) kvs: Kvs,
    pub(crate) at: [Revision; super::record::KEYS],
}

/// What it does, and would answer.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sysop: Option<SysOp>,
    succeeded: bool,
    parts: Vec<Part>,
}

impl Draft {
    pub(crate) fn of_sysop(sysop: SysOp) -> Draft {
        let (reads, writes) = (Vec::new(), Vec::new());
        Draft { reads, writes, sysop: Some(sysop), succeeded: true, parts: Vec::new() }
    }

    /// What a request is fenced by.
    pub(crate) fn empty() -> Draft {
        let (reads, writes) = (Vec::new(), Vec::new());
        Draft { reads, writes, sysop: None, succeeded: true, parts: Vec::new() }
    }

    pub(crate) fn has_effects(&self) -> bool {
        !self.writes.is_empty() || self.sysop.is_some()
    }

    /// The answer, now that the revision is known.
    pub(crate) fn settle(&self, revision: Revision) -> Answer {
        let mut parts = self.parts.clone();
        for part in &mut parts {
            let Part::Kvs(kvs) = part else { continue };
            for (_, kv) in kvs {
                kv.created = if kv.created == OWN { revision } else { kv.created };
                kv.modified = if kv.modified == OWN { revision } else { kv.modified };
            }
        }
        Answer::Done { revision, succeeded: self.succeeded, parts }
    }
}

/// Works a request out that is evaluated.
pub(crate) fn evaluate(request: &Request, view: &View) -> Draft {
    let mut work = Work { kvs: view.kvs, view, reads: Vec::new(), writes: Vec::new() };
    let (mut succeeded, mut parts, mut sysop) = (true, Vec::new(), None);
    match request {
        Request::Op(op) => parts.push(work.run(*op)),
        Request::Txn(txn) => (succeeded, parts) = work.transact(txn),
        Request::Revoke { lease } => {
            work.detach(*lease);
            sysop = Some(SysOp::Revoke { lease: *lease, expired_in: None });
        }
        Request::Expire { lease, term } => {
            work.detach(*lease);
            sysop = Some(SysOp::Revoke { lease: *lease, expired_in: Some(*term) });
        }
        Request::Serializable(keys) | Request::Past { keys, .. } => parts.push(Part::Kvs(work.find(*keys))),
        _ => unreachable!("it looks at no key"),
    }
    Draft { reads: work.reads, writes: work.writes, sysop, succeeded, parts }
}

struct Work<'a> {
    /// With the request's own writes.
    kvs: Kvs,
    view: &'a View,
    reads: Vec<Read>,
    writes: Vec<Write>,
}

impl Work<'_> {
    /// Each range at the revision of its partition, and never at the highest of them: what another partition had
    /// not applied by then would count as seen.
    fn look(&mut self, keys: KeyRange) {
        let mut from = keys.from;
        for key in keys.keys() {
            if key + 1 == keys.to || self.view.at[key + 1] != self.view.at[from] {
                let at = self.view.at[from];
                self.reads.push(Read::Keys { keys: KeyRange { from, to: key + 1 }, at });
                from = key + 1;
            }
        }
    }

    fn find(&mut self, keys: KeyRange) -> Vec<(usize, Kv)> {
        self.look(keys);
        keys.keys().filter_map(|key| self.kvs[key].map(|kv| (key, kv))).collect()
    }

    fn transact(&mut self, txn: &Txn) -> (bool, Vec<Part>) {
        txn.compares.iter().for_each(|compare| self.look(compare.keys));
        let succeeded = txn.compares.iter().all(|compare| compare.holds(&self.view.kvs));
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        (succeeded, ops.iter().map(|op| self.run(*op)).collect())
    }

    fn run(&mut self, op: Op) -> Part {
        match op {
            Op::Put { key, value, lease, prev } => {
                if prev {
                    self.look(KeyRange::single(key));
                }
                let old = self.kvs[key];
                let (created, version) = old.map_or((OWN, 1), |old| (old.created, old.version + 1));
                self.kvs[key] = Some(Kv { value, lease, created, modified: OWN, version });
                self.writes.push(Write::Put { key, value, lease });
                Part::Put(old.filter(|_| prev))
            }
            Op::Delete { keys } => {
                let found = self.find(keys);
                for (key, _) in &found {
                    self.kvs[*key] = None;
                    self.writes.push(Write::Delete { key: *key });
                }
                Part::Kvs(found)
            }
            Op::Range { keys } => Part::Kvs(self.find(keys)),
        }
    }

    /// What is attached to the lease goes with it. What was attached after a partition was looked at is seen by
    /// the lease itself being in the footprint, as of whoever was furthest behind.
    fn detach(&mut self, lease: usize) {
        assert_ne!(lease, NO_LEASE, "it is a lease");
        for key in KeyRange::ALL.keys() {
            if self.kvs[key].is_some_and(|kv| kv.lease == lease) {
                self.look(KeyRange::single(key));
                self.writes.push(Write::Delete { key });
            }
        }
        let at = *self.view.at.iter().min().expect("there are keys");
        self.reads.push(Read::Lease { lease, at });
    }
}
