//! What all nodes of a journal say of themselves, as one status.
//!
//! The node of the newest term says who leads; the one that is furthest says everything else. Nodes that were not
//! named are learned from the members that the others tell of. All URLs of a node are listened to: which of them works
//! may change at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::journal::journal_client::JournalClient;
use proto::journal::{StatusPart, StatusRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::Remote;
use crate::client::Status;
use crate::dial::Dialer;
use crate::error::Error;
use crate::member::Member;
use crate::wire::status;

/// How long until a node that could not be reached is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The status of the whole, kept up to date until nobody looks any more.
pub(super) fn watch(remote: &Remote) -> watch::Receiver<Status> {
    let (merged, shown) = watch::channel(Status::default());
    tokio::spawn(run(remote.clone(), merged));
    shown
}

async fn run(remote: Remote, merged: watch::Sender<Status>) {
    let (told, mut tells) = tokio::sync::mpsc::channel(64);
    let mut asked = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let mut known: BTreeMap<String, Status> = BTreeMap::new();
    let ending = CancellationToken::new();
    let _ends = ending.clone().drop_guard();
    let mut cluster = remote.cluster;
    let mut strangers = BTreeSet::new();
    let mut ask = |urls: Vec<String>| {
        for url in urls {
            if asked.insert(url.clone()) {
                tasks.spawn(follow(remote.clone(), url, told.clone(), ending.clone()));
            }
        }
    };
    ask(remote.endpoints.clone());
    loop {
        let (url, status) = tokio::select! {
            () = merged.closed() => return,
            told = tells.recv() => told.expect("a sender is held here"),
        };
        match status {
            Some(status) if cluster.is_some_and(|cluster| cluster != status.cluster) => {
                if strangers.insert(url.clone()) {
                    let expected = cluster.unwrap_or_default();
                    tracing::error!(
                        url,
                        "this journal node belongs to cluster {:x}, and this process to {expected:x}: it is left \
                         alone; look at the addresses of the journal that you gave",
                        status.cluster
                    );
                }
                continue;
            }
            Some(status) => {
                cluster = Some(status.cluster);
                ask(status.members.iter().flat_map(|member| member.peer_urls.iter().cloned()).collect());
                known.insert(url, status);
            }
            None => drop(known.remove(&url)),
        }
        let now = merge(&known).map(|status| Status { node: remote.id, ..status });
        merged.send_if_modified(|status| {
            // Whom nobody tells of any more keeps its last state, without a leader.
            let now = now.unwrap_or_else(|| Status { leader: None, ..status.clone() });
            let changed = *status != now;
            *status = now;
            changed
        });
    }
}

fn merge(known: &BTreeMap<String, Status>) -> Option<Status> {
    let furthest = known.values().max_by_key(|status| status.applied)?;
    let newest = known.values().max_by_key(|status| (status.term, status.leader.is_some()))?;
    let mut members = furthest.members.clone();
    for (url, status) in known {
        // A cluster of one that nobody else joins has no members to tell of.
        if members.iter().all(|member| member.id != status.node) {
            members.push(Member { id: status.node, peer_urls: vec![url.clone()], ..Member::default() });
        }
    }
    Some(Status { leader: newest.leader, term: newest.term, members, ..furthest.clone() })
}

type Told = (String, Option<Status>);

/// Tells what one node says, and `None` when it says nothing any more.
async fn follow(
    remote: Remote,
    url: String,
    told: tokio::sync::mpsc::Sender<Told>,
    ending: CancellationToken,
) {
    loop {
        let end = tokio::select! {
            () = ending.cancelled() => return,
            end = listen(&remote, &url, &told) => end,
        };
        if let Err(error) = end {
            tracing::debug!(url, %error, "a journal node does not tell its status");
        }
        if told.send((url.clone(), None)).await.is_err() {
            return;
        }
        let pause = remote.clock.until(remote.clock.now() + PAUSE);
        tokio::select! {
            () = ending.cancelled() => return,
            () = pause => {}
        }
    }
}

async fn listen(
    remote: &Remote,
    url: &str,
    told: &tokio::sync::mpsc::Sender<Told>,
) -> Result<(), tonic::Status> {
    let mut parts = open_status(&remote.dialer, url).await?;
    while let Some(part) = parts.message().await? {
        let status = status::read(part)?;
        if told.send((url.to_owned(), Some(status))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What the node at `url` says of itself now.
///
/// # Errors
/// `Io`: it does not say it, and why.
pub async fn ask_status(dialer: &Dialer, url: &str) -> Result<Status, Error> {
    let said = async {
        let part = open_status(dialer, url).await?.message().await?;
        let part = part.ok_or_else(|| tonic::Status::unavailable("it says nothing"))?;
        Ok(status::read(part)?)
    };
    said.await.map_err(|status: tonic::Status| Error::Io(status.message().to_owned()))
}

/// What the node at `url` says of itself, now and whenever it changes.
pub(crate) async fn open_status(dialer: &Dialer, url: &str) -> Result<Streaming<StatusPart>, tonic::Status> {
    let channel = dialer.channel(url);
    let channel = channel.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    // Whose it is, it tells itself.
    let request = StatusRequest { cluster: 0 };
    Ok(JournalClient::new(channel).status(request).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    #[test]
    fn the_newest_term_says_who_leads_and_the_furthest_everything_else() {
        let zombie = Status {
            node: 1,
            leader: Some(1),
            term: 5,
            applied: Lsn(90),
            disk_bytes: 7,
            ..Status::default()
        };
        let follower = Status { node: 2, leader: Some(3), term: 6, applied: Lsn(80), ..Status::default() };
        let electing = Status { node: 3, leader: None, term: 6, applied: Lsn(85), ..Status::default() };
        let told = [zombie, follower, electing].map(|status| (format!("http://{}", status.node), status));
        let merged = merge(&told.into()).expect("three told");
        assert_eq!((merged.leader, merged.term), (Some(3), 6));
        assert_eq!((merged.applied, merged.disk_bytes), (Lsn(90), 7));
        assert_eq!(merged.members[2].peer_urls, ["http://3"]);
        assert_eq!(merge(&BTreeMap::new()), None);
    }
}
