//! A stream of requests and their answers, counted: what was sent, how soon it was answered, and whether it was at all.
//!
//!     requests   1     2 3            a round trip is that of a request which finds none before it under way
//!     answers      1       2 3

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::peer_metrics::PeerMetrics;

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
}

struct Shared {
    peer: Arc<PeerMetrics>,
    clock: Arc<dyn Clock>,
    /// Whether round trips are of interest.
    timed: bool,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    requests: usize,
    /// When the first of them was sent.
    since: Option<Duration>,
}

impl Exchange {
    pub(super) fn new(peer: Arc<PeerMetrics>, clock: Arc<dyn Clock>, timed: bool) -> Exchange {
        Exchange { shared: Arc::new(Shared { peer, clock, timed, under_way: Mutex::default() }) }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.shared.peer.sent(bytes);
        let mut under_way = self.shared.under_way.lock();
        if self.shared.timed && under_way.requests == 0 {
            under_way.since = Some(self.shared.clock.now());
        }
        under_way.requests += 1;
    }

    /// Where it is no answer but the end of them, what is under way is counted elsewhere.
    pub(super) fn answered(&self, is_answer: bool) {
        let mut under_way = self.shared.under_way.lock();
        under_way.requests = if is_answer { under_way.requests.saturating_sub(1) } else { 0 };
        if let Some(since) = under_way.since.take().filter(|_| is_answer) {
            self.shared.peer.answered(self.shared.clock.now().saturating_sub(since));
        }
    }
}

impl Drop for Shared {
    /// Whoever waited for an answer waits no more.
    fn drop(&mut self) {
        if self.timed && self.under_way.get_mut().requests > 0 {
            self.peer.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn answers_are_timed_and_their_absence_is_counted() {
        let (peer, clock) = (Arc::<PeerMetrics>::default(), ManualClock::default());
        let exchange = Exchange::new(peer.clone(), Arc::new(clock.clone()), true);
        exchange.sent(10);
        clock.advance(Duration::from_millis(3));
        exchange.answered(true);
        assert_eq!(peer.round_trips_sum(), Duration::from_millis(3));
        exchange.sent(10);
        exchange.sent(10);
        clock.advance(Duration::from_millis(1));
        exchange.answered(true);
        assert_eq!(peer.round_trips_sum(), Duration::from_millis(4));
        assert_eq!((peer.failures.load(Relaxed), peer.sent_bytes.load(Relaxed)), (0, 30));
        drop(exchange);
        assert_eq!(peer.failures.load(Relaxed), 1);
    }
}
