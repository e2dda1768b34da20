//! How a node learns that it was removed: nobody sends it anything any more, so it asks.
//!
//! Ids are not used twice. Whoever knows a later list of members than the one that a node stands in, and does not find
//! it there, knows that it was removed.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::network::Wire;
use crate::clock::Clock;

/// Resolves when `node` is no longer of its cluster. It is asked for after each `patience` without a leader's word.
pub(crate) async fn removed(
    cluster: Cluster,
    wire: Wire,
    node: u64,
    clock: Arc<dyn Clock>,
    patience: Duration,
) {
    let mut heard_at = Duration::ZERO;
    loop {
        clock.until(clock.now() + patience).await;
        let own = wire.roster();
        let last = wire.heard_at();
        let has_spoken = std::mem::replace(&mut heard_at, last) != last;
        if has_spoken || cluster.leadership().leads || !own.has(node) {
            continue;
        }
        for (peer, _) in own.members.nodes().filter(|(peer, _)| **peer != node) {
            let theirs = wire.roster_of(*peer).await;
            if theirs.is_some_and(|theirs| own.at < theirs.at && !theirs.has(node)) {
                return;
            }
        }
    }
}
