//! A leader that has gone is missed before Raft's own timers miss it.
//!
//!     Raft        last word ─── lease ─────────── election timeout ──► election
//!     silence     last word ─── lease ─┴► election                    every voter's lease of it has ended by then
//!     hanging up  last word ─┴► election                              its process died, and took its connections along
//!
//! Neither proves anything, so each is only a reason to ask: in a pre-vote, which changes nothing at a voter who has heard
//! of the leader lately. Voters ask one after the other, so that they do not compete as Raft's random timers would.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Cluster, Leadership};
use super::network::Wire;
use super::timers::Timers;
use crate::clock::Clock;
use crate::remote::open_status;

/// Parts of an election timeout: how far the questions of two voters are apart, and how soon each is asked again.
const APART: u32 = 20;
const AGAIN: u32 = 8;
/// And how long after its lease a leader counts as silent: another voter may have heard of it a little later.
const LATER: u32 = 50;
/// Questions after which the leader seems to live. Silence is looked after elsewhere.
const QUESTIONS: u32 = 8;

/// How long a node may take to tell its status by one of its URLs.
const OPEN_MAX: Duration = Duration::from_secs(1);

/// Follows whoever leads until Raft has stopped.
pub(crate) async fn run(cluster: Cluster, wire: Wire, clock: Arc<dyn Clock>, timers: Timers) {
    let Timers { election_timeout, lease } = timers;
    loop {
        let led = cluster.raft_leadership();
        let other = led.leader.filter(|leader| *leader != cluster.node);
        let replaced = async {
            match other {
                None => std::future::pending().await,
                Some(leader) => tokio::select! {
                    () = died(&wire, leader, &*clock, election_timeout) => {}
                    () = silent(&wire, &*clock, lease + election_timeout / LATER) => {}
                },
            }
            ask(&cluster, led, &*clock, election_timeout).await;
        };
        tokio::select! {
            over = cluster.raft_leadership_ends(led) => if over.is_err() { return },
            () = replaced => {}
        }
    }
}

/// Resolves when `leader` has spoken and then hung up.
async fn died(wire: &Wire, leader: u64, clock: &dyn Clock, pause: Duration) {
    loop {
        if let Some(url) = wire.url(leader) {
            let opening = tokio::time::timeout(OPEN_MAX, open_status(wire.dialer(), &url));
            match opening.await {
                Ok(Ok(mut parts)) => {
                    let mut heard = false;
                    while let Ok(Some(_)) = parts.message().await {
                        heard = true;
                    }
                    if heard {
                        return;
                    }
                }
                Ok(Err(_)) | Err(_) => wire.turn_from(leader, &url),
            }
        }
        clock.until(clock.now() + pause).await;
    }
}

/// Resolves when no leader has spoken for so long, from now on.
async fn silent(wire: &Wire, clock: &dyn Clock, silence: Duration) {
    let begun = clock.now();
    loop {
        let due = wire.contact().heard_at().max(begun) + silence;
        if due <= clock.now() {
            return;
        }
        clock.until(due).await;
    }
}

/// Asks the others whether they miss the leader, too.
async fn ask(cluster: &Cluster, led: Leadership, clock: &dyn Clock, election_timeout: Duration) {
    let Some(turn) = cluster.turn_after(led.leader) else { return };
    clock.until(clock.now() + election_timeout / APART * turn).await;
    for _ in 0..QUESTIONS {
        if !cluster.raft_leadership().is_of_reign(led) || cluster.ask_for_votes().await.is_err() {
            return;
        }
        clock.until(clock.now() + election_timeout / AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::dial::Dialer;
    use crate::raft::types::Vote;
    use crate::raft::voter_registry::VoterRegistry;

    const SILENCE: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn a_leader_is_silent_so_long_after_its_last_word() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(5));
        let registry = VoterRegistry::open(1, None, 1).unwrap();
        let wire = Wire::new(1, 1, Dialer::plain(), Arc::new(clock.clone()), registry);
        let silent = {
            let (wire, clock) = (wire.clone(), clock.clone());
            tokio::spawn(async move { silent(&wire, &clock, SILENCE).await })
        };
        let pass = async |by: Duration| {
            clock.advance(by);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        tokio::task::yield_now().await;
        pass(SILENCE * 3 / 4).await;
        wire.hear(&Vote::new_committed(1, 2));
        pass(SILENCE * 3 / 4).await;
        assert!(!silent.is_finished(), "it has spoken meanwhile");
        pass(SILENCE / 4).await;
        assert!(silent.is_finished());
    }
}
