//! The whole way, journal and memstores included, without a socket: against the model where one client asks at a
//! time, and against what must hold in any order where many do.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio_stream::StreamExt;
use wire::request_op::Request as Operation;

use super::*;
use crate::model::Model;
use crate::mover::Mover;
use crate::requests::{delete_request, put_request, range_request, txn_request};
use crate::routes::tests::served::Served;

mod endpoint;
mod world;

use self::world::World;

const IDENTITY: Identity = Identity { cluster_id: 11, member_id: 12 };

/// Checks what the endpoint adds to a header, and takes it off.
fn bare(header: &mut Option<wire::ResponseHeader>) {
    let header = header.as_mut().expect("every answer has a header");
    assert_eq!((header.cluster_id, header.member_id), (IDENTITY.cluster_id, IDENTITY.member_id));
    assert!(header.raft_term > 0);
    (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
}

macro_rules! judge {
    ($answer:expr, $expected:expr, $step:expr) => {{
        let texts = |status: Status| (status.code() as i32, status.message().to_owned());
        let answer = $answer.map(|response| {
            let mut response = response.into_inner();
            bare(&mut response.header);
            response
        });
        assert_eq!(answer.map_err(texts), $expected.map_err(texts), "{:#?}", $step);
    }};
}

#[derive(Clone, Debug)]
enum Step {
    Range(wire::RangeRequest),
    Stream(wire::RangeRequest),
    Put(wire::PutRequest),
    Delete(wire::DeleteRangeRequest),
    Txn(wire::TxnRequest),
    Compact(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (range_request(), any::<bool>())
            .prop_map(|(request, serializable)| Step::Range(wire::RangeRequest { serializable, ..request })),
        2 => range_request().prop_map(Step::Stream),
        6 => put_request().prop_map(Step::Put),
        2 => delete_request().prop_map(Step::Delete),
        8 => txn_request().prop_map(Step::Txn),
        1 => (-2..30i64).prop_map(Step::Compact),
    ]
}

async fn run(world: &World, model: &mut Model, step: Step) {
    let kv = &world.kv;
    let asked = step.clone();
    match step {
        Step::Range(request) => {
            let expected = model.range(&request);
            judge!(kv.range(Request::new(request)).await, expected, asked);
        }
        Step::Stream(request) => {
            let request = wire::RangeRequest {
                sort_order: 0,
                sort_target: 0,
                min_mod_revision: 0,
                max_mod_revision: 0,
                min_create_revision: 0,
                max_create_revision: 0,
                ..request
            };
            let expected = model.range(&request);
            judge!(collect(kv, request).await, expected, asked);
        }
        Step::Put(request) => {
            let expected = model.put(&request);
            judge!(kv.put(Request::new(request)).await, expected, asked);
        }
        Step::Delete(request) => {
            let expected = model.delete_range(&request);
            judge!(kv.delete_range(Request::new(request)).await, expected, asked);
        }
        Step::Txn(request) => {
            let expected = model.txn(&request);
            judge!(kv.txn(Request::new(request)).await, expected, asked);
        }
        // etcd takes 0 for a revision that can be forgotten, once.
        Step::Compact(0) => {}
        Step::Compact(revision) => {
            let request = wire::CompactionRequest { revision, physical: revision % 2 == 0 };
            let expected = model.compact(&request);
            judge!(kv.compact(Request::new(request)).await, expected, asked);
        }
    }
}

/// The pieces of a stream as one answer.
async fn collect(
    kv: &KvService,
    request: wire::RangeRequest,
) -> Result<Response<wire::RangeResponse>, Status> {
    let mut pieces = kv.range_stream(Request::new(request)).await?.into_inner();
    let mut whole = wire::RangeResponse::default();
    while let Some(piece) = pieces.next().await {
        assert!(whole.header.is_none(), "only the last piece has a header");
        let piece = piece?.range_response.expect("every piece holds a part");
        whole.kvs.extend(piece.kvs);
        (whole.header, whole.more, whole.count) = (piece.header, piece.more, piece.count);
    }
    Ok(Response::new(whole))
}

async fn one_client(world: &World, seed: u8) {
    world.grant(7).await;
    let mut model = Model::new(8);
    model.leases.insert(7);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = step();
    for number in 0..1_500 {
        if let Some(Served { sites, .. }) = &world.served {
            match number {
                300 => sites[0].stop(),
                600 => sites[0].resume(),
                900 => sites[0].is(memstore::Health::Up).await,
                1_000 => sites[1].kill(),
                _ => {}
            }
        }
        let step = steps.new_tree(&mut runner).expect("no step is refused").current();
        run(world, &mut model, step).await;
    }
}

#[tokio::test]
async fn one_client_at_a_time_is_answered_as_by_a_serial_etcd() {
    let world = World::start(&[]).await;
    one_client(&world, 1).await;
    world.close().await;
}

#[tokio::test]
async fn several_partitions_answer_as_one() {
    let world = World::start(&["b", "bb", "c", "d"]).await;
    one_client(&world, 2).await;
    world.close().await;
}

#[tokio::test]
async fn partitions_that_move_answer_as_one() {
    let (mover, wanted) = Mover::new(&["b", "bb", "c", "d"]);
    let world = World::with(wanted).await;
    let moves = tokio::spawn(mover.keep_moving(world.store.memstore()));
    one_client(&world, 3).await;
    moves.abort();
    assert!(moves.await.is_err_and(|error| error.is_cancelled()), "it went on to the end");
    world.close().await;
}

/// One of which is stopped for a while, and the other killed.
#[tokio::test]
async fn several_memstores_answer_as_one() {
    let world = World::served(&[&["b", "bb", "c", "d"], &["b", "bb", "c", "d"]]).await;
    one_client(&world, 4).await;
    world.close().await;
}

fn increment(key: &Bytes, current: &wire::RangeResponse) -> wire::TxnRequest {
    let kv = current.kvs.first();
    let number: u64 =
        kv.map_or(0, |kv| std::str::from_utf8(&kv.value).expect("text").parse().expect("a number"));
    let compare = wire::Compare {
        target: wire::compare::CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(wire::compare::TargetUnion::ModRevision(kv.map_or(0, |kv| kv.mod_revision))),
        ..wire::Compare::default()
    };
    let put = wire::PutRequest {
        key: key.clone(),
        value: (number + 1).to_string().into(),
        ..wire::PutRequest::default()
    };
    let op = wire::RequestOp { request: Some(Operation::RequestPut(put)) };
    wire::TxnRequest { compare: vec![compare], success: vec![op], failure: vec![] }
}

/// Reads and increments until it has done so `times`; each success is a revision of its own.
async fn count_up(kv: KvService, key: Bytes, times: u64) -> Vec<i64> {
    let mut revisions = Vec::new();
    while (revisions.len() as u64) < times {
        let request = wire::RangeRequest { key: key.clone(), ..wire::RangeRequest::default() };
        let current = kv.range(Request::new(request)).await.expect("it can be read").into_inner();
        let txn = kv.txn(Request::new(increment(&key, &current))).await.expect("it is in order").into_inner();
        if txn.succeeded {
            revisions.push(txn.header.expect("it has a header").revision);
        }
    }
    revisions
}

#[tokio::test]
async fn no_increment_is_lost_or_done_twice() {
    count_together(World::start(&["m"]).await).await;
}

#[tokio::test]
async fn no_increment_is_lost_over_several_memstores() {
    count_together(World::served(&[&["m"], &["b", "y"]]).await).await;
}

async fn count_together(world: World) {
    let keys = [Bytes::from("a"), Bytes::from("z")];
    let clients: Vec<_> = (0..16)
        .map(|client| tokio::spawn(count_up(world.kv.clone(), keys[client % 2].clone(), 50)))
        .collect();
    let mut revisions = Vec::new();
    for client in clients {
        revisions.extend(client.await.expect("it does not panic"));
    }
    revisions.sort_unstable();
    let expected: Vec<i64> = (2..802).collect();
    assert_eq!(revisions, expected, "each success has a revision of its own, and none is left out");
    for key in keys {
        let request = wire::RangeRequest { key, ..wire::RangeRequest::default() };
        let answer = world.kv.range(Request::new(request)).await.expect("it can be read").into_inner();
        assert_eq!(answer.kvs[0].value, "400");
    }
    world.close().await;
}

/// Moves one from one key to another, whatever they hold, by what it puts: the sum never changes.
async fn swap(kv: KvService, times: usize) {
    let all = wire::RangeRequest { key: "a".into(), range_end: "\0".into(), ..wire::RangeRequest::default() };
    for _ in 0..times {
        let delete = wire::DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv: true };
        let deleted = kv.delete_range(Request::new(delete)).await.expect("it is in order").into_inner();
        assert_eq!(deleted.deleted, deleted.prev_kvs.len() as i64);
        let put = |key: &'static str| {
            let put = wire::PutRequest { key: key.into(), prev_kv: true, ..wire::PutRequest::default() };
            wire::RequestOp { request: Some(Operation::RequestPut(put)) }
        };
        let success = vec![put("b"), put("x")];
        let txn = wire::TxnRequest { success, ..wire::TxnRequest::default() };
        kv.txn(Request::new(txn)).await.expect("it is in order");
        let seen = kv.range(Request::new(all.clone())).await.expect("it can be read").into_inner();
        assert!(seen.count == 0 || seen.count == 2, "two keys are put and deleted together: {seen:?}");
    }
}

