//! One watcher of the whole key space, which tells how old each event is when it arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::client::STAMP_BYTES;
use super::connection::{Connection, Stream};
use super::endpoint::Method;
use super::failure::Failure;
use super::key_space::KeySpace;
use super::message::frame;
use super::tally::{Answer, Operation, Tally};

pub(super) struct Watcher {
    stream: Stream,
    stamps_from: Instant,
    /// When the measuring began: what was put before is not its subject.
    counts_from: Duration,
}

impl Watcher {
    /// Returns when the store has said that it watches.
    pub(super) async fn open(connection: &mut Connection, stamps_from: Instant) -> Result<Self, Failure> {
        let create =
            WatchCreateRequest { key: KeySpace::start(), range_end: KeySpace::end(), ..Default::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let mut stream = connection.stream(Method::Watch, frame(&mut BytesMut::new(), &request)).await?;
        let answer = WatchResponse::decode(stream.next().await?)?;
        if !answer.created || answer.canceled {
            return Err(Failure::watch(&answer.cancel_reason));
        }
        Ok(Self { stream, stamps_from, counts_from: Duration::MAX })
    }

    pub(super) fn counts_from(self, began: Instant) -> Self {
        Self { counts_from: began - self.stamps_from, ..self }
    }

    /// Ends by itself only when the store ends it.
    pub(super) async fn run(mut self, tally: Arc<Mutex<Tally>>) {
        loop {
            let answer = match self.next().await {
                Ok(answer) => answer,
                Err(failure) => return tally.lock().fail(failure),
            };
            let now = Instant::now();
            let mut tally = tally.lock();
            for event in answer.events {
                let stamp = event.kv.as_ref().and_then(|pair| pair.value.first_chunk::<STAMP_BYTES>());
                let put_at = stamp.map(|stamp| Duration::from_nanos(u64::from_be_bytes(*stamp)));
                let Some(put_at) = put_at.filter(|put_at| self.counts_from <= *put_at) else { continue };
                let age = (now - self.stamps_from).saturating_sub(put_at);
                tally.succeed(Operation::Event, Answer::Plain, age, now);
            }
        }
    }

    async fn next(&mut self) -> Result<WatchResponse, Failure> {
        let answer = WatchResponse::decode(self.stream.next().await?)?;
        if answer.canceled {
            return Err(Failure::watch(&answer.cancel_reason));
        }
        Ok(answer)
    }
}
