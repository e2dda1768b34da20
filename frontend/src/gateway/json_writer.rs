//! JSON text of one response, written in bounded steps.
//!
//!     {"header":{…},"kvs":[{…},{…},{…},{…}],"count":"4"}
//!     └────── step ───────┘└──── step ────┘└── step ───┘
//!
//! A response is read from its encoded form field by field, so that neither all of its fields nor all of its text stand
//! in memory beside it, and whoever shares its thread is served between two steps. Fields are encoded in the order of
//! their numbers, in which they are written, too.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use tonic::Status;

/// Bytes of text after which a step ends. A single value may be longer.
const STEP_BYTES: usize = 8 << 10;
/// Encoded messages up to this size are written in one go.
const SMALL_BYTES: usize = 2 << 10;

const WRITING: SerializeOptions = SerializeOptions::new().use_proto_field_name(true);

/// A response that is being written.
pub(super) struct JsonWriter {
    /// Messages that are open, the innermost last.
    open: Vec<Level>,
}

/// One message of which a part is written.
struct Level {
    message: MessageDescriptor,
    /// Fields that are not written yet.
    rest: Bytes,
    /// Number of the list that is open.
    list: Option<u32>,
    has_brace: bool,
    has_fields: bool,
}

impl Level {
    fn new(message: MessageDescriptor, rest: Bytes) -> Level {
        Level { message, rest, list: None, has_brace: false, has_fields: false }
    }

    /// Ends the open list, if there is one, and separates the next field from those before.
    fn next_field(&mut self, text: &mut Vec<u8>) {
        if self.list.take().is_some() {
            text.push(b']');
        }
        if std::mem::replace(&mut self.has_fields, true) {
            text.push(b',');
        }
    }

    /// Takes the next field off, and those of the same list behind it where its elements are no messages.
    fn take(&mut self) -> Result<Option<(FieldDescriptor, Bytes, Bytes)>, Status> {
        let mut rest = self.rest.clone();
        let (number, payload) = skip(&mut rest)?;
        let field = self.message.get_field(number);
        let is_plain_list = field.as_ref().is_some_and(|field| {
            field.is_map() || field.is_list() && !matches!(field.kind(), Kind::Message(_))
        });
        while is_plain_list && rest.has_remaining() {
            let mut behind = rest.clone();
            if skip(&mut behind)?.0 != number {
                break;
            }
            rest = behind;
        }
        let whole = self.rest.split_to(self.rest.len() - rest.len());
        Ok(field.map(|field| (field, whole, payload)))
    }
}

impl JsonWriter {
    /// `message`: encoded as `descriptor` says. The first step begins with its brace.
    pub(super) fn new(descriptor: MessageDescriptor, message: Bytes) -> JsonWriter {
        JsonWriter { open: vec![Level::new(descriptor, message)] }
    }

    /// Writes on behind what `text` has. Answers whether that was the end.
    ///
    /// # Errors
    /// `Internal`: a service has answered with something else than it should.
    pub(super) fn step(&mut self, text: &mut Vec<u8>) -> Result<bool, Status> {
        let most = text.len() + STEP_BYTES;
        while text.len() < most {
            let Some(level) = self.open.last_mut() else { return Ok(true) };
            if !std::mem::replace(&mut level.has_brace, true) {
                text.push(b'{');
            }
            if level.rest.is_empty() {
                if level.list.is_some() {
                    text.push(b']');
                }
                text.push(b'}');
                self.open.pop();
            } else if let Some((field, whole, payload)) = level.take()? {
                let inner = write_field(level, &field, whole, payload, text)?;
                self.open.extend(inner);
            }
        }
        Ok(self.open.is_empty())
    }
}

/// Writes a field, or begins it and answers the message in it that is yet to be written.
fn write_field(
    level: &mut Level,
    field: &FieldDescriptor,
    whole: Bytes,
    payload: Bytes,
    text: &mut Vec<u8>,
) -> Result<Option<Level>, Status> {
    let Kind::Message(inner) = field.kind() else { return write_whole(level, whole, text).map(|()| None) };
    if field.is_map() || inner.full_name().starts_with("google.protobuf.") {
        return write_whole(level, whole, text).map(|()| None);
    }
    if level.list == Some(field.number()) {
        text.push(b',');
    } else {
        level.next_field(text);
        text.extend_from_slice(format!("\"{}\":", field.name()).as_bytes());
        if field.is_list() {
            level.list = Some(field.number());
            text.push(b'[');
        }
    }
    if payload.len() > SMALL_BYTES {
        return Ok(Some(Level::new(inner, payload)));
    }
    write_message(inner, payload, text).map(|()| None)
}

