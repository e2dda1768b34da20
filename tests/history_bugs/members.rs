//! Members that were away for long, or come new: what they lack comes from snapshots.

use proto::etcdserverpb::AuthEnableRequest;

use std::time::Instant;

use super::*;

/// One snapshot after the other, since the others trim on while it starts, is killed, and starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_18055_a_member_that_gets_snapshots_in_a_row_lives() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start_with(MAINSTEM, 3, &TRIMMING)?;
    let leader = cluster.leader().await?;
    let (by, away) = ((leader + 1) % 3, (leader + 2) % 3);
    for round in 0..4 {
        cluster.member_mut(away).kill()?;
        write_until_trimmed(&cluster, by, &[leader, by]).await?;
        cluster.member_mut(away).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while snapshots_of(cluster.member(away)) <= round {
            ensure!(Instant::now() < deadline, "it takes none: {}", cluster.member(away).log());
            // Its log is all that tells.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    cluster.member_mut(away).kill()?;
    cluster.member_mut(away).restart().with_context(|| cluster.member(away).log_end())?;
    hold_the_same(&cluster.endpoints()).await.with_context(|| logs(&cluster))?;
    ensure!(!cluster.member(away).log().contains("panicked"), "{}", cluster.member(away).log());
    Ok(())
}

/// There are no users yet: nobody can enable authentication, so no member can judge a write otherwise than the others. One
/// that joins by a snapshot takes writes as the others do, and holds the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14571_a_member_that_joins_by_a_snapshot_takes_what_the_others_take() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start_with(MAINSTEM, 3, &TRIMMING)?;
    write_until_trimmed(&cluster, 0, &[0, 1, 2]).await?;
    let peers = format!("--peer-urls={}", cluster.prepare()?);
    cluster.etcdctl(&[0], &["member", "add", "n3", &peers])?;
    cluster.join()?;
    cluster.member_mut(3).await_answer()?;
    ensure!(snapshots_of(cluster.member(3)) > 0, "{}", cluster.member(3).log());
    for (at, key) in KEYS.into_iter().enumerate().take(4) {
        let mut clients = Clients::new(&cluster.member(at).endpoint())?;
        let refused =
            clients.auth.auth_enable(AuthEnableRequest {}).await.expect_err("there is no root user");
        ensure!(refused.message() == "etcdserver: root user does not exist", "{refused:?}");
        put(&mut clients, key, format!("over {at}")).await?;
    }
    hold_the_same(&cluster.endpoints()).await.with_context(|| logs(&cluster))?;
    Ok(())
}
