//! From the wire to an operation: etcd's checks, in etcd's order.
//!
//! What is wrong with a request in more than one way is refused for the way that etcd sees first. Checks that
//! need the store (revisions, leases, keys that must exist) come later, in `evaluate`.

use journal::{KeyRange, LeaseId};
use memstore::Projection;
use prost::Message;
use proto::etcdserverpb as wire;
use wire::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::range_request::{SortOrder, SortTarget};
use wire::request_op::Request;

use crate::error::Error;
use crate::etcd::overlap;
use crate::operation::{
    Bounds, Compact, Compare, DeleteRange, Op, Put, Range, Relation, Sort, SortBy, Subject, Txn,
};

/// What one request may be, as the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of compares, and of the operations of a branch; nested transactions share what is left.
    pub txn_operations_max: usize,
    /// Of a request that writes.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { txn_operations_max: 128, request_bytes_max: 1_572_864 }
    }
}

/// etcd counts a request with what it wraps it in for its log: a header with an id of 9 or 10 bytes, and the
/// request's own tag and length.
const WRAP_BYTES: usize = 18;

/// # Errors
/// As etcd's.
pub fn range(request: wire::RangeRequest) -> Result<Range, Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let sort = sort(request.sort_order, request.sort_target)?;
    let projection = match (request.count_only, request.keys_only) {
        (true, _) => Projection::CountOnly,
        (false, true) => Projection::KeysOnly,
        (false, false) => Projection::Full,
    };
    Ok(Range {
        keys: KeyRange::from_wire(request.key, request.range_end),
        limit: usize::try_from(request.limit.max(0)).unwrap_or(usize::MAX),
        revision: request.revision,
        sort,
        serializable: request.serializable,
        projection,
        bounds: Bounds {
            min_mod: request.min_mod_revision,
            max_mod: request.max_mod_revision,
            min_create: request.min_create_revision,
            max_create: request.max_create_revision,
        },
    })
}

fn sort(order: i32, target: i32) -> Result<Option<Sort>, Error> {
    let order = SortOrder::try_from(order).map_err(|_| Error::InvalidSortOption)?;
    let by = match SortTarget::try_from(target).map_err(|_| Error::InvalidSortOption)? {
        SortTarget::Key => SortBy::Key,
        SortTarget::Version => SortBy::Version,
        SortTarget::Create => SortBy::Create,
        SortTarget::Mod => SortBy::Mod,
        SortTarget::Value => SortBy::Value,
    };
    if by == SortBy::Key && order != SortOrder::Descend {
        return Ok(None);
    }
    let descending = order == SortOrder::Descend;
    Ok(Some(Sort { by, descending, within_limit: order == SortOrder::None }))
}

/// A range that is to be answered in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    pub range: Range,
    /// etcd's answer to a limit below 0.
    pub in_one_piece: bool,
}

/// # Errors
/// As etcd's.
pub fn range_stream(request: wire::RangeRequest) -> Result<Streamed, Error> {
    let in_one_piece = request.limit < 0;
    let mut range = range(request)?;
    if range.sort.is_some_and(|sort| !sort.within_limit) {
        return Err(Error::Unimplemented("RangeStream does not support custom sort orders"));
    }
    if !range.bounds.is_none() {
        return Err(Error::Unimplemented("RangeStream does not support revision filters"));
    }
    // A field without an order is let through. etcd then sorts each piece by it, and goes on behind the key that
    // happens to come last, which leaves keys out.
    range.sort = None;
    Ok(Streamed { range, in_one_piece })
}

/// # Errors
/// As etcd's.
pub fn put(request: wire::PutRequest, limits: &Limits) -> Result<Put, Error> {
    // Adding up the two that can be long spares most requests the exact count.
    let about = request.key.len() + request.value.len();
    let too_large = about > limits.request_bytes_max.saturating_sub(64) && is_too_large(&request, limits);
    let put = put_op(request)?;
    if too_large { Err(Error::RequestTooLarge) } else { Ok(put) }
}

fn put_op(request: wire::PutRequest) -> Result<Put, Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

