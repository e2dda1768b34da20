//! One Observe stream: a task that follows an election, and a bounded channel to the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use journal::{KeyRange, Revision};
use memstore::{Event, EventKind, KeyValue};
use proto::v3electionpb::LeaderResponse;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::answer::{Answered, Position};
use crate::client::{Turns, everyone};
use crate::error::Error;
use crate::etcd::header::Identity;

/// Answers on their way to the connection. When full, the election is followed later, and none is left out.
const LEADERS_MAX: usize = 4;

/// Where the connection takes the answers from. Dropping it ends the stream's task.
pub(crate) struct Leaders {
    leaders: mpsc::Receiver<LeaderResponse>,
}

impl Leaders {
    pub(super) fn observe(turns: Turns, identity: Identity, name: Bytes) -> Leaders {
        let (sender, leaders) = mpsc::channel(LEADERS_MAX);
        tokio::spawn(async move {
            let observer = Observer { turns, identity, name, leaders: sender.clone() };
            tokio::select! {
                // Whatever ends it, etcd's stream ends without a word, and its clients observe anew.
                _ = observer.run() => {}
                () = sender.closed() => {}
            }
        });
        Leaders { leaders }
    }
}

impl Stream for Leaders {
    type Item = Result<LeaderResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.leaders.poll_recv(context).map(|leader| leader.map(Ok))
    }
}

struct Observer {
    turns: Turns,
    identity: Identity,
    name: Bytes,
    leaders: mpsc::Sender<LeaderResponse>,
}

impl Observer {
    /// Leader after leader.
    async fn run(self) -> Result<(), Error> {
        loop {
            let Answered { answer, at } = self.turns.first(&self.name).await?;
            let (leader, at) = match answer {
                Some(leader) => (leader, at),
                None => self.next_candidate(at).await?,
            };
            let key = leader.key.clone();
            self.tell(leader, at).await?;
            self.follow(key, at).await?;
        }
    }

    /// Whoever joins first while nobody is there.
    async fn next_candidate(&self, at: Position) -> Result<(KeyValue, Position), Error> {
        let mut watch = self.turns.client().watch(everyone(&self.name), Some(at.revision.next()));
        loop {
            let events = watch.next().await?;
            if let Some(event) = events.iter().find(|event| event.kind == EventKind::Put) {
                let kv = event.kv.clone();
                let revision = kv.mod_revision;
                return Ok((kv, Position { revision, ..at }));
            }
        }
    }

    /// What a leader proclaims, until it leads no more.
    async fn follow(&self, key: Bytes, at: Position) -> Result<(), Error> {
        let mut watch = self.turns.client().watch(KeyRange::Single(key), Some(at.revision.next()));
        loop {
            let events = watch.next().await?;
            let revision = last_revision(&events);
            for event in events {
                match event.kind {
                    EventKind::Delete => return Ok(()),
                    EventKind::Put => self.tell(event.kv.clone(), Position { revision, ..at }).await?,
                }
            }
        }
    }

    async fn tell(&self, leader: KeyValue, at: Position) -> Result<(), Error> {
        let response = LeaderResponse { header: Some(self.identity.header(at)), kv: Some(leader.into()) };
        self.leaders.send(response).await.map_err(|_| Error::Stopped)
    }
}

fn last_revision(events: &[std::sync::Arc<Event>]) -> Revision {
    events.last().expect("a watch never tells nothing").kv.mod_revision
}
