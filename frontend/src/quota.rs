//! Whether the store takes writes: a full one refuses what makes it grow, a damaged one every change.
//!
//! Deletions and compactions always pass a full store: they are its way out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use journal::Alarm;

use crate::error::Error;

/// What a request would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It may put a key, or grant a lease.
    Grows,
    /// It changes something, and adds nothing.
    Changes,
}

/// The alarms as this endpoint knows them. Whoever watches alarms and figures sets it; requests only look.
#[derive(Debug, Default)]
pub struct Quota {
    is_full: AtomicBool,
    is_corrupt: AtomicBool,
}

impl Quota {
    /// Which alarms are raised, from now on.
    pub fn show(&self, is_full: bool, is_corrupt: bool) {
        self.is_full.store(is_full, Relaxed);
        self.is_corrupt.store(is_corrupt, Relaxed);
    }

    /// Which alarm was raised just now: whoever raised it is to find it in force.
    pub fn raise(&self, alarm: Alarm) {
        match alarm {
            Alarm::NoSpace => self.is_full.store(true, Relaxed),
            Alarm::Corrupt => self.is_corrupt.store(true, Relaxed),
        }
    }

    /// # Errors
    /// `NoSpace` or `CorruptCluster`.
    pub fn admit(&self, effect: Effect) -> Result<(), Error> {
        if self.is_corrupt.load(Relaxed) {
            return Err(Error::CorruptCluster);
        }
        if effect == Effect::Grows && self.is_full.load(Relaxed) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_takes_what_does_not_make_it_grow() {
        let quota = Quota::default();
        assert_eq!(quota.admit(Effect::Grows), Ok(()));
        quota.show(true, false);
        assert_eq!(quota.admit(Effect::Grows), Err(Error::NoSpace));
        assert_eq!(quota.admit(Effect::Changes), Ok(()));
    }

    #[test]
    fn a_damaged_store_takes_no_change() {
        let quota = Quota::default();
        quota.show(false, true);
        assert_eq!(quota.admit(Effect::Changes), Err(Error::CorruptCluster));
    }
}
