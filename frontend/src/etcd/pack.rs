//! From our answers to etcd's responses.

use journal::Revision;
use memstore::KeyValue;
use proto::etcdserverpb as wire;
use proto::mvccpb;
use wire::response_op::Response;

use crate::answer::{DeleteAnswer, OpAnswer, PutAnswer, RangeAnswer, TxnAnswer};

/// What an answer's header becomes: the endpoint's whole header outside, and only a revision within.
type Header = Option<wire::ResponseHeader>;

pub(crate) fn range(answer: RangeAnswer, header: Header) -> wire::RangeResponse {
    wire::RangeResponse { header, kvs: kvs(answer.kvs), more: answer.more, count: count(answer.count) }
}

pub(crate) fn put(answer: PutAnswer, header: Header) -> wire::PutResponse {
    wire::PutResponse { header, prev_kv: answer.prev_kv.map(mvccpb::KeyValue::from) }
}

pub(crate) fn delete_range(answer: DeleteAnswer, header: Header) -> wire::DeleteRangeResponse {
    let (deleted, prev_kvs) = (count(answer.deleted), kvs(answer.prev_kvs));
    wire::DeleteRangeResponse { header, deleted, prev_kvs }
}

pub(crate) fn txn(answer: TxnAnswer, header: Header) -> wire::TxnResponse {
    let responses = answer.answers.into_iter().map(operation).collect();
    wire::TxnResponse { header, succeeded: answer.succeeded, responses }
}

fn operation(answer: OpAnswer) -> wire::ResponseOp {
    let response = match answer {
        OpAnswer::Range(answer) => {
            let header = within(answer.revision);
            Response::ResponseRange(range(answer, header))
        }
        OpAnswer::Put(answer) => {
            let header = within(answer.revision);
            Response::ResponsePut(put(answer, header))
        }
        OpAnswer::DeleteRange(answer) => {
            let header = within(answer.revision);
            Response::ResponseDeleteRange(delete_range(answer, header))
        }
        OpAnswer::Txn(answer) => {
            let header = within(answer.revision);
            Response::ResponseTxn(txn(answer, header))
        }
    };
    wire::ResponseOp { response: Some(response) }
}

/// The header of an answer inside a transaction's.
fn within(revision: Revision) -> Header {
    Some(wire::ResponseHeader { revision: revision.to_wire(), ..wire::ResponseHeader::default() })
}

fn kvs(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(mvccpb::KeyValue::from).collect()
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
