//! Life of the machine around the simulated disk: slow and hanging disks, bits that rot, kills and lost power.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::bits::Bits;
use super::{Content, Disk, Faults, Sim, apply};

impl Sim {
    /// From now on this goes wrong.
    pub fn suffer(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// From now on a write takes so long; `None`: it hangs.
    pub fn slow(&self, write_takes: Option<Duration>) {
        let mut disk = self.0.lock();
        disk.stands_still = write_takes.is_none();
        disk.write_takes = write_takes.unwrap_or_default();
    }

    /// What a write takes now; `None` while it hangs.
    pub(crate) fn write_takes(&self) -> Option<Duration> {
        let disk = self.0.lock();
        (!disk.stands_still).then_some(disk.write_takes)
    }

    /// Changes a bit of what was written and not just now, if the seed hits one. Whoever reads it finds another.
    pub fn rot(&self, seed: u64) {
        let mut bits = Bits(seed);
        let disk = self.0.lock();
        let files = disk.names.len().max(1) as u64;
        let nth = usize::try_from(bits.next() % files).unwrap_or(0);
        if let Some(content) = disk.names.values().nth(nth) {
            content.written.lock().rot(bits.next(), bits.next());
        }
    }

    /// Whether a bit is not what was written.
    #[must_use]
    pub fn is_rotten(&self) -> bool {
        self.0.lock().names.values().any(|content| content.written.lock().is_rotten())
    }

    /// Every bit is again what was written.
    pub fn mend(&self) {
        self.0.lock().names.values().for_each(|content| content.written.lock().mend());
    }

    /// Whether the machine has stopped in one of its operations.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Returns whether the process was killed in one of its operations.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.0.lock().killed
    }

    /// The process has ended, and the machine has not: the next process finds what the machine has in memory.
    pub fn release(&self) {
        self.0.lock().killed = false;
    }

    /// How much it has been asked to do so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// A copy of what is on the disk now, as a backup takes it.
    #[must_use]
    pub fn copy(&self) -> Sim {
        let copy = |content: &Arc<Content>| {
            let mut written = content.written.lock().clone();
            written.lose_cache();
            Content::new(content.bytes, content.bytes, written)
        };
        let disk = self.0.lock();
        let names: BTreeMap<_, _> =
            disk.names.iter().map(|(name, content)| (name.clone(), copy(content))).collect();
        Sim(Arc::new(Mutex::new(Disk { durable: names.clone(), names, ..Disk::default() })))
    }

    /// Stops the machine now, if it has not stopped, and answers the disk as the next start finds it.
    #[must_use]
    pub fn restart(&self, faults: Faults) -> Sim {
        let mut disk = self.0.lock();
        disk.crashed = true;
        let mut bits = Bits(disk.faults.seed ^ disk.operations ^ 0xd15c);
        let mut names = disk.durable.clone();
        for change in &disk.changes {
            if bits.coin() {
                apply(&mut names, change);
            }
        }
        let copy = |content: &Arc<Content>| {
            let bytes = content.durable_bytes.load(Ordering::Relaxed);
            let mut written = content.written.lock().clone();
            written.lose_cache();
            written.shorten(bytes);
            Content::new(bytes, bytes, written)
        };
        let names: BTreeMap<_, _> =
            names.iter().map(|(name, content)| (name.clone(), copy(content))).collect();
        let durable = names.clone();
        let (write_takes, stands_still) = (disk.write_takes, disk.stands_still);
        Sim(Arc::new(Mutex::new(Disk {
            faults,
            names,
            durable,
            write_takes,
            stands_still,
            ..Disk::default()
        })))
    }
}
