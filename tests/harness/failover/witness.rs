//! A client that watches all that a load writes, over one member: each change is told once, and in order.
//!
//! Nobody else writes, and each write changes one key: what it is told is one event for each revision. A stream that
//! breaks is opened again behind what was told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Streaming;

use super::RECOVERY_MAX;
use crate::clients::Clients;

/// Between two tries to reach a member.
const PAUSE: Duration = Duration::from_millis(25);

/// What it was told.
#[derive(Clone, Debug)]
struct Told {
    upto: i64,
    wrong: Option<String>,
}

pub(super) struct Witness {
    told: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Watches what begins with `prefix`, and changes after `revision`.
    pub(super) fn begin(clients: Clients, prefix: &str, revision: i64) -> Witness {
        let (tell, told) = watch::channel(Told { upto: revision, wrong: None });
        let task = tokio::spawn(watch_on(clients, prefix.to_owned(), tell));
        Witness { told, task }
    }

    /// Waits until it was told everything up to `revision`, and says whether it was told that rightly.
    pub(super) async fn testify(&self, revision: i64) -> Result<()> {
        let mut told = self.told.clone();
        let all = told.wait_for(|told| revision <= told.upto || told.wrong.is_some());
        let told = tokio::time::timeout(RECOVERY_MAX, all).await;
        let told = told.with_context(|| format!("{:?} is all that was told", self.told.borrow()))??;
        ensure!(told.wrong.is_none() && told.upto == revision, "not up to {revision}: {told:?}");
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch_on(clients: Clients, prefix: String, tell: watch::Sender<Told>) {
    while tell.borrow().wrong.is_none() {
        let next = tell.borrow().upto + 1;
        if let Ok(mut stream) = open(&clients, &prefix, next).await {
            while let Ok(Some(response)) = stream.message().await {
                tell.send_modify(|told| hear(told, &response));
                if response.canceled {
                    break;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(clients: &Clients, prefix: &str, start_revision: i64) -> Result<Streaming<WatchResponse>> {
    let (key, range_end) = (prefix.to_owned().into(), format!("{prefix}~").into());
    let create = WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() };
    Ok(clients.watching(create).await?)
}

fn hear(told: &mut Told, response: &WatchResponse) {
    if response.compact_revision != 0 {
        told.wrong = Some(format!("compacted at {}: {response:?}", response.compact_revision));
    }
    for event in &response.events {
        let Some(kv) = &event.kv else { continue };
        if kv.mod_revision != told.upto + 1 {
            told.wrong = Some(format!("after revision {} comes {event:?}", told.upto));
            return;
        }
        told.upto = kv.mod_revision;
    }
}
