//! The time in which nobody leads the journal, and everybody waits for the same event.
//!
//!     refused ─► wait ─► refused ─► wait ──── another leads ─► asked again at once
//!                 5 ms               10 ms, 20 ms ... 160 ms
//!
//! Thousands of requests may wait here, and the machine has an election to do: so they are woken by what the journal
//! says of itself. They also ask again by themselves, since a leader refuses until it has begun, and says nothing
//! when it has.

use std::time::Duration;

use journal::Journal;

use crate::error::Error;

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// One request's waits.
#[derive(Debug, Default)]
pub(crate) struct Interregnum {
    /// Who led, and in which term, when it was refused the last time.
    reign: Option<(Option<u64>, u64)>,
    refusals: u32,
}

impl Interregnum {
    /// Waits where the journal has refused because nobody leads it.
    ///
    /// # Errors
    /// Every other refusal.
    pub(crate) async fn ride_out(&mut self, journal: &Journal, error: journal::Error) -> Result<(), Error> {
        match error {
            journal::Error::NotLeader { .. } | journal::Error::NoQuorum => {
                self.wait(journal).await;
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Waits until it is worth asking again.
    pub(crate) async fn wait(&mut self, journal: &Journal) {
        let mut status = journal.status();
        let reign = |status: &journal::Status| (status.leader, status.term);
        let now = reign(&status.borrow_and_update());
        if self.reign.replace(now) != Some(now) {
            self.refusals = 0;
        }
        let pause = (PAUSE_MIN * (1 << self.refusals.min(5))).min(PAUSE_MAX);
        self.refusals += 1;
        let another_leads = async {
            let leads = status.wait_for(|status| reign(status) != now && status.leader.is_some());
            if leads.await.is_err() {
                // A journal that closes has nothing more to tell, and refuses for as long as it takes to close.
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(pause, another_leads).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use journal::{Config, Node, Storage, SystemClock};

    use super::*;

    #[tokio::test]
    async fn a_journal_that_closes_is_not_asked_without_a_pause() {
        let node = Node::start(Config::single(1, 1, Storage::Memory), Arc::new(SystemClock::default()));
        let node = node.await.expect("a node in memory");
        let journal = node.handle();
        node.close().await;
        let began = tokio::time::Instant::now();
        Interregnum::default().wait(&journal).await;
        assert!(PAUSE_MIN <= began.elapsed());
    }
}
