//! How a watch response gets onto the wire.
//!
//!     WatchResponse = head (header, watch_id, flags)   encoded here, small
//!                   + events, field 11, each           encoded once in the memstore, shared by all watchers

use std::sync::Arc;

use bytes::BufMut;
use memstore::Event;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::etcdserverpb::{WatchRequest, WatchResponse};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;

use super::frame_queue::Charge;

/// `WatchResponse.events`.
const EVENTS_FIELD: u32 = 11;

/// A response whose events are encoded already.
pub(crate) struct Frame {
    /// Everything but the events.
    pub(crate) head: WatchResponse,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) prev_kv: bool,
    /// Kept until it is encoded.
    pub(crate) charge: Option<Charge>,
}

impl Frame {
    /// A response without events.
    pub(crate) fn of(head: WatchResponse) -> Frame {
        Frame { head, events: Vec::new(), prev_kv: false, charge: None }
    }

    /// Bytes that the events take in the response.
    pub(crate) fn events_bytes(&self) -> usize {
        self.events.iter().map(|event| event_bytes(event, self.prev_kv)).sum()
    }
}

/// Bytes that `event` takes in a response.
pub(crate) fn event_bytes(event: &Event, prev_kv: bool) -> usize {
    let body = event.wire(prev_kv).len();
    prost::encoding::key_len(EVENTS_FIELD) + prost::length_delimiter_len(body) + body
}

#[derive(Clone, Copy, Default)]
pub(crate) struct WatchCodec;

impl Codec for WatchCodec {
    type Encode = Frame;
    type Decode = WatchRequest;
    type Encoder = FrameEncoder;
    type Decoder = <ProstCodec<WatchResponse, WatchRequest> as Codec>::Decoder;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<WatchResponse, WatchRequest>::raw_decoder(BufferSettings::default())
    }
}

pub(crate) struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.head.encoded_len() + frame.events_bytes());
        frame.head.encode_raw(buffer);
        for event in &frame.events {
            let body = event.wire(frame.prev_kv);
            encode_key(EVENTS_FIELD, WireType::LengthDelimited, buffer);
            encode_varint(body.len() as u64, buffer);
            buffer.put_slice(body);
        }
        Ok(())
    }
}
