//! What clients ask for, by chance: requests that meet on few keys, with guards that are often true.

use super::mix::Wish;
use super::record::{KEYS, Key, KeyRange, LeaseId, NO_LEASE};
use super::request::{Compare, Op, Request, Target, Txn};
use super::world::World;

/// The checker has a bit for each.
const LEASES_MAX: LeaseId = 100;

impl World {
    /// A request, and whether a guest asks.
    pub(crate) fn wish(&mut self) -> (Request, bool) {
        let is_guest = self.rng.percent(self.mix.guests);
        let request = match self.mix.next_wish(&mut self.rng) {
            Wish::Put => Request::Op(self.any_put()),
            Wish::Delete => Request::Op(Op::Delete { keys: self.any_keys() }),
            Wish::Range => Request::Op(Op::Range { keys: self.any_keys() }),
            Wish::Txn => Request::Txn(self.any_txn()),
            Wish::Serializable => return (Request::Serializable(self.any_keys()), false),
            Wish::Past => {
                let revision = self.rng.within(1, self.checker.now().revision + 1);
                Request::Past { keys: self.any_keys(), revision }
            }
            Wish::Grant if self.leases < LEASES_MAX => return (self.any_grant(), false),
            Wish::Revoke => return (self.with_lease(|lease| Request::Revoke { lease }), false),
            Wish::KeepAlive => return (self.with_lease(|lease| Request::KeepAlive { lease }), false),
            Wish::Compact => {
                let revision = self.rng.within(1, self.checker.now().revision);
                return (Request::Compact { revision }, false);
            }
            Wish::Auth => {
                let denied = if self.rng.percent(40) { KeyRange::NONE } else { self.any_keys() };
                return (Request::Auth { denied }, false);
            }
            Wish::Grant => Request::Op(self.any_put()),
        };
        (request, is_guest)
    }

    fn with_lease(&mut self, request: impl FnOnce(LeaseId) -> Request) -> Request {
        match self.any_lease() {
            NO_LEASE => Request::Op(self.any_put()),
            lease => request(lease),
        }
    }

    /// Under a new name, or under one that was granted before and may be free again.
    fn any_grant(&mut self) -> Request {
        let ttl = self.rng.within(self.mix.ttl_max / 3, self.mix.ttl_max);
        let again = if self.rng.percent(self.mix.renamed) { self.any_lease() } else { NO_LEASE };
        if again != NO_LEASE {
            return Request::Grant { lease: again, ttl };
        }
        self.leases += 1;
        Request::Grant { lease: self.leases, ttl }
    }

    /// One that was granted once, and lately.
    fn any_lease(&mut self) -> LeaseId {
        let granted: Vec<LeaseId> = self.checker.granted().collect();
        if granted.is_empty() {
            return NO_LEASE;
        }
        let recent = granted.len().saturating_sub(3);
        granted[self.rng.within(recent, granted.len() - 1)]
    }

    fn any_key(&mut self) -> Key {
        self.rng.below(KEYS)
    }

    fn any_keys(&mut self) -> KeyRange {
        match self.rng.below(10) {
            0 => KeyRange::ALL,
            1..4 => {
                let from = self.any_key();
                KeyRange { from, to: self.rng.within(from + 1, KEYS) }
            }
            _ => KeyRange::single(self.any_key()),
        }
    }

    fn any_put(&mut self) -> Op {
        let lease = if self.rng.percent(self.mix.leased) { self.any_lease() } else { NO_LEASE };
        self.values += 1;
        let prev = !self.rng.percent(self.mix.blind);
        Op::Put { key: self.any_key(), value: self.values, lease, prev }
    }

    fn any_txn(&mut self) -> Txn {
        if self.rng.percent(self.mix.guarded) {
            return self.guarded_put();
        }
        let compares = (0..self.rng.within(0, 2)).map(|_| self.any_compare()).collect();
        let then = self.any_ops(1);
        Txn { compares, then, otherwise: self.any_ops(0) }
    }

    /// As Kubernetes writes: the key unless it has changed, or else a look at it.
    fn guarded_put(&mut self) -> Txn {
        let put = self.any_put();
        let keys = put.keys();
        let modified = self.checker.now().kvs[keys.from].map_or(0, |kv| kv.modified);
        let compares = vec![Compare { keys, target: Target::Modified(modified) }];
        Txn { compares, then: vec![put], otherwise: vec![Op::Range { keys }] }
    }

    /// Etcd refuses two puts of a key, and puts of what is deleted, in one transaction.
    fn any_ops(&mut self, min: usize) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for _ in 0..self.rng.within(min, 3) {
            let op = match self.rng.below(10) {
                0..5 => self.any_put(),
                5..7 => Op::Delete { keys: self.any_keys() },
                _ => Op::Range { keys: self.any_keys() },
            };
            let is_write = |op: &Op| !matches!(op, Op::Range { .. });
            let twice = |other: &Op| is_write(&op) && is_write(other) && other.keys().overlaps(op.keys());
            if !ops.iter().any(twice) {
                ops.push(op);
            }
        }
        ops
    }

    fn any_compare(&mut self) -> Compare {
        let keys = self.any_keys();
        let kv = self.checker.now().kvs[keys.from];
        let target = match self.rng.below(5) {
            0 => Target::Version(0),
            1 => Target::Version(kv.map_or(0, |kv| kv.version)),
            2 => Target::Value(kv.map_or(1, |kv| kv.value)),
            _ => Target::Modified(kv.map_or(0, |kv| kv.modified)),
        };
        Compare { keys, target }
    }
}
