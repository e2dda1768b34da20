//! Asking somebody who serves a key, until somebody has answered.
//!
//!     choose ─► ask ── answered ──────────────────────────────► done
//!       ▲        │ ── cannot: it is out of reach, has moved ──► another
//!       │        └── silent for 100 ms ──► another as well, and whoever is first
//!       └── nobody is left: wait until something changes
//!
//! So a memstore that dies, stops or gives a partition away shows as a little time. The request's deadline ends it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use journal::Lsn;
use memstore::{Error, Memstore, PartitionRange};

use super::Routes;
use super::holders::{Choice, Tried, holding};

/// How long an answer may take before another is asked, too.
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(100);
/// How long until those are asked again who could not answer.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(50);

impl Routes {
    /// What somebody who serves `key` answers, and the partition by which it does. Whoever has applied `lsn` is asked
    /// first.
    pub(super) async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        key: &Bytes,
        lsn: Lsn,
        ask: impl Fn(Memstore, PartitionRange) -> F,
    ) -> Result<(PartitionRange, T), Error> {
        // Most often there is one memstore, in this process, and it answers. Nothing is to be chosen then.
        if let Some(memstore) = self.only_one()
            && let Some(range) = holding(&memstore.partitions(), key).cloned()
        {
            match ask(memstore.clone(), range.clone()).await {
                Err(error) if another_knows(&memstore, &error) => {}
                answer => return answer.map(|answer| (range, answer)),
            }
        }
        Box::pin(self.ask_on(key, lsn, Tried::default(), &ask)).await
    }

    async fn ask_on<T, F: Future<Output = Result<T, Error>>>(
        &self,
        key: &Bytes,
        lsn: Lsn,
        mut tried: Tried,
        ask: &impl Fn(Memstore, PartitionRange) -> F,
    ) -> Result<(PartitionRange, T), Error> {
        loop {
            let look = self.look();
            if let Some(choice) = look.choose(key, lsn, &tried) {
                let answer = self.hedged(choice, key, lsn, &mut tried, ask).await;
                if let Some(answer) = answer {
                    return answer;
                }
                continue;
            }
            tokio::select! {
                () = self.changed(&look) => {}
                () = tokio::time::sleep(RETRY_PAUSE), if !tried.is_empty() => {}
            }
            tried.clear();
        }
    }

    /// `None`: somebody else has to be asked.
    async fn hedged<T, F: Future<Output = Result<T, Error>>>(
        &self,
        choice: Choice,
        key: &Bytes,
        lsn: Lsn,
        tried: &mut Tried,
        ask: &impl Fn(Memstore, PartitionRange) -> F,
    ) -> Option<Result<(PartitionRange, T), Error>> {
        tried.push(&choice);
        let is_here = choice.held.memstore.is_here();
        let first = asked(choice, ask);
        if is_here {
            return first.await;
        }
        let mut first = pin!(first);
        let choice = loop {
            tokio::select! {
                biased;
                answer = &mut first => return answer,
                () = tokio::time::sleep(HEDGE_AFTER) => {}
            }
            // Somebody who did not answer just now may do so in a moment, and the silent one may stay so for long.
            if let Some(choice) = self.look().choose(key, lsn, tried) {
                break choice;
            }
        };
        tried.push(&choice);
        let mut second = pin!(asked(choice, ask));
        tokio::select! {
            answer = &mut first => if answer.is_some() { answer } else { second.await },
            answer = &mut second => if answer.is_some() { answer } else { first.await },
        }
    }
}

async fn asked<T, F: Future<Output = Result<T, Error>>>(
    choice: Choice,
    ask: &impl Fn(Memstore, PartitionRange) -> F,
) -> Option<Result<(PartitionRange, T), Error>> {
    let Choice { held, range, .. } = choice;
    let _asking = held.ask();
    match ask(held.memstore.clone(), range.clone()).await {
        Err(error) if another_knows(&held.memstore, &error) => None,
        answer => Some(answer.map(|answer| (range, answer))),
    }
}

/// Whether it is worth asking somebody else. A memstore in this process closes with it.
pub(super) fn another_knows(memstore: &Memstore, error: &Error) -> bool {
    match error {
        Error::Unreachable | Error::Behind | Error::WrongPartition => true,
        Error::Closed => !memstore.is_here(),
        Error::Compacted { .. }
        | Error::FutureRevision { .. }
        | Error::Overloaded
        | Error::Missing { .. }
        | Error::Corrupt(_)
        | Error::Io(_) => false,
    }
}
