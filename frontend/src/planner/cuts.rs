//! Where partitions can be cut, as whoever holds them says; and those of which nobody knew a place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use memstore::{Memstore, MiddleOf, PartitionId};

use crate::plan::Why;

/// How long until it is asked again where one can be cut that could not.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long one may take to answer: it goes over half of what it holds.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Those that cannot be cut, and since when.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    whole: BTreeMap<u64, Instant>,
}

impl Cuts {
    pub(super) fn is_whole(&self, partition: u64) -> bool {
        self.whole.contains_key(&partition)
    }

    /// Forgets the partitions that are not `known`, and what is long ago.
    pub(super) fn keep(&mut self, known: impl Fn(u64) -> bool, now: Instant) {
        self.whole.retain(|id, since| known(*id) && now.duration_since(*since) < ASK_AGAIN_AFTER);
    }

    /// The key to cut the partition at, which is too large or too busy. One of the `holders` that knows is enough.
    pub(super) async fn cut(
        &mut self,
        partition: u64,
        why: Why,
        holders: &[Memstore],
        now: Instant,
    ) -> Option<Bytes> {
        let of = if why == Why::Busy { MiddleOf::Writes } else { MiddleOf::Bytes };
        for memstore in holders {
            let asked = memstore.middle(PartitionId(partition), of);
            if let Ok(Ok(Some(key))) = tokio::time::timeout(ANSWER_MAX, asked).await {
                return Some(key);
            }
        }
        self.whole.insert(partition, now);
        None
    }
}
