//! Fence behind the proposals of one sequencer, which closes at the first one that is refused.
//!
//!     proposed   1   2   3   4
//!     openraft   ok  no  ok  ok         it refuses 2 because its lease has expired, and takes 3 when that is renewed
//!     the log    1       -   -          3 and 4 rest on 2: they are written as batches of no term, which are void
//!
//! openraft answers a refusal before it takes the next proposal, so whatever is written after it finds the fence closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The fence. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fence {
    is_closed: Arc<AtomicBool>,
}

impl Fence {
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}
