//! How a memstore goes without being missed: it says so, and answers until others are asked.
//!
//!     asked to ──► its reports say so ── 200 ms ──► watchers are told that they have moved ──► 400 ms and idle, or 3 s ──► closes
//!                  others are asked first           and begin elsewhere behind what they were told
//!
//! Who does not understand the reports is answered, too, and goes elsewhere when it closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use journal::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long until whoever watches has heard of it, so that he finds another.
const NEWS_TAKE: Duration = Duration::from_millis(200);
/// How long it stays at least, so that the watchers have moved.
const STAYS_MIN: Duration = Duration::from_millis(400);
/// How long it stays for those who ask nevertheless.
const STAYS_MAX: Duration = Duration::from_secs(3);

/// Shared by all that answer other processes.
#[derive(Clone, Default)]
pub(crate) struct Farewell {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    leaving: CancellationToken,
    /// Questions under way, and watchers.
    busy: AtomicUsize,
    idle: Notify,
}

impl Farewell {
    /// Leaves: returns when nobody asks or watches any more, or others have had the time to be asked instead. Answers whether
    /// it is idle.
    pub(crate) async fn leave(&self, clock: &dyn Clock) -> bool {
        self.shared.leaving.cancel();
        let begun = clock.now();
        let stays = async {
            clock.until(begun + STAYS_MIN).await;
            self.idle().await;
        };
        tokio::select! {
            () = stays => true,
            () = clock.until(begun + STAYS_MAX) => false,
        }
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leaving.is_cancelled()
    }

    /// Resolves when it has begun to leave.
    pub(crate) async fn begun(&self) {
        self.shared.leaving.cancelled().await;
    }

    /// Resolves when its watchers should go.
    pub(crate) async fn watchers_go(&self, clock: &dyn Clock) {
        self.begun().await;
        clock.until(clock.now() + NEWS_TAKE).await;
    }

    /// A count of its own of what keeps the memstore busy.
    pub(crate) fn busy(&self) -> Busy {
        Busy { farewell: self.clone(), counted: 0 }
    }

    async fn idle(&self) {
        loop {
            let idle = self.shared.idle.notified();
            if self.shared.busy.load(SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// What one conversation or stream has to do. Counted until it is dropped.
pub(crate) struct Busy {
    farewell: Farewell,
    counted: usize,
}

impl Busy {
    pub(crate) fn is(&mut self, count: usize) {
        let busy = &self.farewell.shared.busy;
        if self.counted < count {
            busy.fetch_add(count - self.counted, SeqCst);
        } else if count < self.counted && busy.fetch_sub(self.counted - count, SeqCst) == self.counted - count
        {
            self.farewell.shared.idle.notify_waiters();
        }
        self.counted = count;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is(0);
    }
}
