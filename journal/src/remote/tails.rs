//! Following a journal in another process.
//!
//! Any node serves a tail, and one that follows the leader serves it without burdening it: those are asked first.
//! Where a node falls silent, the next one goes on at the same position.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use proto::journal::journal_client::JournalClient;
use proto::journal::{TailPart, TailRequest};
use tokio::sync::watch;
use tonic::Streaming;

use super::Remote;
use crate::client::Status;
use crate::clock::Wait;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::record::Entry;
use crate::wire::{MESSAGE_BYTES_MAX, entries};

/// A node that says nothing for so long is left, though it may only be slow: ten signs of life are missing. One that is
/// frozen accepts connections all the same.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long until a node that could not be reached is followed by the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens tails.
#[derive(Clone)]
pub(crate) struct RemoteTails {
    remote: Remote,
    status: watch::Receiver<Status>,
}

impl RemoteTails {
    pub(super) fn new(remote: Remote, status: watch::Receiver<Status>) -> RemoteTails {
        RemoteTails { remote, status }
    }

    /// A reader that begins at `from`.
    pub(crate) fn open(&self, from: Lsn) -> RemoteTail {
        RemoteTail { next: from.max(Lsn(1)), tails: self.clone(), from: From::Nowhere, left: None, tried: 0 }
    }

    /// URLs of the nodes, those first that do not lead. From one to the next both the node and the place among its URLs
    /// change: a node may be gone, or a network.
    fn urls(&self) -> Vec<String> {
        let status = self.status.borrow();
        let mut members: Vec<_> = status.members.iter().collect();
        members.sort_by_key(|member| Some(member.id) == status.leader);
        let rounds = members.iter().map(|member| member.peer_urls.len()).max().unwrap_or_default();
        let members: Vec<_> = members.iter().filter(|member| !member.peer_urls.is_empty()).collect();
        let round = |round: usize| {
            let urls = members.iter().enumerate().filter(move |(_, member)| round < member.peer_urls.len());
            urls.map(move |(nth, member)| member.peer_urls[(nth + round) % member.peer_urls.len()].clone())
        };
        let urls: Vec<String> = (0..rounds).flat_map(round).collect();
        if urls.is_empty() { self.remote.endpoints.clone() } else { urls }
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<TailPart>, tonic::Status>> + Send>>;

/// Where the entries come from. Kept over calls that were given up.
enum From {
    Nowhere,
    Pause(Wait),
    Opening { opening: Opening, patience: Wait },
    Stream(Box<Streaming<TailPart>>),
}

/// A reader of the journal of other processes.
pub(crate) struct RemoteTail {
    next: Lsn,
    tails: RemoteTails,
    from: From,
    /// The one that was followed last, and is followed again only where there is no other.
    left: Option<String>,
    /// Which of the nodes comes next.
    tried: usize,
}

impl RemoteTail {
    pub(crate) fn position(&self) -> Lsn {
        self.next
    }

    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        loop {
            let part = match &mut self.from {
                From::Nowhere => {
                    self.from = self.turn();
                    continue;
                }
                From::Pause(pause) => {
                    pause.as_mut().await;
                    self.from = From::Nowhere;
                    continue;
                }
                From::Opening { opening, patience } => {
                    let opened = tokio::select! {
                        biased;
                        opened = opening.as_mut() => opened,
                        () = patience.as_mut() => Err(silent()),
                    };
                    match opened {
                        Ok(stream) => {
                            self.from = From::Stream(Box::new(stream));
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                From::Stream(stream) => {
                    let clock = &self.tails.remote.clock;
                    tokio::select! {
                        biased;
                        part = stream.message() => part,
                        () = clock.until(clock.now() + SILENCE_MAX) => Err(silent()),
                    }
                }
            };
            match part {
                Ok(Some(part)) => {
                    let entries = self.take(part)?;
                    if !entries.is_empty() {
                        return Ok(entries);
                    }
                }
                Ok(None) => self.leave(&tonic::Status::unavailable("it has hung up")),
                Err(error) => self.leave(&error),
            }
        }
    }

    /// Turns to the next node.
    fn turn(&mut self) -> From {
        let mut urls = self.tails.urls();
        if 1 < urls.len() {
            urls.retain(|url| Some(url) != self.left.as_ref());
        }
        let url = urls.get(self.tried % urls.len().max(1)).cloned();
        self.tried += 1;
        let channel = url.as_ref().and_then(|url| self.tails.remote.dialer.channel(url).ok());
        self.left = url;
        let Some(channel) = channel else { return self.pause() };
        let request = TailRequest { cluster: self.tails.status.borrow().cluster, from: self.next.0 };
        let opening = Box::pin(async move {
            let mut client = JournalClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(client.tail(request).await?.into_inner())
        });
        let clock = &self.tails.remote.clock;
        From::Opening { opening, patience: clock.until(clock.now() + SILENCE_MAX) }
    }

    fn leave(&mut self, error: &tonic::Status) {
        tracing::debug!(%error, position = %self.next, "a journal node no longer serves its tail: another one is asked");
        self.from = self.pause();
    }

    fn pause(&self) -> From {
        let clock = &self.tails.remote.clock;
        From::Pause(clock.until(clock.now() + PAUSE))
    }

    fn take(&mut self, part: TailPart) -> Result<Vec<Entry>, Error> {
        if let Some(first) = part.trimmed_first {
            return Err(Error::Trimmed { first: Lsn(first) });
        }
        let entries = part.entries.into_iter().map(entries::read).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| Error::Corrupt(error.to_string()))?;
        for entry in &entries {
            if entry.lsn != self.next {
                let expected = self.next;
                return Err(Error::Corrupt(format!("a tail told {} where {expected} comes next", entry.lsn)));
            }
            self.next = self.next.next();
        }
        Ok(entries)
    }
}

fn silent() -> tonic::Status {
    tonic::Status::deadline_exceeded("it says nothing any more")
}
