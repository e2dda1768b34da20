//! What a replica holds, asked from another process.

use super::world::{World, reached};
use crate::doubt::{Doubt, HashedAt};
use crate::error::Error;
use crate::watch::WatchLimits;
use journal::{Revision, SysOp};

#[tokio::test]
async fn the_hash_is_that_of_the_replica() {
    let world = World::start(&["m"], WatchLimits::default()).await;
    world.put("a", "1");
    let lsn = world.put("z", "1");
    let revision = reached(&world.there, lsn).await;
    let at = HashedAt { lsn, revision, compacted: Revision::ZERO };
    for range in world.here.partitions().iter() {
        let here = world.here.set_hash(range.id, at).await.expect("it is open").expect("it knows");
        let there = world.there.set_hash(range.id, at).await.expect("it is up").expect("it knows");
        assert_eq!((here.hash, here.replica.number), (there.hash, there.replica.number));
        let doubt = Doubt { replica: there.replica, at, own: 1, others: 2 };
        let told = world.there.throw_away(range.id, doubt).await;
        assert_eq!(told, Err(Error::WrongPartition), "nobody would build it again");
    }
    let lsn = world.journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
    reached(&world.there, lsn).await;
    let id = world.there.partitions()[0].id;
    assert_eq!(world.there.set_hash(id, at).await, Err(Error::Compacted { compacted: revision }));
    world.close().await;
}
