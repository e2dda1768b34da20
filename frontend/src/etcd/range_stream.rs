//! A range in pieces, all as of the revision of the first.
//!
//!     keys   [10) [20  ) [40      ) ...       header, more and count come with the last piece
//!
//! The next piece is read when the client has taken the one before, so a stream holds one piece in memory. The
//! number of keys doubles or halves until a piece is about as large as a request may be: the cuts are etcd's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use journal::KeyRange;
use memstore::Projection;
use prost::Message;
use proto::etcdserverpb as wire;
use tokio_stream::Stream;
use tonic::Status;

use crate::answer::{Position, RangeAnswer};
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::etcd::pack;
use crate::etcd::validate::Streamed;
use crate::operation::Range;
use crate::store::Store;

/// Keys of the first piece.
const FIRST_KEYS: usize = 10;

type Item = Result<wire::RangeStreamResponse, Status>;
type Next = Pin<Box<dyn Future<Output = (Option<Box<Pieces>>, Item)> + Send>>;

/// The stream. Ends after the last piece, or after an error.
pub struct RangeStream {
    next: Option<Next>,
}

/// What is left to read.
struct Pieces {
    store: Store,
    identity: Identity,
    /// `keys` and `limit` shrink by what was sent; the revision is fixed with the first piece.
    range: Range,
    /// How far the store was when the stream began. `None` before the first piece.
    at: Option<Position>,
    /// 0: all that there are.
    keys_next: usize,
    bytes_wanted: usize,
    sent: u64,
}

impl RangeStream {
    pub(crate) fn open(
        store: Store,
        identity: Identity,
        Streamed { range, in_one_piece }: Streamed,
        bytes_wanted: usize,
    ) -> RangeStream {
        let keys_next = if in_one_piece { 0 } else { FIRST_KEYS };
        let pieces = Pieces { store, identity, range, at: None, keys_next, bytes_wanted, sent: 0 };
        RangeStream { next: Some(Box::pin(Box::new(pieces).next())) }
    }
}

impl Stream for RangeStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (rest, item) = std::task::ready!(next.as_mut().poll(context));
        self.next = rest.map(|pieces| -> Next { Box::pin(pieces.next()) });
        Poll::Ready(Some(item))
    }
}

impl Pieces {
    async fn next(mut self: Box<Self>) -> (Option<Box<Pieces>>, Item) {
        match self.piece().await {
            Ok((response, true)) => (None, Ok(response)),
            Ok((response, false)) => (Some(self), Ok(response)),
            Err(error) => (None, Err(error.into())),
        }
    }

    /// The next piece, and whether it is the last.
    async fn piece(&mut self) -> Result<(wire::RangeStreamResponse, bool), Error> {
        let limit = self.range.limit;
        let asked = if limit == 0 { self.keys_next } else { self.keys_next.min(limit) };
        let counts_only = self.range.projection == Projection::CountOnly;
        let piece = Range { limit: if counts_only { 0 } else { asked }, ..self.range.clone() };
        let (answer, at) = self.read(&piece).await?;
        let is_last = !answer.more || asked == limit;
        // What is left of the range counts what was just read, too.
        let count = self.sent + answer.count;
        self.advance(&answer, asked);
        let mut response = pack::range(answer, None);
        if is_last {
            response.header = Some(self.identity.header(at));
            response.count = i64::try_from(count).unwrap_or(i64::MAX);
        } else {
            // etcd goes by the size of the piece as an answer of its own: with its revision, and with a count of
            // the one key more that it has looked for.
            let revision = at.revision.to_wire();
            response.header = Some(wire::ResponseHeader { revision, ..wire::ResponseHeader::default() });
            response.count = i64::try_from(asked).unwrap_or(i64::MAX).saturating_add(1);
            self.adjust(response.encoded_len());
            (response.header, response.more, response.count) = (None, false, 0);
        }
        Ok((wire::RangeStreamResponse { range_response: Some(response) }, is_last))
    }

    async fn read(&mut self, piece: &Range) -> Result<(RangeAnswer, Position), Error> {
        if let Some(at) = self.at {
            let answered = self.store.range_again(piece, at).await?;
            return Ok((answered.answer, at));
        }
        let answered = self.store.range(piece).await?;
        self.at = Some(answered.at);
        if self.range.past().is_none() {
            self.range.revision = answered.at.revision.to_wire();
        }
        Ok((answered.answer, answered.at))
    }

    fn advance(&mut self, answer: &RangeAnswer, asked: usize) {
        self.sent += answer.kvs.len() as u64;
        if let Some(last) = answer.kvs.last().filter(|_| answer.more) {
            self.range.keys = behind(&self.range.keys, &last.key);
        }
        if self.range.limit > asked {
            self.range.limit -= asked;
        }
    }

    fn adjust(&mut self, bytes: usize) {
        if bytes < self.bytes_wanted / 2 {
            self.keys_next = self.keys_next.saturating_mul(2);
        } else if bytes > self.bytes_wanted.saturating_mul(2) {
            self.keys_next = (self.keys_next / 2).max(1);
        }
    }
}

/// The keys of `keys` that come after `last`.
fn behind(keys: &KeyRange, last: &[u8]) -> KeyRange {
    let mut start = BytesMut::with_capacity(last.len() + 1);
    start.put_slice(last);
    start.put_u8(0);
    let start: Bytes = start.freeze();
    match keys {
        KeyRange::Range { end, .. } => KeyRange::Range { start, end: end.clone() },
        KeyRange::Single(_) | KeyRange::From(_) => KeyRange::From(start),
    }
}
