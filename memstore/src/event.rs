//! One visible change of one key, and its bytes on the wire.
//!
//! An event is made once, when its record is applied, and shared by everyone who watches the key: whoever sends
//! it first encodes it, everyone else takes those bytes. It lives as long as someone has yet to send it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use journal::Revision;
use prost::Message;

use crate::key_value::KeyValue;

/// Whether the key was written or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    Put,
    Delete,
}

/// What a write did to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    /// The write's place in its record. Together with the revision it orders everything.
    pub sub: u32,
    pub kind: EventKind,
    /// Of a deletion: the key, and the revision of the deletion.
    pub kv: KeyValue,
    /// The key just before. `None` where there was none, or where it is compacted or was not asked for.
    pub prev: Option<KeyValue>,
}

impl Change {
    /// About what it holds in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let prev = self.prev.as_ref().map_or(0, weight);
        weight(&self.kv) + prev + size_of::<Event>()
    }
}

/// A change on its way to whoever watches.
#[derive(Debug)]
pub struct Event {
    change: Change,
    wire: OnceLock<Bytes>,
    wire_with_prev: OnceLock<Bytes>,
}

impl Event {
    #[must_use]
    pub fn new(change: Change) -> Event {
        Event { change, wire: OnceLock::new(), wire_with_prev: OnceLock::new() }
    }

    /// One that came as `wire`, which is etcd's `mvccpb.Event` of it, with the key's state before if the change has it.
    #[must_use]
    pub(crate) fn of_wire(change: Change, wire: Bytes) -> Event {
        let event = Event::new(change);
        let place = if event.prev.is_some() { &event.wire_with_prev } else { &event.wire };
        place.get_or_init(|| wire);
        event
    }

    /// etcd's `mvccpb.Event`, encoded, with or without the key's state before.
    #[must_use]
    pub fn wire(&self, with_prev: bool) -> &Bytes {
        // A creation looks the same either way.
        if with_prev && self.prev.is_some() {
            self.wire_with_prev.get_or_init(|| self.encode(true))
        } else {
            self.wire.get_or_init(|| self.encode(false))
        }
    }

    /// About what it holds in memory, in bytes, before it is encoded.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.change.weight()
    }

    fn encode(&self, with_prev: bool) -> Bytes {
        let kind = match self.kind {
            EventKind::Put => proto::mvccpb::event::EventType::Put,
            EventKind::Delete => proto::mvccpb::event::EventType::Delete,
        };
        let prev = self.prev.as_ref().filter(|_| with_prev);
        let event =
            proto::mvccpb::Event { r#type: kind.into(), kv: Some(wire(&self.kv)), prev_kv: prev.map(wire) };
        event.encode_to_vec().into()
    }
}

impl std::ops::Deref for Event {
    type Target = Change;

    fn deref(&self) -> &Change {
        &self.change
    }
}

impl From<Change> for Arc<Event> {
    fn from(change: Change) -> Arc<Event> {
        Arc::new(Event::new(change))
    }
}

fn weight(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

fn wire(kv: &KeyValue) -> proto::mvccpb::KeyValue {
    proto::mvccpb::KeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision.to_wire(),
        mod_revision: kv.mod_revision.to_wire(),
        // A version is at most a revision, and those end far below 2^63.
        version: i64::try_from(kv.version).unwrap_or(i64::MAX),
        value: kv.value.clone(),
        lease: kv.lease.0,
    }
}

#[cfg(test)]
mod tests {
    use journal::LeaseId;

    use super::*;

    fn kv(value: &'static str, version: u64) -> KeyValue {
        KeyValue {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(value.as_bytes()),
            create_revision: Revision(2),
            mod_revision: Revision(1 + version),
            version,
            lease: LeaseId(7),
        }
    }

    fn put(prev: Option<KeyValue>) -> Event {
        Event::new(Change { revision: Revision(3), sub: 0, kind: EventKind::Put, kv: kv("b", 2), prev })
    }

    #[test]
    fn it_is_etcds_event() {
        let event = put(Some(kv("a", 1)));
        let decoded = proto::mvccpb::Event::decode(event.wire(true).clone()).expect("what we encoded");
        assert_eq!(decoded.kv, Some(wire(&event.kv)));
        assert_eq!(decoded.prev_kv, event.prev.as_ref().map(wire));
        let decoded = proto::mvccpb::Event::decode(event.wire(false).clone()).expect("what we encoded");
        assert_eq!(decoded.prev_kv, None);
    }

    #[test]
    fn it_is_encoded_once() {
        let event = put(Some(kv("a", 1)));
        assert_eq!(event.wire(true).as_ptr(), event.wire(true).as_ptr());
        assert_eq!(event.wire(false).as_ptr(), event.wire(false).as_ptr());
        let creation = put(None);
        assert_eq!(creation.wire(true).as_ptr(), creation.wire(false).as_ptr());
    }
}
