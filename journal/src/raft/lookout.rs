//! A leader whose process dies takes its connections along: its followers need not wait until they miss it.
//!
//!     silence     last word ─── lease ───┬── election timeout ──► election
//!     lookout     last word ─── lease ───┴► election                         the connection to it broke
//!
//! A broken connection proves nothing, so it is only a reason to ask: in a pre-vote, which changes nothing at a voter
//! who has heard of the leader lately. Voters ask one after the other, so that they do not compete.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::network::Wire;
use crate::clock::Clock;
use crate::remote::open_status;

/// Parts of an election timeout: how far the questions of two voters are apart, and how soon each is asked again.
const APART: u32 = 20;
const AGAIN: u32 = 8;
/// Questions after which the leader seems to live. Silence is looked after elsewhere.
const QUESTIONS: u32 = 8;

/// Follows whoever leads until Raft has stopped.
pub(crate) async fn run(cluster: Cluster, wire: Wire, clock: Arc<dyn Clock>, election_timeout: Duration) {
    loop {
        let led = cluster.reign();
        let other = led.0.filter(|leader| *leader != cluster.node);
        let replaced = async {
            match other {
                None => std::future::pending().await,
                Some(leader) => died(&wire, leader, &*clock, election_timeout).await,
            }
            ask(&cluster, led, &*clock, election_timeout).await;
        };
        tokio::select! {
            over = cluster.reign_ends(led) => if over.is_err() { return },
            () = replaced => {}
        }
    }
}

/// Resolves when `leader` has spoken and then hung up.
async fn died(wire: &Wire, leader: u64, clock: &dyn Clock, pause: Duration) {
    loop {
        if let Some(url) = wire.url(leader)
            && let Ok(mut parts) = open_status(wire.dialer(), &url).await
        {
            let mut heard = false;
            while let Ok(Some(_)) = parts.message().await {
                heard = true;
            }
            if heard {
                return;
            }
        }
        clock.until(clock.now() + pause).await;
    }
}

/// Asks the others whether they miss the leader, too.
async fn ask(cluster: &Cluster, led: (Option<u64>, u64), clock: &dyn Clock, election_timeout: Duration) {
    let Some(turn) = cluster.turn_after(led.0) else { return };
    clock.until(clock.now() + election_timeout / APART * turn).await;
    for _ in 0..QUESTIONS {
        if cluster.reign() != led || cluster.ask_for_votes().await.is_err() {
            return;
        }
        clock.until(clock.now() + election_timeout / AGAIN).await;
    }
}
