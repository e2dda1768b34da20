//! Which keys are attached to a lease now.

use std::collections::HashMap;
use std::collections::HashSet;

use journal::LeaseId;

use crate::store::slab::Slot;

/// For looking up only: whoever shows the keys to somebody sorts them.
#[derive(Default)]
pub(crate) struct LeaseIndex {
    leases: HashMap<LeaseId, HashSet<Slot>>,
    keys: usize,
}

impl LeaseIndex {
    /// The key leaves the lease it had and joins the one it has. `LeaseId::NONE` is no lease.
    pub(crate) fn attach(&mut self, slot: Slot, before: LeaseId, now: LeaseId) {
        if before == now {
            return;
        }
        if before != LeaseId::NONE {
            self.detach(slot, before);
        }
        if now != LeaseId::NONE {
            assert!(self.leases.entry(now).or_default().insert(slot), "a key is attached once");
            self.keys += 1;
        }
    }

    fn detach(&mut self, slot: Slot, lease: LeaseId) {
        let keys = self.leases.get_mut(&lease).expect("a key's lease knows of it");
        assert!(keys.remove(&slot), "a key's lease knows of it");
        if keys.is_empty() {
            self.leases.remove(&lease);
        }
        self.keys -= 1;
    }

    /// The places of the keys attached to `lease`, in no order.
    pub(crate) fn slots(&self, lease: LeaseId) -> impl Iterator<Item = Slot> {
        self.leases.get(&lease).into_iter().flatten().copied()
    }

    /// Keys attached to any lease.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }
}
