//! Etcd as a program so simple that one can trust it: one request after another, each at once and alone.
//!
//! The checker executes every committed record's request here, and looks for the moments of all that changed
//! nothing. It shares no code with what frontends evaluate, but what a compare means.

use super::record::{KEYS, KeyRange, LeaseId, NO_LEASE, Revision, SysOp, Write};
use super::request::{Answer, Kv, Kvs, Op, Part, Request};

/// Everything, between two records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serial {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) kvs: Kvs,
    denied: KeyRange,
    /// A bit for each lease that exists.
    leases: u128,
}

impl Serial {
    pub(crate) fn new() -> Serial {
        Serial { revision: 1, compacted: 0, kvs: [None; KEYS], denied: KeyRange::NONE, leases: 0 }
    }

    pub(crate) fn has_lease(&self, lease: LeaseId) -> bool {
        self.leases & (1 << lease) != 0
    }

    /// Executes it, and adds the writes that etcd would do to `effects`. `past` are the keys at the revision that
    /// the request names, if it does.
    pub(crate) fn execute(
        &mut self,
        request: &Request,
        is_guest: bool,
        past: Option<&Kvs>,
        effects: &mut Vec<Write>,
    ) -> Answer {
        if is_guest && !request.is_within_reach(self.denied) {
            return Answer::Denied;
        }
        match request {
            Request::Op(op) => self.execute_ops(&[*op], true, effects),
            Request::Txn(txn) => {
                let succeeded = txn.compares.iter().all(|compare| compare.holds(&self.kvs));
                let ops = if succeeded { &txn.then } else { &txn.otherwise };
                self.execute_ops(ops, succeeded, effects)
            }
            Request::Serializable(keys) => self.execute_ops(&[Op::Range { keys: *keys }], true, effects),
            Request::Past { revision, .. } if self.revision < *revision => Answer::FutureRevision,
            Request::Past { revision, .. } if *revision < self.compacted => Answer::Compacted,
            Request::Past { keys, .. } => {
                let found = select(past.expect("it names a revision"), *keys);
                Answer::Done { revision: self.revision, succeeded: true, parts: vec![Part::Kvs(found)] }
            }
            Request::Revoke { lease } | Request::Expire { lease, .. } => self.revoke(*lease, effects),
            Request::KeepAlive { lease } if self.has_lease(*lease) => Answer::empty(self.revision),
            Request::KeepAlive { .. } => Answer::LeaseNotFound,
            Request::Grant { lease, .. } if self.has_lease(*lease) => Answer::LeaseExists,
            Request::Grant { lease, .. } => {
                self.leases |= 1 << lease;
                Answer::empty(self.revision)
            }
            Request::Compact { revision } if *revision <= self.compacted => Answer::Compacted,
            Request::Compact { revision } if self.revision < *revision => Answer::FutureRevision,
            Request::Compact { revision } => {
                self.compacted = *revision;
                Answer::empty(self.revision)
            }
            Request::Auth { denied } => {
                self.denied = *denied;
                Answer::empty(self.revision)
            }
            Request::Mark { .. } | Request::Routes(_) => Answer::empty(self.revision),
        }
    }

    fn execute_ops(&mut self, ops: &[Op], succeeded: bool, effects: &mut Vec<Write>) -> Answer {
        if ops.iter().filter_map(|op| op.lease()).any(|lease| !self.has_lease(lease)) {
            return Answer::LeaseNotFound;
        }
        let next = self.revision + 1;
        let before = effects.len();
        let parts = ops.iter().map(|op| self.execute_op(*op, next, effects)).collect();
        self.revision = if before < effects.len() { next } else { self.revision };
        Answer::Done { revision: self.revision, succeeded, parts }
    }

    fn execute_op(&mut self, op: Op, next: Revision, effects: &mut Vec<Write>) -> Part {
        match op {
            Op::Put { key, value, lease, prev } => {
                effects.push(Write::Put { key, value, lease });
                let old = put(&mut self.kvs, key, value, lease, next);
                Part::Put(if prev { old } else { None })
            }
            Op::Delete { keys } => {
                let found = select(&self.kvs, keys);
                for (key, _) in &found {
                    self.kvs[*key] = None;
                    effects.push(Write::Delete { key: *key });
                }
                Part::Kvs(found)
            }
            Op::Range { keys } => Part::Kvs(select(&self.kvs, keys)),
        }
    }

    fn revoke(&mut self, lease: LeaseId, effects: &mut Vec<Write>) -> Answer {
        if !self.has_lease(lease) {
            return Answer::LeaseNotFound;
        }
        self.leases &= !(1 << lease);
        assert_ne!(lease, NO_LEASE, "it is a lease");
        let before = effects.len();
        for (key, kv) in self.kvs.iter_mut().enumerate() {
            if kv.is_some_and(|kv| kv.lease == lease) {
                *kv = None;
                effects.push(Write::Delete { key });
            }
        }
        self.revision += usize::from(before < effects.len());
        Answer::empty(self.revision)
    }
}

fn select(kvs: &Kvs, keys: KeyRange) -> Vec<(usize, Kv)> {
    keys.keys().filter_map(|key| kvs[key].map(|kv| (key, kv))).collect()
}

fn put(kvs: &mut Kvs, key: usize, value: usize, lease: LeaseId, revision: Revision) -> Option<Kv> {
    let old = kvs[key];
    let mut kv = Kv { value, lease, created: revision, modified: revision, version: 1 };
    if let Some(old) = old {
        kv.created = old.created;
        kv.version = old.version + 1;
    }
    kvs[key] = Some(kv);
    old
}

/// Whether a record of this kind could come of the request at all.
pub(crate) fn fits(request: &Request, sysop: Option<&SysOp>) -> bool {
    matches!(
        (request, sysop),
        (Request::Op(_) | Request::Txn(_), None)
            | (Request::Grant { .. }, Some(SysOp::Grant { .. }))
            | (Request::Revoke { .. }, Some(SysOp::Revoke { expired_in: None, .. }))
            | (Request::Expire { .. }, Some(SysOp::Revoke { expired_in: Some(_), .. }))
            | (Request::Compact { .. }, Some(SysOp::Compact { .. }))
            | (Request::Auth { .. }, Some(SysOp::Auth { .. }))
            | (Request::Mark { .. }, Some(SysOp::Mark { .. }))
            | (Request::Routes(_), Some(SysOp::Routes(_)))
    )
}
