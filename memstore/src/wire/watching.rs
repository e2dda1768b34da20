//! Watchers and what they are told, from and to messages.
//!
//! An event travels as the bytes that a client gets in the end: whoever passes it on encodes nothing again.

use std::sync::Arc;

use journal::Revision;
use prost::Message;
use proto::memstore as message;
use proto::memstore::watch_change::Change as Changes;
use proto::memstore::watch_update::Update as Updates;

use super::{AROUND_BYTES, Malformed, keys_bytes, read_keys, write_keys};
use crate::event::{Change, Event, EventKind};
use crate::key_value::KeyValue;
use crate::partition_id::PartitionId;
use crate::watch::WatchSpec;

/// What whoever watches wants to have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Add { watcher: u64, spec: WatchSpec },
    Remove { watcher: u64 },
    Ask { watcher: u64, revision: Revision },
}

/// What it is told.
#[derive(Debug)]
pub(crate) enum News {
    /// `upto` is absent where more of the same follow.
    Events {
        watcher: u64,
        events: Vec<Arc<Event>>,
        upto: Option<Revision>,
    },
    Told {
        watcher: u64,
        upto: Revision,
    },
    Compacted {
        watcher: u64,
        compacted: Revision,
    },
    Moved {
        watcher: u64,
        upto: Revision,
    },
    Closed,
}

/// About what a watcher that is added takes in its message.
pub(crate) fn add_bytes(spec: &WatchSpec) -> usize {
    keys_bytes(&spec.keys) + AROUND_BYTES
}

pub(crate) fn write_wish(wish: Wish) -> message::WatchChange {
    let change = match wish {
        Wish::Add { watcher, spec } => {
            let WatchSpec { partition, keys, from, prev_kv, puts, deletes } = spec;
            let (partition, keys, from) = (partition.0, Some(write_keys(&keys)), from.0);
            Changes::Add(message::WatchAdd { watcher, partition, keys, from, prev_kv, puts, deletes })
        }
        Wish::Remove { watcher } => Changes::Remove(watcher),
        Wish::Ask { watcher, revision } => Changes::Ask(message::WatchAsk { watcher, revision: revision.0 }),
    };
    message::WatchChange { change: Some(change) }
}

pub(crate) fn read_wish(change: message::WatchChange) -> Result<Wish, Malformed> {
    Ok(match change.change.ok_or_else(|| Malformed::without("the change"))? {
        Changes::Add(message::WatchAdd { watcher, partition, keys, from, prev_kv, puts, deletes }) => {
            let (partition, keys, from) = (PartitionId(partition), read_keys(keys)?, Revision(from));
            Wish::Add { watcher, spec: WatchSpec { partition, keys, from, prev_kv, puts, deletes } }
        }
        Changes::Remove(watcher) => Wish::Remove { watcher },
        Changes::Ask(message::WatchAsk { watcher, revision }) => {
            Wish::Ask { watcher, revision: Revision(revision) }
        }
    })
}

/// Events need to know whether their states before are wanted.
pub(crate) fn write_events(
    watcher: u64,
    events: &[Arc<Event>],
    prev_kv: bool,
    upto: Option<Revision>,
) -> message::WatchUpdate {
    let event = |event: &Arc<Event>| message::Event { event: event.wire(prev_kv).clone(), sub: event.sub };
    let (events, upto) = (events.iter().map(event).collect(), upto.map(|upto| upto.0));
    update(watcher, Updates::Events(message::WatchEvents { events, upto }))
}

pub(crate) fn write_told(watcher: u64, upto: Revision) -> message::WatchUpdate {
    update(watcher, Updates::Told(upto.0))
}

pub(crate) fn write_compacted(watcher: u64, compacted: Revision) -> message::WatchUpdate {
    update(watcher, Updates::Compacted(compacted.0))
}

pub(crate) fn write_moved(watcher: u64, upto: Revision) -> message::WatchUpdate {
    update(watcher, Updates::Moved(upto.0))
}

pub(crate) fn write_closed() -> message::WatchUpdate {
    update(0, Updates::Closed(message::Nothing {}))
}

fn update(watcher: u64, update: Updates) -> message::WatchUpdate {
    message::WatchUpdate { watcher, update: Some(update) }
}

pub(crate) fn read_update(update: message::WatchUpdate) -> Result<News, Malformed> {
    let watcher = update.watcher;
    Ok(match update.update.ok_or_else(|| Malformed::without("the update"))? {
        Updates::Events(message::WatchEvents { events, upto }) => {
            let events = events.into_iter().map(read_event).collect::<Result<_, _>>()?;
            News::Events { watcher, events, upto: upto.map(Revision) }
        }
        Updates::Told(upto) => News::Told { watcher, upto: Revision(upto) },
        Updates::Compacted(compacted) => News::Compacted { watcher, compacted: Revision(compacted) },
        Updates::Moved(upto) => News::Moved { watcher, upto: Revision(upto) },
        Updates::Closed(_) => News::Closed,
    })
}

/// The bytes stay as they are, for the client; keys and values share their memory.
fn read_event(event: message::Event) -> Result<Arc<Event>, Malformed> {
    let message::Event { event: wire, sub } = event;
    let read = proto::mvccpb::Event::decode(wire.clone());
    let read = read.map_err(|error| Malformed(format!("an event: {error}")))?;
    let kind = match read.r#type() {
        proto::mvccpb::event::EventType::Put => EventKind::Put,
        proto::mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    let kv: KeyValue = read.kv.ok_or_else(|| Malformed::without("an event's key"))?.into();
    let (revision, prev) = (kv.mod_revision, read.prev_kv.map(KeyValue::from));
    Ok(Arc::new(Event::of_wire(Change { revision, sub, kind, kv, prev }, wire)))
}
