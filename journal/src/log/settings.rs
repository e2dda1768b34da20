//! Measures of a log, by the storage that it has.

use super::queue::ITEMS_MAX;
use crate::config::Storage;

/// A log's measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) segment_bytes: u64,
    /// Of the newest entries. What is not yet durable is kept beyond it.
    pub(super) recent_bytes_max: usize,
    /// Whether a thread makes the next segment ready ahead.
    pub(super) make_ahead: bool,
    /// Upper bound on the steps that wait for the log's thread.
    pub(super) queue_items_max: usize,
}

impl Settings {
    pub(super) fn of(storage: &Storage) -> Settings {
        match storage {
            Storage::Directory(_) => Settings {
                segment_bytes: 64 << 20,
                recent_bytes_max: 8 << 20,
                make_ahead: true,
                queue_items_max: ITEMS_MAX,
            },
            // Here a segment is memory, too: small ones are given back sooner.
            Storage::Memory => Settings {
                segment_bytes: 4 << 20,
                recent_bytes_max: 0,
                make_ahead: false,
                queue_items_max: ITEMS_MAX,
            },
        }
    }
}
