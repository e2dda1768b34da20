//! What is due of leases: when to look, what to write down, and whom to hand to what has ended.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{SequencerTask, Waiter};
use crate::client::Expired;
use crate::error::Error;
use crate::sequencer::Sequencer;

/// How soon to look again for leases that have ended while nobody takes them.
const NOBODY_TAKES: Duration = Duration::from_secs(1);

impl SequencerTask {
    /// Does what is due, and plans the next time.
    pub(super) fn set_alarm(&mut self) {
        let Some(sequencer) = &mut self.sequencer else {
            self.alarm = None;
            return;
        };
        let now = self.clock.now();
        if sequencer.wake_at().is_some_and(|moment| moment <= now) {
            sequencer.tick(now);
            hand_out(sequencer, &mut self.takers, now);
        }
        let Some(moment) = sequencer.wake_at() else {
            self.alarm = None;
            return;
        };
        let moment = if moment <= now { now + NOBODY_TAKES } else { moment };
        if self.alarm.as_ref().is_none_or(|(set, _)| moment < *set) {
            self.alarm = Some((moment, self.clock.until(moment)));
        }
    }
}

/// Hands leases that have ended to one who waits for them.
fn hand_out(
    sequencer: &mut Sequencer<Waiter>,
    takers: &mut VecDeque<oneshot::Sender<Result<Vec<Expired>, Error>>>,
    now: Duration,
) {
    takers.retain(|taker| !taker.is_closed());
    if takers.is_empty() {
        return;
    }
    let expired = sequencer.expired(now);
    if !expired.is_empty() {
        let taker = takers.pop_front().expect("looked at just before");
        // Who gives up at this very moment loses nothing: what is not revoked is handed out again.
        drop(taker.send(Ok(expired)));
    }
}
