//! How a node learns that it was removed: nobody sends it anything any more, so it asks.
//!
//! Ids are not used twice. Whoever knows a later list of members than the one that a node stands in, and does not find
//! it there, knows that it was removed.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::network::Wire;
use crate::clock::Clock;
use crate::config::Config;
use crate::lsn::Lsn;

/// Resolves when `node` is no longer of its cluster. It is asked for after half an election timeout
/// without a leader's word. A founder has been in every list, also before it has applied one.
pub(crate) fn removed(
    cluster: Cluster,
    wire: Wire,
    config: &Config,
    clock: Arc<dyn Clock>,
) -> impl Future<Output = ()> + Send + use<> {
    let node = config.node;
    let is_founder = config.voters.iter().any(|voter| voter.id == node);
    ask_until_removed(cluster, wire, node, is_founder, clock, config.election_timeout / 2)
}

async fn ask_until_removed(
    cluster: Cluster,
    wire: Wire,
    node: u64,
    is_founder: bool,
    clock: Arc<dyn Clock>,
    silence: Duration,
) {
    // One that joins reads old lists first, in which it is not yet.
    let mut was_member = is_founder;
    let mut heard_at = Duration::ZERO;
    loop {
        clock.until(clock.now() + silence).await;
        let own = wire.roster();
        let last = wire.contact().heard_at();
        let has_spoken = std::mem::replace(&mut heard_at, last) != last;
        was_member |= own.has(node);
        if was_member && Lsn::ZERO < own.at && !own.has(node) {
            return;
        }
        if has_spoken || cluster.leadership().leads || !was_member {
            continue;
        }
        for peer in wire.addresses().into_iter().filter(|peer| *peer != node) {
            let theirs = wire.roster_of(peer).await;
            if theirs.is_some_and(|theirs| own.at < theirs.at && !theirs.has(node)) {
                return;
            }
        }
    }
}
