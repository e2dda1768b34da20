//! Whether the store takes writes: a full one refuses what makes it grow, a damaged one every change.
//!
//!     used        under way     this request
//!     [ bytes )[  admitted  )[ its cost )   |        admitted while its end is before the quota
//!                                           ^ quota
//!
//! "Used" is what the memstores account for, now; under way is what was admitted and not answered yet. So requests
//! that come together cannot pass the quota together. Costs are etcd's estimates. Deletions and compactions always
//! pass a full store: they are its way out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};

use journal::Alarm;

use crate::error::Error;
use crate::operation::{Op, Put, Txn};

/// What etcd reckons a key costs beside its bytes.
const KEY_BYTES: u64 = 256;
/// What etcd reckons a lease costs.
const LEASE_BYTES: u64 = 64;

/// What a request would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It may put keys, or grant a lease, and so take about this many bytes.
    Grows { bytes: u64 },
    /// It changes something, and adds nothing.
    Changes,
}

impl Effect {
    /// A lease.
    pub const LEASE: Effect = Effect::Grows { bytes: LEASE_BYTES };

    #[must_use]
    pub fn of_put(put: &Put) -> Effect {
        Effect::Grows { bytes: put_bytes(put) }
    }

    /// That of the branch that would take more.
    #[must_use]
    pub fn of_txn(txn: &Txn) -> Effect {
        match txn_bytes(txn) {
            0 => Effect::Changes,
            bytes => Effect::Grows { bytes },
        }
    }
}

fn put_bytes(put: &Put) -> u64 {
    KEY_BYTES + (put.key.len() + put.value.len()) as u64
}

fn txn_bytes(txn: &Txn) -> u64 {
    let branch = |ops: &[Op]| ops.iter().map(op_bytes).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_bytes(op: &Op) -> u64 {
    match op {
        Op::Put(put) => put_bytes(put),
        Op::Txn(txn) => txn_bytes(txn),
        Op::Range(_) | Op::DeleteRange(_) => 0,
    }
}

/// The quota and the alarms as this endpoint knows them.
#[derive(Debug)]
pub struct Quota {
    is_full: AtomicBool,
    is_corrupt: AtomicBool,
    /// A memstore has no memory for more.
    is_short_of_memory: AtomicBool,
    /// An operator raised the NOSPACE alarm, and only an operator ends it.
    by_operator: AtomicBool,
    bytes_max: AtomicU64,
    /// Of requests that were admitted and are not answered yet.
    under_way: AtomicU64,
    /// What the request that met the quota would have taken. 0: none did.
    missed: AtomicU64,
}

impl Default for Quota {
    /// No limit, and no alarm.
    fn default() -> Quota {
        Quota {
            is_full: AtomicBool::new(false),
            is_corrupt: AtomicBool::new(false),
            is_short_of_memory: AtomicBool::new(false),
            by_operator: AtomicBool::new(false),
            bytes_max: AtomicU64::new(u64::MAX),
            under_way: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

impl Quota {
    /// How large the store may become, from now on.
    pub fn limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// Which alarms are raised, by whichever member, from now on.
    pub fn show(&self, alarms: &[(u64, Alarm)]) {
        let raised = |wanted| alarms.iter().any(|(_, alarm)| *alarm == wanted);
        self.is_full.store(raised(Alarm::NoSpace), Relaxed);
        self.is_corrupt.store(raised(Alarm::Corrupt), Relaxed);
    }

    /// Which alarm was raised just now: whoever raised it is to find it in force.
    pub fn raise(&self, alarm: Alarm) {
        match alarm {
            Alarm::NoSpace => self.is_full.store(true, Relaxed),
            Alarm::Corrupt => self.is_corrupt.store(true, Relaxed),
        }
    }

    /// Whether a memstore has no memory for more, from now on.
    pub(crate) fn heed_memory(&self, is_short: bool) {
        self.is_short_of_memory.store(is_short, Relaxed);
    }

    /// Whether the NOSPACE alarm that is raised, or is about to be, is an operator's.
    pub(crate) fn belongs_to_operator(&self, does: bool) {
        self.by_operator.store(does, Relaxed);
    }

    /// Takes the room of a request that the alarms allow; whether there is any is for the answer to say. It is given
    /// back when that is dropped: by then the request has been answered, and what it wrote is counted as used.
    ///
    /// # Errors
    /// `CorruptCluster`; `NoSpace` for what may grow.
    pub(crate) fn reserve(&self, effect: Effect) -> Result<Admitted<'_>, Error> {
        if self.is_corrupt.load(Relaxed) {
            return Err(Error::CorruptCluster);
        }
        let Effect::Grows { bytes } = effect else {
            return Ok(Admitted { quota: self, before: 0, bytes: 0 });
        };
        if self.is_full.load(Relaxed) || self.is_short_of_memory.load(Relaxed) {
            return Err(Error::NoSpace);
        }
        let before = self.under_way.fetch_add(bytes, AcqRel);
        Ok(Admitted { quota: self, before, bytes })
    }

    /// Remembers what was refused. One of those who miss it is to raise the alarm.
    pub(crate) fn miss(&self, bytes: u64) -> Option<Miss<'_>> {
        let is_first = self.missed.compare_exchange(0, bytes.max(1), Relaxed, Relaxed).is_ok();
        is_first.then(|| Miss { quota: self, is_told: false })
    }

    /// Whether the alarm need not be raised any more: what was refused would be admitted, or a tenth of the quota
    /// is free, so that the alarm does not come and go with each request that is too large.
    pub(crate) fn has_room(&self, used: u64) -> bool {
        let bytes_max = self.bytes_max.load(Relaxed);
        let wanted = self.missed.load(Relaxed).min(bytes_max / 10);
        !self.by_operator.load(Relaxed) && used.saturating_add(wanted) < bytes_max
    }

    pub(crate) fn is_passed(&self, used: u64) -> bool {
        self.bytes_max.load(Relaxed) <= used
    }

    /// No alarm is raised any more: the next to meet the quota raises it.
    pub(crate) fn forget(&self) {
        self.missed.store(0, Relaxed);
        self.belongs_to_operator(false);
    }
}

/// An alarm that is about to be raised. A request that is given up before leaves that to the next.
#[derive(Debug)]
pub(crate) struct Miss<'a> {
    quota: &'a Quota,
    is_told: bool,
}

impl Miss<'_> {
    /// It was raised, or it was told why not.
    pub(crate) fn told(mut self) {
        self.is_told = true;
    }
}

