//! A replica that does not hold what the others do: it is found, thrown away and built again.

use tokio::sync::watch;

use super::*;
use crate::agreement::{Agreement, compare};
use crate::client::Memstore;
use crate::frontier::Applied;

/// Memstores that hold the same partition, by their ids from 1 on.
struct World {
    journal: Arc<FedJournal>,
    nodes: Vec<Node>,
    partition: PartitionRange,
    /// What they are told to hold stays as it is.
    _wanted: watch::Sender<Arc<[PartitionRange]>>,
}

impl World {
    async fn start(count: usize) -> World {
        let journal = FedJournal::new();
        let wanted = watch::Sender::new(PartitionRange::split(&[]).into());
        for value in 0..40 {
            journal.append(vec![(vec![put("a", value), put("m", value)], None)]);
            if value == 20 {
                journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision: Revision(12) }))]);
            }
        }
        let node = || {
            let told = Wanted::Told(wanted.subscribe());
            start(Config { wanted: told, ..config(None, &[], NEVER) }, &journal).expect("it starts")
        };
        let nodes = (0..count).map(|_| node()).collect();
        let world = World { nodes, partition: PartitionRange::all(), journal, _wanted: wanted };
        world.same().await;
        world
    }

    fn holders(&self) -> Vec<(u64, Memstore)> {
        (1..).zip(self.nodes.iter().map(Node::handle)).collect()
    }

    async fn compare(&self) -> Agreement {
        let at = Applied { lsn: self.journal.last(), revision: self.journal.revision() };
        compare(&self.partition, &self.holders(), at).await
    }

    fn damage(&self, id: usize) {
        self.nodes[id - 1].replicas()[0].partition.damage(&put("m", "decayed"));
    }

    async fn serves(&self, id: usize) {
        let memstore = self.nodes[id - 1].handle();
        let mut served = memstore.partitions();
        while served.is_empty() {
            served = memstore.other_partitions(&served).await;
        }
    }

    /// They all hold the same, version by version.
    async fn same(&self) {
        let mut states = Vec::new();
        for id in 1..=self.nodes.len() {
            self.serves(id).await;
            states.push(state(&self.nodes[id - 1], self.journal.last()).await);
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    }

    async fn close(self) {
        for node in self.nodes {
            node.close().await.expect("it closes");
        }
    }
}

fn thrown(ids: &[u64]) -> Agreement {
    Agreement::Differ { thrown: ids.to_vec() }
}

#[tokio::test]
async fn of_three_the_one_that_differs_is_built_again() {
    let world = World::start(3).await;
    assert_eq!(world.compare().await, Agreement::Same);
    world.damage(2);
    assert_eq!(world.compare().await, thrown(&[2]));
    world.journal.append(vec![(vec![put("b", 1)], None)]);
    world.serves(2).await;
    assert_eq!(world.compare().await, Agreement::Same);
    world.same().await;
    world.close().await;
}

/// Nobody can know which of them is right.
#[tokio::test]
async fn of_two_one_is_built_again_after_the_other_until_they_are_the_same() {
    let world = World::start(2).await;
    world.damage(2);
    assert_eq!(world.compare().await, thrown(&[1]));
    let meanwhile = world.nodes[0].handle().partitions();
    world.serves(1).await;
    assert_eq!(world.compare().await, thrown(&[2]), "the first is not asked for twice");
    world.serves(2).await;
    assert_eq!(world.compare().await, Agreement::Same);
    world.same().await;
    drop(meanwhile);
    world.close().await;
}

/// A frontend that has compared before, and tells late, throws nothing away that was built since.
#[tokio::test]
async fn what_was_built_again_is_not_meant() {
    let world = World::start(2).await;
    world.damage(1);
    let memstore = world.nodes[0].handle();
    let at = crate::doubt::HashedAt {
        lsn: world.journal.last(),
        revision: world.journal.revision(),
        compacted: Revision(12),
    };
    let said = memstore.set_hash(PartitionId(0), at).await.expect("it is open").expect("it knows");
    let doubt = crate::doubt::Doubt { replica: said.replica, at, own: said.hash, others: 0 };
    assert_eq!(memstore.throw_away(PartitionId(0), doubt).await, Ok(()));
    world.serves(1).await;
    assert_eq!(memstore.throw_away(PartitionId(0), doubt).await, Err(Error::WrongPartition));
    let again = memstore.set_hash(PartitionId(0), at).await.expect("it is open").expect("it knows");
    assert_ne!((again.hash, again.replica), (said.hash, said.replica));
    assert_eq!((said.thrown, again.thrown), (0, 1));
    world.close().await;
}

#[tokio::test]
async fn who_is_moved_while_it_is_built_goes_on_where_he_was() {
    let world = World::start(2).await;
    let memstore = world.nodes[0].handle();
    let mut stream = memstore.watch();
    let (partition, keys) = (PartitionId(0), KeyRange::all());
    let spec = WatchSpec { partition, keys, from: Revision(30), prev_kv: false, puts: true, deletes: true };
    stream.add(spec.clone()).expect("nothing is compacted");
    let seen = events(&mut stream, world.journal.revision()).await;
    world.damage(1);
    assert_eq!(world.compare().await, thrown(&[1]));
    let Update::Moved { upto, .. } = stream.next().await else { panic!("it is served no longer") };
    assert_eq!(upto, seen.last().expect("there were some").revision);
    world.serves(1).await;
    world.journal.append(vec![(vec![put("b", 1)], None)]);
    stream.add(WatchSpec { from: upto.next(), ..spec }).expect("nothing is compacted");
    let more = events(&mut stream, world.journal.revision()).await;
    assert_eq!(more.iter().map(|change| change.revision).collect::<Vec<_>>(), [upto.next()]);
    world.close().await;
}

/// The other one serves keys under the same name that are not the same.
#[tokio::test]
async fn the_only_one_is_kept() {
    let world = World::start(2).await;
    world.damage(1);
    let at = Applied { lsn: world.journal.last(), revision: world.journal.revision() };
    let own = PartitionRange { start: "0".into(), ..PartitionRange::all() };
    assert_eq!(compare(&own, &world.holders(), at).await, thrown(&[]));
    assert_eq!(world.nodes[0].handle().partitions().len(), 1);
    world.close().await;
}

#[tokio::test]
async fn who_is_compacted_further_is_asked_again() {
    let world = World::start(2).await;
    let revision = Revision(world.journal.revision().0 - 3);
    let lsn = world.journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
    for node in &world.nodes {
        node.replicas()[0].frontier.wait(lsn).await.expect("it is open");
    }
    assert_eq!(world.compare().await, Agreement::Same);
    let before = Applied { lsn, revision: Revision(20) };
    assert_eq!(compare(&world.partition, &world.holders(), before).await, Agreement::Unknown);
    world.close().await;
}
