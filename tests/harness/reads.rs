//! Requests that need memstores, one after the other over every frontend, while something is done to a store.
//!
//! A put alone needs none: it is acknowledged once the journal has it. So each round reads what it wrote and compares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use tokio::task::JoinSet;

use crate::clients::Clients;

/// How long a request may take. Clients of a control plane wait longer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Between two rounds of a client.
const PAUSE: Duration = Duration::from_millis(5);
/// In each of the partitions that the harness makes.
const KEYS: [&str; 5] = ["/registry/a", "a", "c", "k5", "z"];

/// What clients saw.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub rounds: u64,
    /// Requests without an answer, and why.
    pub failed: Vec<String>,
    /// The longest that a request took.
    pub longest: Duration,
}

/// Runs a client for each frontend and partition while `act` does something.
///
/// # Errors
/// What `act` answers; when a client reads what it did not write.
pub async fn while_asked(endpoints: &[String], act: impl AsyncFnOnce() -> Result<()>) -> Result<Answers> {
    let ends = Arc::<AtomicBool>::default();
    let mut clients = JoinSet::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        for key in KEYS {
            let (connected, ends) = (Clients::new(endpoint)?, ends.clone());
            clients.spawn(async move { client(connected, format!("{key}/{at}"), &ends).await });
        }
    }
    let acted = act().await;
    ends.store(true, Ordering::Relaxed);
    let mut all = Answers::default();
    while let Some(answers) = clients.join_next().await {
        let Answers { rounds, failed, longest } = answers??;
        all.rounds += rounds;
        all.failed.extend(failed);
        all.longest = all.longest.max(longest);
    }
    acted.map(|()| all)
}

async fn client(clients: Clients, key: String, ends: &AtomicBool) -> Result<Answers> {
    let mut answers = Answers::default();
    let begun = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        answers.rounds += 1;
        let value = answers.rounds.to_string();
        let asked = Instant::now();
        match tokio::time::timeout(ANSWER_MAX, round(clients.clone(), &key, &value)).await {
            Ok(Ok(read)) => ensure!(read == value, "{key}: {read} instead of {value}"),
            Ok(Err(error)) => answers.failed.push(format!("{key} after {:?}: {error:#}", begun.elapsed())),
            Err(_) => answers.failed.push(format!("{key} after {:?}: no answer", begun.elapsed())),
        }
        answers.longest = answers.longest.max(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(answers)
}

/// Writes the value in a transaction that looks at the key first, and answers what is read then.
async fn round(mut clients: Clients, key: &str, value: &str) -> Result<String> {
    let put =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    // Whether it is there or not.
    let any = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: put.key.clone(),
        target_union: Some(TargetUnion::Version(-1)),
        ..Compare::default()
    };
    let range = RangeRequest { key: put.key.clone(), ..RangeRequest::default() };
    let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
    clients.kv.txn(TxnRequest { compare: vec![any], success, failure: Vec::new() }).await?;
    let found = clients.kv.range(range).await?.into_inner();
    let kv = found.kvs.into_iter().next().context("the key is there")?;
    Ok(String::from_utf8_lossy(&kv.value).into_owned())
}