#[tokio::test]
async fn a_txn_that_looks_too_early_looks_again() {
    let world = World::start(&[]).await;
    for version in 1..400 {
        let put = wire::PutRequest { key: "k".into(), ..wire::PutRequest::default() };
        world.kv.put(Request::new(put)).await.expect("it is in order");
        let compare = wire::Compare {
            key: "k".into(),
            target_union: Some(wire::compare::TargetUnion::Version(version)),
            ..wire::Compare::default()
        };
        let delete = wire::DeleteRangeRequest { key: "none".into(), ..wire::DeleteRangeRequest::default() };
        let success = vec![wire::RequestOp { request: Some(Operation::RequestDeleteRange(delete)) }];
        let txn = wire::TxnRequest { compare: vec![compare], success, failure: vec![] };
        let txn = world.kv.txn(Request::new(txn)).await.expect("it is in order").into_inner();
        assert!(txn.succeeded, "the put was acknowledged before");
        assert_eq!(txn.header.expect("it has a header").revision, version + 1);
    }
    world.close().await;
}

#[tokio::test]
async fn what_is_written_together_is_seen_together_across_partitions() {
    let world = World::start(&["m"]).await;
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(swap(world.kv.clone(), 60))).collect();
    for client in clients {
        client.await.expect("it does not panic");
    }
    world.close().await;
}

