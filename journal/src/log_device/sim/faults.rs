//! Faults of the simulated disk, and the fate of one operation under them.

use std::io;

use super::Disk;
use super::bits::Bits;

/// Faults and their times. Operations are counted from 0: each create, write, rename, remove and sync.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub seed: u64,
    /// The machine stops in this operation.
    pub crash_at: Option<u64>,
    /// The process is killed in this operation: the machine keeps in memory what the operation had done by then.
    pub kill_at: Option<u64>,
    /// This operation reports an error, having done part of its work. The next one succeeds.
    pub fail_at: Option<u64>,
    /// The disk holds no more than this.
    pub bytes_max: Option<u64>,
}

/// Fate of one operation.
pub(super) enum Fate {
    Done,
    Partly(Part),
    Refused(io::Error),
}

/// The part of an operation that is done, and the error that the process is told of.
pub(super) struct Part {
    /// Decide how much is done.
    pub(super) bits: Bits,
    pub(super) error: io::Error,
    /// The machine has seen the bytes of a write from the first on up to some place, and none behind it.
    pub(super) is_in_order: bool,
}

impl Disk {
    pub(super) fn operate(&mut self) -> Fate {
        let operation = self.operations;
        self.operations += 1;
        if self.crashed {
            return Fate::Refused(stopped());
        }
        if self.killed {
            return Fate::Refused(killed());
        }
        let bits = Bits(self.faults.seed ^ operation.wrapping_mul(0xa076_1d64_78bd_642f));
        let part = |error, is_in_order| Fate::Partly(Part { bits, error, is_in_order });
        if self.faults.crash_at == Some(operation) {
            self.crashed = true;
            return part(stopped(), false);
        }
        if self.faults.kill_at == Some(operation) {
            self.killed = true;
            return part(killed(), true);
        }
        if self.faults.fail_at == Some(operation) {
            return part(io::Error::from_raw_os_error(5), false);
        }
        Fate::Done
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn killed() -> io::Error {
    io::Error::other("the process was killed")
}
