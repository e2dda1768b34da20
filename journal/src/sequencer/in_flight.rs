//! What is sequenced and not yet known to be committed, as far as later appends must know of it.
//!
//! Whoever asks looks here first and then at the applied state. What is told committed is applied already, so
//! there is no moment at which neither knows.

use hashbrown::{HashMap, HashSet};

use crate::origin::Origin;
use crate::record::{LeaseId, Record, SysOp};
use crate::revision::Revision;

#[derive(Clone, Copy, Debug)]
struct Change {
    /// Whether the lease exists after the last record about it.
    exists: bool,
    records: usize,
}

/// Bounded by the queue, whose records it follows.
pub(super) struct InFlight {
    requests: HashSet<(u64, u64)>,
    leases: HashMap<LeaseId, Change>,
    /// The highest compaction sequenced so far.
    compacted: Revision,
    /// The last version of the routes sequenced so far.
    routes: u64,
}

impl InFlight {
    pub(super) fn new(compacted: Revision, routes: u64) -> InFlight {
        InFlight { requests: HashSet::new(), leases: HashMap::new(), compacted, routes }
    }

    pub(super) fn note(&mut self, record: &Record) {
        self.note_request(record.origin);
        match &record.sysop {
            Some(SysOp::LeaseGrant { lease, .. }) => self.note_lease(*lease, true),
            Some(SysOp::LeaseRevoke { lease, .. }) => self.note_lease(*lease, false),
            Some(SysOp::Compact { revision }) => self.compacted = self.compacted.max(*revision),
            Some(SysOp::Routes(routes)) => self.routes = routes.version(),
            _ => {}
        }
    }

    /// The journal itself, frontend 0, never asks twice.
    pub(super) fn note_request(&mut self, origin: Origin) {
        if origin.frontend != 0 {
            let new = self.requests.insert((origin.frontend, origin.seq));
            assert!(new, "a request is sequenced once");
        }
    }

    fn note_lease(&mut self, lease: LeaseId, exists: bool) {
        let change = self.leases.entry(lease).or_insert(Change { exists, records: 0 });
        change.exists = exists;
        change.records += 1;
    }

    /// A record is committed.
    pub(super) fn forget(&mut self, origin: Origin, sysop: Option<&SysOp>) {
        self.forget_request(origin);
        if let Some(SysOp::LeaseGrant { lease, .. } | SysOp::LeaseRevoke { lease, .. }) = sysop {
            let change = self.leases.get_mut(lease).expect("it was noted");
            change.records -= 1;
            if change.records == 0 {
                self.leases.remove(lease);
            }
        }
    }

    pub(super) fn forget_request(&mut self, origin: Origin) {
        self.requests.remove(&(origin.frontend, origin.seq));
    }

    pub(super) fn has(&self, origin: Origin) -> bool {
        self.requests.contains(&(origin.frontend, origin.seq))
    }

    /// Whether a grant or revocation of the lease is on its way.
    pub(super) fn changes(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Whether the lease will exist once everything is committed; `None` when nothing is on its way.
    pub(super) fn lease_exists(&self, lease: LeaseId) -> Option<bool> {
        self.leases.get(&lease).map(|change| change.exists)
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn routes(&self) -> u64 {
        self.routes
    }
}
