//! The watchers of one client at a memstore in another process, and what there is to tell it.
//!
//! The owner pulls, as from a stream in this process: one that doesn't stops the flow of its own stream alone, and
//! its watchers at the memstore fall back to history. What it wants changed is sent while it pulls.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use journal::Revision;
use proto::memstore::memstore_client::MemstoreClient;
use proto::memstore::{WatchChanges, WatchQuiet, WatchUpdates};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::mirror::Mirror;
use crate::event::Event;
use crate::watch::{Update, WatchSpec, WatcherKey};
use crate::wire::watching::{News, Wish, add_bytes, read_update, write_wish};
use crate::wire::{MESSAGE_BYTES_MAX, Malformed, fits};

/// Changes that one message takes.
const CHANGES_AT_ONCE: usize = 1_024;

/// Any number of watchers, over any partitions of one memstore.
pub(crate) struct RemoteStream {
    channel: Channel,
    cluster: u64,
    mirror: Mirror,
    keys: u64,
    watchers: HashMap<WatcherKey, Watcher>,
    unsent: Unsent,
    /// Of one message, in order.
    updates: VecDeque<Update>,
    /// Once these are handed out.
    quiet: Option<WatchQuiet>,
    line: Line,
}

struct Watcher {
    told: Revision,
    /// Of a revision that has yet to come whole.
    part: Vec<Arc<Event>>,
}

/// What is wanted and not sent: bounded by the watchers, since of two questions only the later counts.
#[derive(Default)]
struct Unsent {
    adds: VecDeque<(WatcherKey, WatchSpec)>,
    removes: Vec<WatcherKey>,
    asks: BTreeMap<WatcherKey, Revision>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<WatchUpdates>, Status>> + Send>>;

/// The way to the memstore. Kept over calls that were given up.
enum Line {
    /// Nothing was wanted so far.
    Idle,
    Opening(Opening, mpsc::Sender<WatchChanges>),
    Open(Box<Streaming<WatchUpdates>>, mpsc::Sender<WatchChanges>),
    Broken,
}

impl RemoteStream {
    pub(super) fn new(channel: Channel, cluster: u64, mirror: Mirror) -> RemoteStream {
        let (watchers, updates) = (HashMap::new(), VecDeque::new());
        let (unsent, line) = (Unsent::default(), Line::Idle);
        RemoteStream { channel, cluster, mirror, keys: 0, watchers, unsent, updates, quiet: None, line }
    }

    /// Whether it can be watched is told by `next`.
    pub(crate) fn add(&mut self, spec: WatchSpec) -> WatcherKey {
        self.keys += 1;
        let key = WatcherKey(self.keys);
        let told = Revision(spec.from.0.saturating_sub(1));
        self.watchers.insert(key, Watcher { told, part: Vec::new() });
        self.unsent.adds.push_back((key, spec));
        key
    }

    pub(crate) fn remove(&mut self, key: WatcherKey) {
        if self.watchers.remove(&key).is_none() {
            return;
        }
        self.unsent.asks.remove(&key);
        let added = self.unsent.adds.iter().position(|(added, _)| *added == key);
        match added {
            Some(place) => drop(self.unsent.adds.remove(place)),
            None => self.unsent.removes.push(key),
        }
    }

    pub(crate) fn ask(&mut self, key: WatcherKey, revision: Revision) {
        if let Some(watcher) = self.watchers.get(&key) {
            if revision <= watcher.told {
                let upto = watcher.told;
                self.updates.push_back(Update::Told { watcher: key, upto });
                self.unsent.asks.remove(&key);
            } else {
                self.unsent.asks.insert(key, revision);
            }
        }
    }

    pub(crate) fn told(&self, key: WatcherKey) -> Revision {
        self.watchers.get(&key).map_or(Revision::ZERO, |watcher| watcher.told)
    }

    pub(crate) async fn next(&mut self) -> Update {
        loop {
            while let Some(update) = self.updates.pop_front() {
                if self.hand_out(&update) {
                    return update;
                }
            }
            if let Some(quiet) = self.quiet.take() {
                self.hush(&quiet);
            }
            if let Line::Broken = self.line {
                return Update::Closed;
            }
            if let Err(status) = self.step().await {
                tracing::debug!(%status, "a watch stream to a memstore broke");
                self.line = Line::Broken;
            }
        }
    }

    /// Nothing has happened to those that are not named.
    fn hush(&mut self, quiet: &WatchQuiet) {
        let except: HashSet<u64> = quiet.except.iter().copied().collect();
        for (key, watcher) in &mut self.watchers {
            // Of later ones the memstore did not know yet.
            if key.0 <= quiet.last && !except.contains(&key.0) {
                watcher.told = watcher.told.max(Revision(quiet.told));
            }
        }
    }

    /// Whether it is for somebody: what was under way to a watcher that is removed is nobody's.
    fn hand_out(&mut self, update: &Update) -> bool {
        match update {
            Update::Events { watcher, upto, .. } | Update::Told { watcher, upto } => {
                let Some(watcher) = self.watchers.get_mut(watcher) else { return false };
                watcher.told = watcher.told.max(*upto);
                true
            }
            Update::Compacted { watcher, .. } | Update::Moved { watcher, .. } => {
                self.watchers.remove(watcher).is_some()
            }
            Update::Closed => true,
        }
    }

    /// Waits for one thing to happen. May be given up at any moment.
    async fn step(&mut self) -> Result<(), Status> {
        let down = self.mirror.down();
        tokio::select! {
            biased;
            stepped = step(&mut self.line, &mut self.unsent, &self.channel, self.cluster) => {
                if let Some(updates) = stepped? {
                    self.hear(updates)?;
                }
            }
            () = down => return Err(Status::deadline_exceeded("the memstore says nothing any more")),
        }
        Ok(())
    }

