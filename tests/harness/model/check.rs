//! What the model refuses without looking at a key, in etcd's order and words.

use std::collections::BTreeSet;

use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use tonic::{Code, Status};

use super::{contains, refuse};

pub(super) fn check_key(key: &[u8]) -> Result<(), Status> {
    if key.is_empty() { refuse(Code::InvalidArgument, "key is not provided") } else { Ok(()) }
}

pub(super) fn check_range(request: &RangeRequest) -> Result<(), Status> {
    check_key(&request.key)?;
    if !(0..=2).contains(&request.sort_order) || !(0..=4).contains(&request.sort_target) {
        return refuse(Code::InvalidArgument, "invalid sort option");
    }
    Ok(())
}

pub(super) fn check_put(request: &PutRequest) -> Result<(), Status> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return refuse(Code::InvalidArgument, "value is provided");
    }
    if request.ignore_lease && request.lease != 0 {
        return refuse(Code::InvalidArgument, "lease is provided");
    }
    Ok(())
}

pub(super) fn check_txn(txn: &TxnRequest, operations_max: i64) -> Result<(), Status> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len()) as i64;
    if longest > operations_max {
        return refuse(Code::InvalidArgument, "too many operations in txn request");
    }
    for compare in &txn.compare {
        check_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_key(&delete.key)?,
            Some(Request::RequestTxn(nested)) => check_txn(nested, operations_max - longest)?,
            None => return refuse(Code::InvalidArgument, "key not found"),
        }
    }
    Ok(())
}

type Deletions = Vec<(Vec<u8>, Vec<u8>)>;

/// What a branch puts and deletes, or that it would write a key twice.
pub(super) fn check_overlap(ops: &[RequestOp]) -> Result<(BTreeSet<Vec<u8>>, Deletions), Status> {
    let duplicate = || Status::new(Code::InvalidArgument, "etcdserver: duplicate key given in txn request");
    let (mut puts, mut deletions) = (BTreeSet::new(), Deletions::new());
    // As in etcd, a deletion from a key on deletes nothing here.
    let is_deleted = |deletions: &Deletions, key: &[u8]| {
        deletions.iter().any(|(start, end)| end != &[0] && contains(start, end, key))
    };
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            deletions.push((delete.key.to_vec(), delete.range_end.to_vec()));
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            let (success, success_deletions) = check_overlap(&nested.success)?;
            let (failure, failure_deletions) = check_overlap(&nested.failure)?;
            let either: BTreeSet<_> = success.union(&failure).cloned().collect();
            if either.iter().any(|key| puts.contains(key) || is_deleted(&deletions, key)) {
                return Err(duplicate());
            }
            puts.extend(either);
            deletions.extend(success_deletions);
            deletions.extend(failure_deletions);
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request
            && (is_deleted(&deletions, &put.key) || !puts.insert(put.key.to_vec()))
        {
            return Err(duplicate());
        }
    }
    Ok((puts, deletions))
}
