//! One client: takes a ticket, asks, waits for the answer, and takes the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    Compare, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::connection::Connection;
use super::endpoint::Method;
use super::failure::Failure;
use super::key_space::KeySpace;
use super::message::frame;
use super::pace::{Pace, Ticket};
use super::tally::{Answer, Operation, Tally};

/// What the clients of a load do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Put { sequential: bool },
    Get { serializable: bool },
    Update,
    Mixed { gets_percent: u32, pages_percent: u32, page_keys: u32 },
}

/// At the front of a value: when its put began, so that whoever watches can tell how old it is.
pub(super) const STAMP_BYTES: usize = 8;

pub(super) struct Client {
    connection: Connection,
    space: Arc<KeySpace>,
    random: StdRng,
    /// What follows the stamp stays the same: nothing looks at it.
    value: Vec<u8>,
    buffer: BytesMut,
    /// Where the next page starts, and the revision that all pages of one list are read at.
    page: Option<(Bytes, i64)>,
    stamps_from: Instant,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(
        connection: Connection,
        space: Arc<KeySpace>,
        seed: u64,
        value_bytes: usize,
        stamps_from: Instant,
        timeout: Duration,
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut value = vec![0; value_bytes];
        random.fill_bytes(&mut value);
        Self { connection, space, random, value, buffer: BytesMut::new(), page: None, stamps_from, timeout }
    }

    /// Works until the pace says that it is the end.
    pub(super) async fn run(mut self, work: Work, pace: Arc<Pace>, tally: Arc<Mutex<Tally>>) -> Self {
        while let Some(ticket) = pace.ticket().await {
            let operation = self.choose(work);
            let result = tokio::time::timeout(self.timeout, self.operate(operation, work, ticket)).await;
            match result.unwrap_or_else(|_elapsed| Err(Failure::timeout())) {
                Ok(answer) => {
                    let now = Instant::now();
                    tally.lock().succeed(operation, answer, now - ticket.since, now);
                }
                Err(failure) => {
                    let broken = failure.breaks_the_connection();
                    tally.lock().fail(failure);
                    // A list goes on at a revision that may be the reason.
                    self.page = None;
                    if broken {
                        self.connection.recover().await;
                    }
                }
            }
        }
        self
    }

    fn choose(&mut self, work: Work) -> Operation {
        match work {
            Work::Put { .. } => Operation::Put,
            Work::Get { .. } => Operation::Get,
            Work::Update => Operation::Update,
            Work::Mixed { gets_percent, pages_percent, .. } => match self.random.random_range(0..100) {
                percent if percent < gets_percent => Operation::Get,
                percent if percent < gets_percent + pages_percent => Operation::Page,
                _ => Operation::Update,
            },
        }
    }

    async fn operate(&mut self, operation: Operation, work: Work, ticket: Ticket) -> Result<Answer, Failure> {
        let keys = self.space.keys();
        let number = match work {
            Work::Put { sequential: true } => {
                usize::try_from(ticket.number).expect("addresses have 64 bits") % keys
            }
            _ => self.random.random_range(0..keys),
        };
        match (operation, work) {
            (Operation::Put, _) => self.put(number).await,
            (Operation::Get, work) => {
                self.get(number, matches!(work, Work::Get { serializable: true })).await
            }
            (Operation::Update, _) => self.update(number).await,
            (Operation::Page, Work::Mixed { page_keys, .. }) => self.page(page_keys).await,
            (Operation::Page | Operation::Event, _) => unreachable!("no client chooses it"),
        }
    }

    async fn put(&mut self, number: usize) -> Result<Answer, Failure> {
        let request = PutRequest { key: self.space.key(number), value: self.value(), ..Default::default() };
        let answer = self.connection.call(Method::Put, frame(&mut self.buffer, &request)).await?;
        let revision = PutResponse::decode(answer)?.header.map_or(0, |header| header.revision);
        self.space.see(number, revision);
        Ok(Answer::Plain)
    }

    async fn get(&mut self, number: usize, serializable: bool) -> Result<Answer, Failure> {
        let request = RangeRequest { key: self.space.key(number), serializable, ..Default::default() };
        let answer = self.connection.call(Method::Range, frame(&mut self.buffer, &request)).await?;
        Ok(self.found(number, &RangeResponse::decode(answer)?))
    }

    /// Puts if the key is still as it was last seen; if it is not, looks at it.
    async fn update(&mut self, number: usize) -> Result<Answer, Failure> {
        let key = self.space.key(number);
        let unchanged = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(self.space.seen(number))),
            ..Default::default()
        };
        let put = PutRequest { key: key.clone(), value: self.value(), ..Default::default() };
        let get = RangeRequest { key, ..Default::default() };
        let request = TxnRequest {
            compare: vec![unchanged],
            success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
            failure: vec![RequestOp { request: Some(Request::RequestRange(get)) }],
        };
        let answer = self.connection.call(Method::Txn, frame(&mut self.buffer, &request)).await?;
        let answer = TxnResponse::decode(answer)?;
        match answer.responses.into_iter().next().and_then(|response| response.response) {
            Some(Response::ResponsePut(_)) if answer.succeeded => {
                self.space.see(number, answer.header.map_or(0, |header| header.revision));
                Ok(Answer::Plain)
            }
            Some(Response::ResponseRange(range)) if !answer.succeeded => {
                self.found(number, &range);
                Ok(Answer::Conflict)
            }
            _ => Err(Failure::malformed("a transaction answered what was not asked")),
        }
    }

    async fn page(&mut self, page_keys: u32) -> Result<Answer, Failure> {
        let (key, revision) = self.page.take().unwrap_or_else(|| (KeySpace::start(), 0));
        let request = RangeRequest {
            key,
            range_end: KeySpace::end(),
            limit: page_keys.into(),
            revision,
            ..Default::default()
        };
        let answer = self.connection.call(Method::Range, frame(&mut self.buffer, &request)).await?;
        let answer = RangeResponse::decode(answer)?;
        let Some(last) = answer.kvs.last() else { return Ok(Answer::Absent) };
        if answer.more {
            let read_at = match revision {
                0 => answer.header.map_or(0, |header| header.revision),
                fixed => fixed,
            };
            self.page = Some(([&last.key[..], b"\0"].concat().into(), read_at));
        }
        Ok(Answer::Plain)
    }

    fn found(&self, number: usize, answer: &RangeResponse) -> Answer {
        let Some(pair) = answer.kvs.first() else { return Answer::Absent };
        self.space.see(number, pair.mod_revision);
        Answer::Plain
    }

    fn value(&mut self) -> Bytes {
        if let Some(stamp) = self.value.first_chunk_mut::<STAMP_BYTES>() {
            let age = u64::try_from(self.stamps_from.elapsed().as_nanos()).expect("centuries");
            *stamp = age.to_be_bytes();
        }
        Bytes::copy_from_slice(&self.value)
    }
}