    fn hear(&mut self, updates: WatchUpdates) -> Result<(), Malformed> {
        for update in updates.updates {
            let update = match read_update(update)? {
                News::Events { watcher, events, upto } => self.events(WatcherKey(watcher), events, upto),
                News::Told { watcher, upto } => Some(Update::Told { watcher: WatcherKey(watcher), upto }),
                News::Compacted { watcher, compacted } => {
                    Some(Update::Compacted { watcher: WatcherKey(watcher), compacted })
                }
                News::Moved { watcher, upto } => Some(Update::Moved { watcher: WatcherKey(watcher), upto }),
                News::Closed => Some(Update::Closed),
            };
            self.updates.extend(update);
        }
        self.quiet = updates.quiet;
        Ok(())
    }

    fn events(
        &mut self,
        key: WatcherKey,
        mut events: Vec<Arc<Event>>,
        upto: Option<Revision>,
    ) -> Option<Update> {
        let watcher = self.watchers.get_mut(&key)?;
        if !watcher.part.is_empty() {
            watcher.part.append(&mut events);
            events = std::mem::take(&mut watcher.part);
        }
        match upto {
            Some(upto) => Some(Update::Events { watcher: key, events, upto }),
            None => {
                watcher.part = events;
                None
            }
        }
    }
}

/// What the memstore has told, if it was that.
async fn step(
    line: &mut Line,
    unsent: &mut Unsent,
    channel: &Channel,
    cluster: u64,
) -> Result<Option<WatchUpdates>, Status> {
    match line {
        Line::Idle if unsent.is_empty() => std::future::pending().await,
        Line::Idle => *line = open(channel.clone()),
        Line::Opening(opening, _) => {
            let updates = opening.await?;
            let Line::Opening(_, out) = std::mem::replace(line, Line::Broken) else {
                unreachable!("it was looked at")
            };
            *line = Line::Open(Box::new(updates), out);
        }
        Line::Open(updates, out) => tokio::select! {
            biased;
            room = out.reserve(), if !unsent.is_empty() => {
                let room = room.map_err(|_| Status::unavailable("it has hung up"))?;
                let changes = unsent.take().into_iter().map(write_wish).collect();
                room.send(WatchChanges { cluster, changes });
            }
            message = updates.message() => {
                return message?.map(Some).ok_or_else(|| Status::unavailable("it has hung up"));
            }
        },
        Line::Broken => return Err(Status::unavailable("it has hung up")),
    }
    Ok(None)
}

fn open(channel: Channel) -> Line {
    let (out, changes) = mpsc::channel(1);
    let opening = async move {
        let mut client = MemstoreClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.watch(ReceiverStream::new(changes)).await?.into_inner())
    };
    Line::Opening(Box::pin(opening), out)
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removes.is_empty() && self.asks.is_empty()
    }

    /// As many as a message takes, of their number and of their bytes. A question comes after what it asks about.
    fn take(&mut self) -> Vec<Wish> {
        let removed = self.removes.len().min(CHANGES_AT_ONCE);
        let mut wishes: Vec<Wish> =
            self.removes.drain(..removed).map(|key| Wish::Remove { watcher: key.0 }).collect();
        let room = CHANGES_AT_ONCE - wishes.len();
        let added = fits(self.adds.iter().take(room).map(|(_, spec)| add_bytes(spec)));
        let adds = self.adds.drain(..added).map(|(key, spec)| Wish::Add { watcher: key.0, spec });
        wishes.extend(adds);
        while wishes.len() < CHANGES_AT_ONCE && self.adds.is_empty() {
            let Some((key, revision)) = self.asks.pop_first() else { break };
            wishes.push(Wish::Ask { watcher: key.0, revision });
        }
        wishes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::KeyRange;
    use prost::Message;

    use super::*;
    use crate::partition_id::PartitionId;
    use crate::wire::MESSAGE_BYTES;

    #[test]
    fn watchers_of_the_largest_keys_are_added_in_messages_that_a_line_takes() {
        let mut unsent = Unsent::default();
        let key = Bytes::from(vec![0; 1_000_000]);
        for number in 0..3_000 {
            let keys = KeyRange::Range { start: key.clone(), end: key.clone() };
            let (partition, from) = (PartitionId(1), Revision(1));
            let spec = WatchSpec { partition, keys, from, prev_kv: false, puts: true, deletes: true };
            unsent.adds.push_back((WatcherKey(number), spec));
            unsent.removes.push(WatcherKey(number));
            unsent.asks.insert(WatcherKey(number), Revision(2));
        }
        let (mut added, mut asked, mut removed) = (0, 0, 0);
        while !unsent.is_empty() {
            let wishes = unsent.take();
            assert!(!wishes.is_empty() && wishes.len() <= CHANGES_AT_ONCE);
            for wish in &wishes {
                match wish {
                    Wish::Remove { .. } => removed += 1,
                    Wish::Add { .. } => added += 1,
                    Wish::Ask { watcher, .. } => {
                        assert!(*watcher < added, "{watcher} is asked about before it is added");
                        asked += 1;
                    }
                }
            }
            let changes = wishes.into_iter().map(write_wish).collect();
            let bytes = WatchChanges { cluster: 7, changes }.encoded_len();
            assert!(bytes <= 3 * MESSAGE_BYTES, "{bytes}");
        }
        assert_eq!((added, asked, removed), (3_000, 3_000, 3_000));
    }
}
