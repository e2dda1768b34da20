//! One case for each rule; `evaluate` is held against the model with requests of every kind.

use bytes::Bytes;
use proto::etcdserverpb as wire;
use wire::request_op::Request;

use super::*;

fn put_request(key: &'static str) -> wire::PutRequest {
    wire::PutRequest { key: key.into(), ..wire::PutRequest::default() }
}

fn op(request: Request) -> wire::RequestOp {
    wire::RequestOp { request: Some(request) }
}

fn gets(number: usize) -> Vec<wire::RequestOp> {
    let get = wire::RangeRequest { key: "k".into(), ..wire::RangeRequest::default() };
    vec![op(Request::RequestRange(get)); number]
}

fn branch(success: Vec<wire::RequestOp>) -> wire::TxnRequest {
    wire::TxnRequest { success, ..wire::TxnRequest::default() }
}

fn txn_of(request: wire::TxnRequest) -> Result<Txn, Error> {
    txn(request, &Limits::default())
}

#[test]
fn a_key_is_needed_even_with_a_range_end() {
    let request =
        wire::RangeRequest { range_end: "z".into(), sort_order: 9, ..wire::RangeRequest::default() };
    assert_eq!(range(request).err(), Some(Error::EmptyKey));
    let request = wire::DeleteRangeRequest { range_end: "z".into(), ..wire::DeleteRangeRequest::default() };
    assert_eq!(delete_range(request, &Limits::default()).err(), Some(Error::EmptyKey));
}

#[test]
fn unknown_sort_options_are_refused() {
    for (sort_order, sort_target) in [(3, 0), (0, 5), (-1, 0)] {
        let key = Bytes::from("k");
        let request = wire::RangeRequest { key, sort_order, sort_target, ..wire::RangeRequest::default() };
        assert_eq!(range(request).err(), Some(Error::InvalidSortOption));
    }
}

#[test]
fn ascending_keys_need_no_sorting() {
    assert_eq!(sort(0, 0), Ok(None));
    assert_eq!(sort(1, 0), Ok(None));
    assert_eq!(sort(2, 0), Ok(Some(Sort { by: SortBy::Key, descending: true, within_limit: false })));
    assert_eq!(sort(0, 4), Ok(Some(Sort { by: SortBy::Value, descending: false, within_limit: true })));
}

#[test]
fn a_value_or_lease_to_be_kept_is_not_given() {
    let limits = Limits::default();
    let request = wire::PutRequest { ignore_value: true, value: "v".into(), lease: 1, ..put_request("k") };
    assert_eq!(put(request, &limits).err(), Some(Error::ValueProvided));
    let request = wire::PutRequest { ignore_lease: true, lease: 1, ..put_request("k") };
    assert_eq!(put(request, &limits).err(), Some(Error::LeaseProvided));
}

#[test]
fn a_nested_txn_shares_the_operations_that_its_parent_leaves() {
    let nest = |parents: usize, nested: usize| {
        let mut ops = gets(parents - 1);
        ops.push(op(Request::RequestTxn(branch(gets(nested)))));
        txn_of(branch(ops)).map(|_| ())
    };
    assert_eq!(txn_of(branch(gets(128))).map(|_| ()), Ok(()));
    assert_eq!(txn_of(branch(gets(129))).err(), Some(Error::TooManyOperations));
    assert_eq!(nest(100, 28), Ok(()));
    assert_eq!(nest(100, 29), Err(Error::TooManyOperations));
}

#[test]
fn an_operation_that_is_none_is_refused_in_etcds_words() {
    assert_eq!(txn_of(branch(vec![wire::RequestOp::default()])).err(), Some(Error::KeyNotFound));
}

#[test]
fn both_branches_are_checked_before_anything_is_compared() {
    let twice = vec![op(Request::RequestPut(put_request("k"))), op(Request::RequestPut(put_request("k")))];
    let request = wire::TxnRequest { failure: twice, ..wire::TxnRequest::default() };
    assert_eq!(txn_of(request).err(), Some(Error::DuplicateKey));
}

#[test]
fn only_what_writes_can_be_too_large() {
    let limits = Limits { request_bytes_max: 200, ..Limits::default() };
    let value = |bytes: usize| wire::PutRequest { value: vec![0; bytes].into(), ..put_request("k") };
    assert!(put(value(150), &limits).is_ok());
    assert_eq!(put(value(200), &limits).err(), Some(Error::RequestTooLarge));
    let puts = branch(vec![op(Request::RequestPut(value(200)))]);
    assert_eq!(txn(puts, &limits).err(), Some(Error::RequestTooLarge));
    assert!(txn(branch(gets(100)), &limits).is_ok());
}

#[test]
fn a_stream_takes_no_order_and_no_bounds() {
    let request = wire::RangeRequest { key: "k".into(), ..wire::RangeRequest::default() };
    assert!(range_stream(request.clone()).is_ok());
    let sorted = wire::RangeRequest { sort_order: 2, ..request.clone() };
    assert!(matches!(range_stream(sorted), Err(Error::Unimplemented(_))));
    let without_order = wire::RangeRequest { sort_target: 3, ..request.clone() };
    assert_eq!(range_stream(without_order), range_stream(request.clone()));
    let bounded = wire::RangeRequest { min_mod_revision: 1, ..request };
    assert!(matches!(range_stream(bounded), Err(Error::Unimplemented(_))));
}

#[test]
fn a_compare_with_another_fields_value_compares_with_none() {
    assert_eq!(subject(0, Some(TargetUnion::Lease(4))), Subject::Version(0));
    assert_eq!(subject(3, Some(TargetUnion::Version(4))), Subject::Value(Bytes::new()));
    assert_eq!(subject(9, None), Subject::Unknown);
}
