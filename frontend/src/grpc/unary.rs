//! One request, one response, with as little in between as can be.
//!
//! tonic's own path boxes the body, copies it into a buffer of 8 KiB, and encodes the answer into another. Here the
//! message is decoded from the data frame that it came in (keys and values are slices of it), and the answer is
//! encoded once into a buffer of its size.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use memstore::MemoryReservation;
use prost::Message;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::Context;
use super::answer_room::AnswerRoom;
use super::body::Body;
use super::frames::{PREFIX_BYTES, Prefix};
use super::inbound::Inbound;
use super::method::MethodId;
use super::received::{fits, is_plain};
use crate::metrics::rpc::RpcCounters;

/// What a unary call needs to know besides its message.
#[derive(Clone)]
pub(crate) struct Unary {
    pub(crate) method: MethodId,
    pub(crate) counters: Arc<RpcCounters>,
    pub(crate) message_bytes_max: usize,
    pub(crate) answers: Arc<AnswerRoom>,
}

impl Unary {
    pub(crate) fn of(context: Context) -> Unary {
        let Context { method, counters, message_bytes_max, answers } = context;
        Unary { method, counters, message_bytes_max, answers }
    }

    /// Reads the request, has it answered, and writes the answer.
    pub(crate) async fn answer<Q, A, F>(
        self,
        request: Request<Inbound>,
        answer: impl FnOnce(tonic::Request<Q>) -> F,
    ) -> Response<Body>
    where
        Q: Message + Default,
        A: Message,
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        let (parts, body) = request.into_parts();
        let message = match self.read(body).await {
            Ok(message) => message,
            Err(status) => return status.into_http(),
        };
        let metadata = MetadataMap::from_headers(parts.headers);
        let request = tonic::Request::from_parts(metadata, parts.extensions, message);
        // What is read for the answer is counted until the answer is encoded.
        let reservation = MemoryReservation::of(self.answers.memory());
        match reservation.clone().scope(answer(request)).await {
            Ok(response) => self.write(response, &reservation),
            Err(status) => status.into_http(),
        }
    }

    pub(crate) async fn read<Q: Message + Default>(&self, body: Inbound) -> Result<Q, Status> {
        let message = self.collect(body).await?;
        self.counters.received(self.method, message.len());
        Q::decode(message)
            .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
    }

    /// The body's one message. Nearly always it is one data frame, which is then not copied.
    async fn collect(&self, mut body: Inbound) -> Result<Bytes, Status> {
        let mut first = next_data(&mut body).await?.ok_or_else(no_message)?;
        if let Some(bytes) = self.announced(&first)?
            && first.len() >= PREFIX_BYTES + bytes
        {
            return Ok(first.split_off(PREFIX_BYTES).split_to(bytes));
        }
        let mut all = BytesMut::from(first);
        loop {
            if let Some(bytes) = self.announced(&all)? {
                if all.len() >= PREFIX_BYTES + bytes {
                    return Ok(all.split_off(PREFIX_BYTES).split_to(bytes).freeze());
                }
                all.reserve(PREFIX_BYTES + bytes - all.len());
            }
            let more = next_data(&mut body).await?.ok_or_else(no_message)?;
            all.extend_from_slice(&more);
        }
    }

    /// The length of the message that a body begins with; `None` where its prefix has not arrived whole.
    fn announced(&self, body: &[u8]) -> Result<Option<usize>, Status> {
        let Some(prefix) = Prefix::of(body) else { return Ok(None) };
        fits(prefix.bytes, self.message_bytes_max)?;
        is_plain(prefix)?;
        Ok(Some(prefix.bytes))
    }

    fn write<A: Message>(
        &self,
        response: tonic::Response<A>,
        reservation: &MemoryReservation,
    ) -> Response<Body> {
        let (metadata, message, extensions) = response.into_parts();
        let bytes = message.encoded_len();
        let Ok(announced) = u32::try_from(bytes) else {
            let text = format!("grpc: trying to send message larger than max ({bytes} vs. {})", u32::MAX);
            return Status::resource_exhausted(text).into_http();
        };
        let taken = reservation.spend((PREFIX_BYTES + bytes) as u64);
        let body = self.answers.answer(PREFIX_BYTES + bytes, taken, || {
            let mut body = BytesMut::with_capacity(PREFIX_BYTES + bytes);
            body.put_u8(0);
            body.put_u32(announced);
            message.encode(&mut body).expect("there is room for all of it");
            body.freeze()
        });
        let body = match body {
            Ok(body) => body,
            Err(error) => return Status::from(error).into_http(),
        };
        self.counters.sent(self.method, bytes);
        let mut response = Response::new(Body::Message(body));
        *response.headers_mut() = metadata.into_headers();
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        *response.extensions_mut() = extensions;
        response
    }
}

fn no_message() -> Status {
    Status::internal("the request ended before its message did")
}

async fn next_data(body: &mut Inbound) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