#[tokio::test]
async fn a_long_stream_comes_in_pieces_that_fit_together() {
    let world = World::start(&["k3"]).await;
    for number in 0..500 {
        let key = Bytes::from(format!("k{number:03}"));
        let put = wire::PutRequest { key, value: vec![0; 2_000].into(), ..wire::PutRequest::default() };
        world.kv.put(Request::new(put)).await.expect("it is in order");
    }
    for limit in [0, 5, 10, 11, 499, 500, 501] {
        let request = wire::RangeRequest {
            key: "k".into(),
            range_end: "l".into(),
            limit,
            ..wire::RangeRequest::default()
        };
        let expected = world.kv.range(Request::new(request.clone())).await.expect("it can be read");
        let streamed = collect(&world.kv, request).await.expect("it can be read");
        assert_eq!(streamed.into_inner(), expected.into_inner(), "limit {limit}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_full_store_refuses_puts_and_takes_deletions() {
    let world = World::start(&[]).await;
    world.store.quota().raise(journal::Alarm::NoSpace);
    let put = wire::PutRequest { key: "k".into(), ..wire::PutRequest::default() };
    let refused = world.kv.put(Request::new(put)).await.expect_err("there is no room");
    assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    let delete = wire::DeleteRangeRequest { key: "k".into(), ..wire::DeleteRangeRequest::default() };
    assert!(world.kv.delete_range(Request::new(delete)).await.is_ok());
    world.close().await;
}

#[tokio::test]
async fn a_limit_before_sorting_is_one_over_all_partitions() {
    let world = World::start(&["b", "c"]).await;
    for key in ["c", "b", "a"] {
        let put = wire::PutRequest { key: key.into(), ..wire::PutRequest::default() };
        world.kv.put(Request::new(put)).await.expect("it is in order");
    }
    let request = wire::RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 1,
        sort_target: wire::range_request::SortTarget::Mod.into(),
        ..wire::RangeRequest::default()
    };
    let answer = world.kv.range(Request::new(request)).await.expect("it can be read").into_inner();
    // `c` was changed before `b`, but is not among the first two.
    assert_eq!((&answer.kvs[0].key[..], answer.more, answer.count), (&b"b"[..], true, 3));
    world.close().await;
}
