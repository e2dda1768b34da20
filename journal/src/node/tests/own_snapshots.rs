//! A log beside a memstore that keeps its snapshots to itself.

use std::time::Duration;

use tokio::sync::watch;

use super::super::*;
use super::{leads, mark, world};
use crate::clock::SystemClock;
use crate::log_device::sim::Sim;
use crate::lsn::Lsn;
use crate::verdict::Verdict;

#[tokio::test(start_paused = true)]
async fn what_only_others_have_snapshots_of_is_kept() {
    let (disk, snapshots) = (Sim::default(), SnapshotStore::in_memory());
    let clock = Arc::new(SystemClock::default());
    let (reach, own) = watch::channel(Lsn::ZERO);
    let config = Config {
        retention_bytes: 0,
        recent_bytes_max: 1 << 20,
        own_snapshots: Some(own),
        ..Config::single(7, 1, Storage::Memory)
    };
    let log = Log::on_sim(&disk, 1 << 20, clock.clone()).unwrap();
    let node = Node::assemble(config, clock.clone(), log, snapshots, Network::Alone).await.unwrap();
    let journal = node.handle();
    leads(&journal).await;
    for seq in 1..=160 {
        assert!(matches!(journal.append(world::put(1, seq, 64 << 10)).await, Verdict::Committed { .. }));
    }
    let at = journal.barrier().await.unwrap();
    assert!(matches!(journal.append(mark(161, at.lsn, at.revision)).await, Verdict::Committed { .. }));
    // Whatever is to be trimmed is trimmed by then.
    clock.until(clock.now() + Duration::from_secs(60)).await;
    let mut status = journal.status();
    assert_eq!(status.borrow().first, Lsn(1));
    let own = Lsn(at.lsn.0 - 70);
    reach.send_replace(own);
    let first = status.wait_for(|status| Lsn(1) < status.first).await.unwrap().first;
    assert!(first <= own.next(), "{first} {own}");
    node.close().await;
}