/// # Errors
/// As etcd's.
pub fn delete_range(request: wire::DeleteRangeRequest, limits: &Limits) -> Result<DeleteRange, Error> {
    let too_large = is_too_large(&request, limits);
    let delete = delete_op(request)?;
    if too_large { Err(Error::RequestTooLarge) } else { Ok(delete) }
}

fn delete_op(request: wire::DeleteRangeRequest) -> Result<DeleteRange, Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let keys = KeyRange::from_wire(request.key, request.range_end);
    Ok(DeleteRange { keys, prev_kv: request.prev_kv })
}

/// # Errors
/// As etcd's.
pub fn txn(request: wire::TxnRequest, limits: &Limits) -> Result<Txn, Error> {
    let too_large = is_too_large(&request, limits);
    let txn = txn_op(request, limits.txn_operations_max)?;
    overlap::check(&txn.success)?;
    overlap::check(&txn.failure)?;
    // What only reads never comes into etcd's log, and so is not measured.
    if too_large && !txn.is_read_only() { Err(Error::RequestTooLarge) } else { Ok(txn) }
}

fn txn_op(request: wire::TxnRequest, operations_max: usize) -> Result<Txn, Error> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = operations_max.checked_sub(longest).ok_or(Error::TooManyOperations)?;
    let compares = request.compare.into_iter().map(compare).collect::<Result<_, _>>()?;
    let branch = |ops: Vec<wire::RequestOp>| -> Result<Vec<Op>, Error> {
        ops.into_iter().map(|op| operation(op, left)).collect()
    };
    let success = branch(request.success)?;
    let failure = branch(request.failure)?;
    Ok(Txn { compares, success, failure })
}

fn operation(op: wire::RequestOp, operations_left: usize) -> Result<Op, Error> {
    match op.request {
        Some(Request::RequestRange(request)) => range(request).map(Op::Range),
        Some(Request::RequestPut(request)) => put_op(request).map(Op::Put),
        Some(Request::RequestDeleteRange(request)) => delete_op(request).map(Op::DeleteRange),
        Some(Request::RequestTxn(request)) => txn_op(request, operations_left).map(Op::Txn),
        // etcd's own choice of words for "no operation".
        None => Err(Error::KeyNotFound),
    }
}

fn compare(compare: wire::Compare) -> Result<Compare, Error> {
    if compare.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let subject = subject(compare.target, compare.target_union);
    let relation = match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => Relation::Equal,
        Ok(CompareResult::Greater) => Relation::Greater,
        Ok(CompareResult::Less) => Relation::Less,
        Ok(CompareResult::NotEqual) => Relation::NotEqual,
        Err(_) => Relation::Unknown,
    };
    Ok(Compare { keys: KeyRange::from_wire(compare.key, compare.range_end), subject, relation })
}

/// A value of another field than the one named counts as none: 0, or empty.
fn subject(target: i32, value: Option<TargetUnion>) -> Subject {
    match (CompareTarget::try_from(target), value) {
        (Ok(CompareTarget::Version), Some(TargetUnion::Version(version))) => Subject::Version(version),
        (Ok(CompareTarget::Version), _) => Subject::Version(0),
        (Ok(CompareTarget::Create), Some(TargetUnion::CreateRevision(revision))) => Subject::Create(revision),
        (Ok(CompareTarget::Create), _) => Subject::Create(0),
        (Ok(CompareTarget::Mod), Some(TargetUnion::ModRevision(revision))) => Subject::Mod(revision),
        (Ok(CompareTarget::Mod), _) => Subject::Mod(0),
        (Ok(CompareTarget::Lease), Some(TargetUnion::Lease(lease))) => Subject::Lease(lease),
        (Ok(CompareTarget::Lease), _) => Subject::Lease(0),
        (Ok(CompareTarget::Value), Some(TargetUnion::Value(value))) => Subject::Value(value),
        (Ok(CompareTarget::Value), _) => Subject::Value(bytes::Bytes::new()),
        (Err(_), _) => Subject::Unknown,
    }
}

#[must_use]
pub fn compact(request: &wire::CompactionRequest) -> Compact {
    Compact { revision: request.revision, physical: request.physical }
}

fn is_too_large(request: &impl Message, limits: &Limits) -> bool {
    request.encoded_len() + WRAP_BYTES > limits.request_bytes_max
}

#[cfg(test)]
mod tests;
