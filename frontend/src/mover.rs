//! For tests: partitions that are split, merged, given away and taken back, one change after the other.

use std::sync::Arc;

use bytes::Bytes;
use memstore::{Memstore, PartitionId, PartitionRange, Wanted};
use tokio::sync::watch;

/// Says what is wanted.
pub(crate) struct Mover {
    wanted: watch::Sender<Arc<[PartitionRange]>>,
    cuts: &'static [&'static str],
    names: u64,
}

impl Mover {
    /// All keys are wanted, as one partition.
    pub(crate) fn new(cuts: &'static [&'static str]) -> (Mover, Wanted) {
        let (wanted, told) = watch::channel(PartitionRange::split(&[]).into());
        (Mover { wanted, cuts, names: 1 }, Wanted::Told(told))
    }

    /// Wants the pieces of `held` between the cuts of `cuts`, both as bits.
    pub(crate) fn want(&mut self, cuts: u8, held: u8) {
        let bit = |bits: u8, place: usize| bits >> place & 1 == 1;
        let cuts: Vec<_> = (0..self.cuts.len()).filter(|place| bit(cuts, *place)).collect();
        let cuts: Vec<_> = cuts.into_iter().map(|place| Bytes::from(self.cuts[place])).collect();
        let pieces = PartitionRange::split(&cuts).into_iter().enumerate();
        let before = self.wanted.borrow().clone();
        let named = pieces.filter(|(place, _)| bit(held, *place)).map(|(_, piece)| {
            // Those that stay keep their names.
            let same = before.iter().find(|other| (&other.start, &other.end) == (&piece.start, &piece.end));
            same.cloned().unwrap_or_else(|| {
                self.names += 1;
                PartitionRange { id: PartitionId(self.names), ..piece }
            })
        });
        let named: Vec<_> = named.collect();
        self.wanted.send_replace(named.into());
    }

    /// Waits until what is wanted is served.
    pub(crate) async fn settle(&self, memstore: &Memstore) {
        let wanted = self.wanted.borrow().clone();
        let mut served = memstore.partitions();
        while served != wanted {
            served = memstore.other_partitions(&served).await;
        }
    }

    /// Goes on until it is dropped.
    pub(crate) async fn keep_moving(mut self, memstore: Memstore) {
        for round in (0_u8..=255).cycle() {
            let bits = round.wrapping_mul(37).wrapping_add(11);
            // Now and then some keys are nobody's, for a moment.
            let held = if round % 5 == 0 { bits.rotate_left(3) } else { 0xFF };
            self.want(bits, held);
            self.settle(&memstore).await;
            tokio::task::yield_now().await;
        }
    }
}
