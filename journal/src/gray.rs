//! A disk that hangs: it reports no error, and everybody waits.
//!
//!     a write begins ─── two election timeouts ─► another voter leads ─► this node stops
//!
//! A leader in this state still sends heartbeats, so nobody would replace it. One that nobody can replace goes on
//! waiting, and so does a follower, whom nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::log::Log;
use crate::raft::Cluster;

/// How often it is looked at, in parts of an election timeout.
const LOOKS: u32 = 4;

/// Resolves when this node has let another lead because its disk hangs.
pub(crate) async fn handed_over(
    cluster: Cluster,
    log: Log,
    clock: Arc<dyn Clock>,
    election_timeout: Duration,
) {
    // The oldest write that was not durable at the last look, and at how many looks before. Looks are counted and not
    // time, so that a process that stood still itself does not blame its disk.
    let (mut oldest, mut looks) = (None, 0);
    loop {
        clock.until(clock.now() + election_timeout / LOOKS).await;
        let before = std::mem::replace(&mut oldest, log.oldest_write());
        looks = if oldest.is_some() && oldest == before { looks + 1 } else { 0 };
        if looks < 2 * LOOKS {
            continue;
        }
        if cluster.has_heir(election_timeout) {
            tracing::error!(
                "the disk has not finished a write for {:?}: another node leads the journal from here on, and this \
                 one stops. Look at the disk before you start it again",
                election_timeout * 2
            );
            return cluster.hand_over(&*clock, election_timeout).await;
        }
        if looks == 2 * LOOKS {
            tracing::warn!(
                "the disk has not finished a write for {:?}: look at the disk of the journal",
                election_timeout * 2
            );
        }
    }
}
