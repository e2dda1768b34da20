//! Requests of every kind, by chance: on few keys, so that they meet, and mostly in order, so that they do something.

use bytes::Bytes;
use proptest::prelude::*;
use proto::etcdserverpb as wire;
use wire::compare::TargetUnion;
use wire::request_op::Request;

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![200 => "[a-d]", 20 => "[a-d]{2}", 1 => Just(String::new())].prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just(String::new()), 3 => "[a-e]", 1 => Just("\0".to_owned())].prop_map(Bytes::from)
}

fn small() -> impl Strategy<Value = i64> {
    prop_oneof![20 => Just(0), 10 => 1..8i64, 1 => -2..0i64]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![30 => Just(0), 10 => Just(7), 1 => Just(8)]
}

pub(crate) fn range_request() -> impl Strategy<Value = wire::RangeRequest> {
    let order = (prop_oneof![100 => 0..3i32, 1 => Just(3)], prop_oneof![100 => 0..5i32, 1 => Just(5)]);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let bounds = (small(), small(), small(), small());
    let bounds = prop_oneof![3 => Just((0, 0, 0, 0)), 1 => bounds];
    let limit = prop_oneof![2 => Just(0), 2 => 1..4i64, 1 => Just(-3)];
    (key(), range_end(), limit, small(), order, flags, bounds).prop_map(
        |(key, range_end, limit, revision, (sort_order, sort_target), (keys_only, count_only), bounds)| {
            wire::RangeRequest {
                key,
                range_end,
                limit,
                revision,
                sort_order,
                sort_target,
                serializable: false,
                keys_only,
                count_only,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            }
        },
    )
}

pub(crate) fn put_request() -> impl Strategy<Value = wire::PutRequest> {
    let rare = || prop::bool::weighted(0.15);
    (key(), "[x-z]{0,1}", lease(), any::<bool>(), rare(), rare()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| {
            let value = if ignore_value && lease != 8 { Bytes::new() } else { Bytes::from(value) };
            let lease = if ignore_lease && lease != 8 { 0 } else { lease };
            wire::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
        },
    )
}

pub(crate) fn delete_request() -> impl Strategy<Value = wire::DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| wire::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn compare() -> impl Strategy<Value = wire::Compare> {
    let union = prop_oneof![
        small().prop_map(TargetUnion::Version),
        small().prop_map(TargetUnion::CreateRevision),
        small().prop_map(TargetUnion::ModRevision),
        lease().prop_map(TargetUnion::Lease),
        "[x-z]{0,1}".prop_map(|value| TargetUnion::Value(Bytes::from(value))),
    ];
    (0..5i32, 0..6i32, key(), prop_oneof![4 => Just(Bytes::new()), 1 => range_end()], prop::option::of(union))
        .prop_map(|(result, target, key, range_end, target_union)| {
            // Mostly the value of the field that is compared.
            let target = match &target_union {
                Some(_) if result == 4 => target,
                Some(TargetUnion::Version(_)) => 0,
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
                None => target,
            };
            wire::Compare { result, target, key, range_end, target_union }
        })
}

pub(crate) fn txn_request() -> impl Strategy<Value = wire::TxnRequest> {
    let leaf = prop_oneof![
        4 => range_request().prop_map(|it| Some(Request::RequestRange(it))),
        4 => put_request().prop_map(|it| Some(Request::RequestPut(it))),
        2 => delete_request().prop_map(|it| Some(Request::RequestDeleteRange(it))),
        1 => (0..40u8).prop_map(|one| (one > 0).then(|| Request::RequestTxn(wire::TxnRequest::default()))),
    ]
    .prop_map(|request| wire::RequestOp { request });
    let op = leaf.prop_recursive(2, 12, 3, |inner| {
        branches(inner).prop_map(|txn| wire::RequestOp { request: Some(Request::RequestTxn(txn)) })
    });
    branches(op)
}

fn branches(
    op: impl Strategy<Value = wire::RequestOp> + Clone + 'static,
) -> impl Strategy<Value = wire::TxnRequest> {
    let ops = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), ops(), ops())
        .prop_map(|(compare, success, failure)| wire::TxnRequest { compare, success, failure })
}
