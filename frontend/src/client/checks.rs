//! What is wrong with an operation whatever the store holds: the checks that etcd's services make of the wire, made
//! of our own types, so that an embedding program is refused what a remote one is.

use bytes::Bytes;
use journal::{KeyRange, LeaseId};

use crate::config::Limits;
use crate::error::Error;
use crate::etcd::overlap;
use crate::operation::{DeleteRange, Op, Put, Txn};

/// The limits that requests are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    request_bytes_max: usize,
    txn_operations_max: usize,
}

impl Checks {
    pub(super) fn of(limits: &Limits) -> Checks {
        let Limits { request_bytes_max, txn_operations_max, .. } = *limits;
        Checks { request_bytes_max, txn_operations_max }
    }

    pub(super) fn put(self, put: &Put) -> Result<(), Error> {
        put_alone(put)?;
        self.size(put_bytes(put))
    }

    pub(super) fn delete(self, delete: &DeleteRange) -> Result<(), Error> {
        keys(&delete.keys)?;
        self.size(range_bytes(&delete.keys))
    }

    pub(super) fn txn(self, txn: &Txn) -> Result<(), Error> {
        level(txn, self.txn_operations_max)?;
        overlap::check(&txn.success)?;
        overlap::check(&txn.failure)?;
        if txn.is_read_only() { Ok(()) } else { self.size(txn_bytes(txn)) }
    }

    /// Keys and values are counted; what a remote client would wrap them in is not there.
    fn size(self, bytes: usize) -> Result<(), Error> {
        if bytes > self.request_bytes_max { Err(Error::RequestTooLarge) } else { Ok(()) }
    }
}

/// One key must have a name. A range may begin with nothing: that is before every key.
pub(super) fn keys(keys: &KeyRange) -> Result<(), Error> {
    match keys {
        KeyRange::Single(key) if key.is_empty() => Err(Error::EmptyKey),
        KeyRange::Single(_) | KeyRange::Range { .. } | KeyRange::From(_) => Ok(()),
    }
}

fn put_alone(put: &Put) -> Result<(), Error> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != LeaseId::NONE {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Nested transactions share what is left of the limit.
fn level(txn: &Txn, operations_max: usize) -> Result<(), Error> {
    let longest = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    let left = operations_max.checked_sub(longest).ok_or(Error::TooManyOperations)?;
    txn.compares.iter().try_for_each(|compare| keys(&compare.keys))?;
    txn.ops().try_for_each(|op| match op {
        Op::Range(range) => keys(&range.keys),
        Op::Put(put) => put_alone(put),
        Op::DeleteRange(delete) => keys(&delete.keys),
        Op::Txn(txn) => level(txn, left),
    })
}

fn put_bytes(put: &Put) -> usize {
    put.key.len() + put.value.len()
}

fn range_bytes(keys: &KeyRange) -> usize {
    match keys {
        KeyRange::Single(key) | KeyRange::From(key) => key.len(),
        KeyRange::Range { start, end } => [start, end].into_iter().map(Bytes::len).sum(),
    }
}

fn txn_bytes(txn: &Txn) -> usize {
    let compares: usize = txn.compares.iter().map(|compare| range_bytes(&compare.keys)).sum();
    let ops = txn.ops().map(|op| match op {
        Op::Range(range) => range_bytes(&range.keys),
        Op::Put(put) => put_bytes(put),
        Op::DeleteRange(delete) => range_bytes(&delete.keys),
        Op::Txn(txn) => txn_bytes(txn),
    });
    compares + ops.sum::<usize>()
}
