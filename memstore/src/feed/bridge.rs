//! Positions that the journal here does not have, out of another member's, and then those that it has.
//!
//!     there   [ ··· next ─────────► until )
//!     here                                [ until ─────────►

use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Entry, Error, Lsn};

use super::Entries;

/// How long the other member may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Entries of two journals of one cluster, one behind the other.
pub(crate) struct Bridge {
    there: Option<Entries>,
    here: Entries,
    /// Where what is here begins.
    until: Lsn,
    clock: Arc<dyn Clock>,
}

impl Bridge {
    /// `here` begins at `until`.
    pub(crate) fn new(there: Entries, here: Entries, until: Lsn, clock: Arc<dyn Clock>) -> Bridge {
        Bridge { there: Some(there), here, until, clock }
    }

    /// # Errors
    /// The journal's. `Trimmed` also where the other member does not help any more: the gap is open again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        while let Some(there) = &mut self.there {
            let silent = self.clock.until(self.clock.now() + SILENCE_MAX);
            let mut entries = tokio::select! {
                biased;
                entries = there.next() => match entries {
                    Ok(entries) => entries,
                    Err(Error::Corrupt(reason)) => return Err(Error::Corrupt(reason)),
                    Err(_) => return Err(Error::Trimmed { first: self.until }),
                },
                () = silent => return Err(Error::Trimmed { first: self.until }),
            };
            if entries.last().is_some_and(|last| self.until <= last.lsn.next()) {
                self.there = None;
            }
            entries.retain(|entry| entry.lsn < self.until);
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.here.next().await
    }
}

#[cfg(test)]
mod tests {
    use journal::ManualClock;

    use super::*;
    use crate::feed::Feed;
    use crate::feed::fed::FedJournal;

    fn journal(entries: usize) -> Feed {
        let journal = FedJournal::new();
        (0..entries).for_each(|_| journal.void());
        Feed::Fed(journal)
    }

    async fn read(bridge: &mut Bridge, upto: u64) -> Vec<u64> {
        let mut read = Vec::new();
        while read.last() != Some(&upto) {
            let entries = bridge.next().await.expect("both have entries");
            read.extend(entries.iter().map(|entry| entry.lsn.0));
        }
        read
    }

    #[tokio::test]
    async fn each_position_is_read_once_wherever_the_parts_end() {
        for until in 3..12 {
            let (there, here) = (journal(11), journal(20));
            let (there, here) = (there.entries(Lsn(3)), here.entries(Lsn(until)));
            let mut bridge = Bridge::new(there, here, Lsn(until), Arc::new(ManualClock::default()));
            assert!(read(&mut bridge, 20).await.into_iter().eq(3..=20), "until {until}");
        }
    }

    #[tokio::test]
    async fn who_falls_silent_leaves_the_gap_open() {
        let clock = ManualClock::default();
        let (there, here) = (journal(4), journal(20));
        let (there, here) = (there.entries(Lsn(3)), here.entries(Lsn(9)));
        let mut bridge = Bridge::new(there, here, Lsn(9), Arc::new(clock.clone()));
        assert_eq!(read(&mut bridge, 4).await, [3, 4]);
        let (next, turn) = (bridge.next(), async { clock.advance(SILENCE_MAX) });
        assert_eq!(tokio::join!(next, turn).0, Err(Error::Trimmed { first: Lsn(9) }));
    }
}