/// Writes fields that are no messages, as a message of nothing else has them.
fn write_whole(level: &mut Level, whole: Bytes, text: &mut Vec<u8>) -> Result<(), Status> {
    let mut object = Vec::new();
    write_message(level.message.clone(), whole, &mut object)?;
    let fields = object.strip_prefix(b"{").and_then(|object| object.strip_suffix(b"}"));
    // What has its default is left out.
    if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
        level.next_field(text);
        text.extend_from_slice(fields);
    }
    Ok(())
}

fn write_message(descriptor: MessageDescriptor, message: Bytes, text: &mut Vec<u8>) -> Result<(), Status> {
    let message = DynamicMessage::decode(descriptor, message).map_err(|error| internal(&error))?;
    message
        .serialize_with_options(&mut serde_json::Serializer::new(text), &WRITING)
        .map_err(|error| internal(&error))
}

/// Skips the next field; answers its number, and what is in it where that has a length.
fn skip(rest: &mut Bytes) -> Result<(u32, Bytes), Status> {
    let (number, wire) = decode_key(rest).map_err(|error| internal(&error))?;
    if wire != WireType::LengthDelimited {
        skip_field(wire, number, rest, DecodeContext::default()).map_err(|error| internal(&error))?;
        return Ok((number, Bytes::new()));
    }
    let bytes = decode_varint(rest).map_err(|error| internal(&error))?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= rest.len() => Ok((number, rest.split_to(bytes))),
        _ => Err(internal(&"a field is longer than its message")),
    }
}

fn internal(error: &dyn std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use proto::etcdserverpb::response_op::Response;
    use proto::etcdserverpb::{
        AuthUserListResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse, WatchResponse,
    };
    use proto::mvccpb::{Event, KeyValue};

    use super::super::mapping::Mapping;
    use super::*;
    use crate::grpc::method::MethodId;

    fn kv(number: usize, value_bytes: usize) -> KeyValue {
        KeyValue {
            key: format!("key-{number}").into(),
            value: vec![b'v'; value_bytes].into(),
            mod_revision: 7,
            ..KeyValue::default()
        }
    }

    fn range(kvs: usize, value_bytes: usize) -> RangeResponse {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let kvs = (0..kvs).map(|number| kv(number, value_bytes)).collect();
        RangeResponse { header, kvs, more: true, count: 12 }
    }

    /// The text of a response, and the longest step.
    #[track_caller]
    fn check(path: &str, message: &impl Message) -> usize {
        let mapping = Mapping::of(MethodId::of(path).expect("it is in the table").method());
        let message: Bytes = message.encode_to_vec().into();
        let mut whole = Vec::new();
        write_message(mapping.response().clone(), message.clone(), &mut whole).expect("it is a response");
        let (mut writer, mut text, mut longest) = (mapping.writer(message), Vec::new(), 0);
        loop {
            let before = text.len();
            let ended = writer.step(&mut text).expect("it is a response");
            longest = longest.max(text.len() - before);
            if ended {
                break;
            }
        }
        assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(whole).unwrap());
        longest
    }

    #[test]
    fn a_long_response_is_written_in_steps() {
        let longest = check("/etcdserverpb.KV/Range", &range(20_000, 100));
        assert!(longest < STEP_BYTES + 4 * SMALL_BYTES, "{longest} bytes at once");
    }

    proptest! {
        #[test]
        fn steps_come_to_what_is_written_at_once(kvs in 0_usize..40, value_bytes in 0_usize..6_000, ops in 0_usize..4) {
            let range = range(kvs, value_bytes);
            check("/etcdserverpb.KV/Range", &range);
            let op = ResponseOp { response: Some(Response::ResponseRange(range.clone())) };
            let txn = TxnResponse { header: range.header, succeeded: kvs % 2 == 0, responses: vec![op; ops] };
            check("/etcdserverpb.KV/Txn", &txn);
            let events = range.kvs.into_iter().map(|kv| Event { kv: Some(kv), ..Event::default() }).collect();
            let watch = WatchResponse { watch_id: 3, created: true, events, ..WatchResponse::default() };
            check("/etcdserverpb.Watch/Watch", &watch);
            let users = (0..kvs).map(|number| format!("user {number}")).collect();
            check("/etcdserverpb.Auth/UserList", &AuthUserListResponse { header: None, users });
        }
    }
}
