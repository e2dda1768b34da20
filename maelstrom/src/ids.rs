//! Names that nobody else gives: of this node, of this life of it, and of one thing in it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gives them.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: String,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn of(node: &str) -> Ids {
        Ids { prefix: format!("{node}-{:016x}", rand::random::<u64>()), next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> String {
        format!("{}-{}", self.prefix, self.next.fetch_add(1, Relaxed))
    }
}
