//! Many reads, one barrier.
//!
//!     reads      a b c      d e f g          h
//!     barriers   |--------|    |----------|
//!                 for a        for b..g          h waits for the next
//!
//! A read may only rest on a barrier that was asked for after the read arrived. So whoever arrives while one is
//! under way waits for the next, which serves all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Barrier, Error, Journal};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::metrics::activity::{Activity, count};

/// A barrier that takes longer is counted as slow: etcd asks its leader again after this time.
const SLOW: Duration = Duration::from_millis(500);

type Reply = oneshot::Sender<Result<Barrier, Error>>;

/// The handle. One task asks for all who share it; each frontend thread has its own, so that reads are woken by
/// their own thread.
#[derive(Clone)]
pub(crate) struct Barriers {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    /// As many as reads under way on this thread, each of which has a deadline. Those that gave up cost a look.
    replies: Vec<Reply>,
    is_closed: bool,
}

impl Barriers {
    /// Runs on the current runtime until `cancel`.
    pub(crate) fn start(journal: Journal, activity: Arc<Activity>, cancel: CancellationToken) -> Barriers {
        let shared = Arc::new(Shared { waiting: Mutex::default(), arrived: Notify::new() });
        tokio::spawn(run(shared.clone(), journal, activity, cancel));
        Barriers { shared }
    }

    /// How far the journal had committed at some moment after this call.
    pub(crate) async fn barrier(&self) -> Result<Barrier, Error> {
        let (reply, answer) = oneshot::channel();
        self.enter(reply)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    fn enter(&self, reply: Reply) -> Result<(), Error> {
        let mut waiting = self.shared.waiting.lock();
        if waiting.is_closed {
            return Err(Error::Closed);
        }
        waiting.replies.push(reply);
        if waiting.replies.len() == 1 {
            self.shared.arrived.notify_one();
        }
        Ok(())
    }
}

async fn run(shared: Arc<Shared>, journal: Journal, activity: Arc<Activity>, cancel: CancellationToken) {
    cancel.run_until_cancelled(serve(&shared, &journal, &activity)).await;
    let mut waiting = shared.waiting.lock();
    waiting.is_closed = true;
    // Dropped replies tell that nobody answers.
    waiting.replies.clear();
}

async fn serve(shared: &Shared, journal: &Journal, activity: &Activity) {
    let mut batch: Vec<Reply> = Vec::new();
    loop {
        shared.arrived.notified().await;
        std::mem::swap(&mut batch, &mut shared.waiting.lock().replies);
        batch.retain(|reply| !reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let began = Instant::now();
        let barrier = journal.barrier().await;
        if SLOW < began.elapsed() {
            count(&activity.barriers_slow);
        }
        if barrier.is_err() {
            count(&activity.barriers_failed);
        }
        for reply in batch.drain(..) {
            // A read that gave up does not take its answer.
            let _ = reply.send(barrier.clone());
        }
    }
}
