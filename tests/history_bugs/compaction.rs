//! Compactions, and what is left at the revision up to which they go.

use proto::etcdserverpb::{RequestOp, TxnRequest, request_op};

use super::*;

/// A store whose newest revision is a deletion and was compacted; and the revision. The keys are of the store's partitions.
async fn compacted_at_a_deletion(clients: &mut Clients, gone: &str) -> Result<i64> {
    for key in KEYS {
        put(clients, key, "1").await?;
    }
    let deleted = delete(clients, gone).await?;
    compact(clients, deleted).await?;
    Ok(deleted)
}

#[tokio::test]
async fn etcd_17780_a_store_that_dies_in_a_compaction_does_not_go_back() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for (kind, rounds) in [(MAINSTEM, 10), (TIERS, 2)] {
        let mut server = Server::start(kind)?;
        for round in 0..rounds {
            let mut clients = Clients::new(&server.endpoint())?;
            let deleted = compacted_at_a_deletion(&mut clients, KEYS[round % KEYS.len()]).await?;
            server.kill()?;
            server.restart()?;
            for endpoint in server.endpoints() {
                let found = revision(&mut Clients::new(&endpoint)?).await?;
                ensure!(found == deleted, "round {round} of {kind:?}: {found} after {deleted}");
            }
        }
    }
    Ok(())
}

/// Whoever begins at the compacted revision is told of what happened there, whichever endpoint is asked.
async fn is_told_of_the_deletion(endpoints: &[String], gone: &str, at: i64) -> Result<()> {
    for endpoint in endpoints {
        let clients = Clients::new(endpoint)?;
        let mut stream = clients.watching(everything(at)).await?;
        let events = brief(&told(&mut stream, 1).await.with_context(|| format!("at {endpoint}"))?);
        ensure!(events == [format!("delete {gone}@{at}")], "{endpoint}: {events:?}");
    }
    Ok(())
}

#[tokio::test]
async fn etcd_18089_a_deletion_at_the_compacted_revision_is_told() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for kind in [MAINSTEM, TIERS] {
        let server = Server::start(kind)?;
        let mut clients = Clients::new(&server.endpoint())?;
        for gone in KEYS {
            let deleted = compacted_at_a_deletion(&mut clients, gone).await?;
            is_told_of_the_deletion(&server.endpoints(), gone, deleted)
                .await
                .with_context(|| format!("{kind:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn etcd_19179_a_deletion_at_the_compacted_revision_is_told_after_a_crash() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for (kind, gone) in [(MAINSTEM, &KEYS[..]), (TIERS, &KEYS[3..])] {
        let mut server = Server::start(kind)?;
        for gone in gone {
            let mut clients = Clients::new(&server.endpoint())?;
            let deleted = compacted_at_a_deletion(&mut clients, gone).await?;
            server.kill()?;
            server.restart()?;
            let mut clients = Clients::new(&server.endpoint())?;
            // Again, as one may who was not answered.
            let again = clients.kv.compact(CompactionRequest { revision: deleted, physical: true }).await;
            let refused = again.expect_err("it is compacted");
            ensure!(refused.message().contains("has been compacted"), "{refused:?}");
            is_told_of_the_deletion(&server.endpoints(), gone, deleted)
                .await
                .with_context(|| format!("{kind:?}"))?;
        }
    }
    Ok(())
}

/// A transaction reads what is compacted, or is to come: it is refused as a whole, and everywhere.
#[tokio::test]
async fn etcd_18667_a_transaction_that_reads_a_compacted_revision_changes_nothing_anywhere() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let endpoints = cluster.endpoints();
    let mut clients = Clients::new(&endpoints[0])?;
    for _ in 0..5 {
        put(&mut clients, "a", "1").await?;
    }
    let before = put(&mut clients, "z", "1").await?;
    compact(&mut clients, before - 1).await?;
    let op = |request| RequestOp { request: Some(request) };
    for endpoint in &endpoints {
        for (read_at, text) in [(2, "has been compacted"), (1_000, "is a future revision")] {
            let read = RangeRequest { revision: read_at, ..history::get("a") };
            let success = vec![
                op(request_op::Request::RequestPut(history::put("b/1", "1"))),
                op(request_op::Request::RequestRange(read)),
                op(request_op::Request::RequestPut(history::put("z", "2"))),
            ];
            let answer =
                Clients::new(endpoint)?.kv.txn(TxnRequest { success, ..TxnRequest::default() }).await;
            let refused = answer.expect_err("it reads what it cannot");
            ensure!(refused.message().contains(text), "{refused:?}");
        }
    }
    let after = hold_the_same(&endpoints).await?;
    ensure!(after == before, "{before} became {after}");
    Ok(())
}