impl Drop for Miss<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.quota.forget();
        }
    }
}

/// The room of a request that is under way.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    quota: &'a Quota,
    /// Of requests that came before it and were under way.
    before: u64,
    pub(crate) bytes: u64,
}

impl Admitted<'_> {
    /// Whether it passes no quota beside the `used` bytes and those that came before it. Nothing is missed where
    /// what had been answered by the time of the reservation is counted as used.
    pub(crate) fn fits(&self, used: impl FnOnce() -> u64) -> bool {
        let end = || used().saturating_add(self.before).saturating_add(self.bytes);
        self.bytes == 0 || end() < self.quota.bytes_max.load(Relaxed)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.quota.under_way.fetch_sub(self.bytes, AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Effect = Effect::Grows { bytes: 300 };

    fn refusal(quota: &Quota, effect: Effect, used: u64) -> Option<&'static str> {
        match quota.reserve(effect) {
            Ok(admitted) => (!admitted.fits(|| used)).then_some("it does not fit"),
            Err(Error::CorruptCluster) => Some("corrupt"),
            Err(Error::NoSpace) => Some("no space"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_full_store_takes_what_does_not_make_it_grow() {
        let quota = Quota::default();
        quota.limit(1_000);
        assert_eq!(refusal(&quota, PUT, 0), None);
        quota.show(&[(7, Alarm::NoSpace)]);
        assert_eq!(refusal(&quota, PUT, 0), Some("no space"));
        assert_eq!(refusal(&quota, Effect::Changes, 2_000), None);
    }

    #[test]
    fn a_damaged_store_takes_no_change() {
        let quota = Quota::default();
        quota.show(&[(7, Alarm::Corrupt)]);
        assert_eq!(refusal(&quota, Effect::Changes, 0), Some("corrupt"));
    }

    #[test]
    fn what_would_reach_the_quota_is_refused_before_it_is_written() {
        let quota = Quota::default();
        quota.limit(1_000);
        assert_eq!(refusal(&quota, PUT, 699), None);
        assert_eq!(refusal(&quota, PUT, 700), Some("it does not fit"));
    }

    #[test]
    fn requests_that_come_together_share_the_room() {
        let quota = Quota::default();
        quota.limit(1_000);
        let [first, second] = [(); 2].map(|()| quota.reserve(PUT).expect("no alarm is raised"));
        assert!(first.fits(|| 200) && second.fits(|| 200));
        assert_eq!(refusal(&quota, PUT, 200), Some("it does not fit"));
        drop(first);
        assert_eq!(refusal(&quota, PUT, 200), None);
        drop(second);
        assert_eq!(quota.under_way.load(Relaxed), 0);
    }

    #[test]
    fn one_of_those_refused_raises_the_alarm_and_it_ends_when_that_one_would_pass() {
        let quota = Quota::default();
        quota.limit(10_000);
        drop(quota.miss(300));
        quota.miss(300).expect("the one before was given up").told();
        assert!(quota.miss(300).is_none());
        assert!(!quota.has_room(9_700) && quota.has_room(9_699));
        quota.forget();
        quota.miss(5_000).expect("nothing is missed").told();
        assert!(!quota.has_room(9_000) && quota.has_room(8_999));
    }

    #[test]
    fn an_operators_alarm_stays() {
        let quota = Quota::default();
        quota.belongs_to_operator(true);
        assert!(!quota.has_room(0));
        quota.forget();
        assert!(quota.has_room(0));
    }

    #[test]
    fn a_transaction_costs_what_its_larger_branch_does() {
        let put = |value: &'static str| Op::Put(Put::new("k", value));
        let nested = Txn { success: vec![put("1234"), put("5")], ..Txn::default() };
        let txn = Txn { success: vec![put("1")], failure: vec![Op::Txn(nested)], ..Txn::default() };
        assert_eq!(Effect::of_txn(&txn), Effect::Grows { bytes: 2 * 256 + 2 + 5 });
        assert_eq!(Effect::of_txn(&Txn::default()), Effect::Changes);
    }
}
