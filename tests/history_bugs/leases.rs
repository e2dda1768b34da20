//! Leases under a leader that is stuck.

use std::time::{Duration, Instant};

use proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest};

use super::*;

const TTL: i64 = 4;

/// What is left, as a keep-alive over this member says, once it knows who leads.
async fn kept_alive(clients: &mut Clients, id: i64) -> Result<i64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout(Duration::from_secs(10), try_keep_alive(clients, id)).await? {
            Ok(left) => return Ok(left),
            Err(refusal) => ensure!(Instant::now() < deadline, "{refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn try_keep_alive(clients: &mut Clients, id: i64) -> Result<i64> {
    let mut answers =
        clients.lease.lease_keep_alive(tokio_stream::once(LeaseKeepAliveRequest { id })).await?.into_inner();
    Ok(answers.message().await?.context("an answer")?.ttl)
}

/// The leader stands still for longer than the lease lives, which is kept alive over another one meanwhile. What the
/// stuck one thinks of the time when it goes on does not matter: the lease and its key are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15247_a_stuck_leader_revokes_no_lease() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    let leader = cluster.leader().await?;
    let mut other = Clients::new(&cluster.member((leader + 1) % 3).endpoint())?;
    let id = other.lease.lease_grant(LeaseGrantRequest { ttl: TTL, id: 0 }).await?.into_inner().id;
    let request = PutRequest { lease: id, ..history::put("a", "1") };
    other.kv.put(request).await?;
    cluster.member_mut(leader).freeze()?;
    // The stuck one sees a time pass in which the lease has ended.
    let thaws = Instant::now() + Duration::from_secs(TTL.unsigned_abs() + 3);
    while Instant::now() < thaws {
        ensure!(kept_alive(&mut other, id).await? == TTL, "the lease has ended");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    cluster.member_mut(leader).thaw()?;
    ensure!(kept_alive(&mut other, id).await? == TTL, "it lives when the stuck one goes on");
    let mut stuck = Clients::new(&cluster.member(leader).endpoint())?;
    // The stuck one has caught up, and what it wanted has come to nothing.
    ensure!(kept_alive(&mut stuck, id).await? == TTL, "it lives for the stuck one");
    for clients in [&mut other, &mut stuck] {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let left = clients.lease.lease_time_to_live(request).await?.into_inner();
        ensure!(left.ttl > 0 && left.keys == ["a"], "{left:?}\n{}", logs(&cluster));
        ensure!(clients.kv.range(history::get("a")).await?.into_inner().count == 1, "its key is gone");
    }
    Ok(())
}
