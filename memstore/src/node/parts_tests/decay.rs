//! Snapshots of a replica that was wrong when they were written: what is built again is not built of them.

use super::*;
use crate::agreement::{Agreement, compare};
use crate::frontier::Applied;

#[tokio::test]
async fn what_was_written_of_a_replica_that_is_thrown_away_is_not_used() {
    let (world, own) = (World::new(), [folder(), folder()]);
    let all = [PartitionRange::all()];
    for value in 0..6 {
        world.put(value);
        world.holds(own[usize::from(value % 2 == 1)].path(), &all).await;
        world.trim();
    }
    assert!(Lsn(1) < world.journal.first());
    // Its last snapshot holds what nobody wrote.
    world.put(6);
    let decayed = world.start(own[0].path(), &all);
    held(&decayed, &all, world.journal.last()).await;
    decayed.replicas()[0].partition.damage(&put("a", "decayed"));
    decayed.close().await.expect("it closes");

    let nodes = [world.start(own[0].path(), &all), world.start(own[1].path(), &all)];
    let expected = world.expected(&all).await;
    let holders: Vec<_> = (1..).zip(nodes.iter().map(Node::handle)).collect();
    let at = Applied { lsn: world.journal.last(), revision: world.journal.revision() };
    for (node, is_right) in nodes.iter().zip([false, true]) {
        assert_eq!(held(node, &all, at.lsn).await == expected, is_right);
    }
    assert_eq!(compare(&all[0], &holders, at).await, Agreement::Differ { thrown: vec![1] });
    assert_eq!(held(&nodes[0], &all, at.lsn).await, expected);
    assert_eq!(compare(&all[0], &holders, at).await, Agreement::Same);
    for node in nodes {
        node.close().await.expect("it closes");
    }
}
