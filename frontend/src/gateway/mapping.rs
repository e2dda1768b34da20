//! One method's messages, from JSON and to JSON: names as they are on the wire or in camel case, 64-bit numbers as
//! strings, bytes in base64, whatever has its default left out.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde::de::IgnoredAny;
use tonic::Status;

use super::exponents;
use super::json_writer::JsonWriter;
use crate::grpc::method::Method;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the build wrote them"));

/// etcd ignores what it does not know, also a name of a choice.
const READING: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);

/// How one method's messages are mapped. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mapping {
    request: MessageDescriptor,
    response: MessageDescriptor,
}

/// A message read off the front of a text, and the bytes of text that it took.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) message: Bytes,
    pub(super) bytes: usize,
}

impl Mapping {
    /// # Panics
    /// If the method is not one of etcd's.
    pub(super) fn of(method: &Method) -> Mapping {
        let service = POOL.get_service_by_name(method.service()).expect("etcd's services have descriptors");
        let method = service.methods().find(|known| known.name() == method.name());
        let method = method.expect("etcd's methods have descriptors");
        Mapping { request: method.input(), response: method.output() }
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn request(&self) -> &MessageDescriptor {
        &self.request
    }

    /// Reads the first request of a text; `None` where it is not whole yet.
    ///
    /// # Errors
    /// `InvalidArgument`: it is no JSON, or not of this request.
    pub(super) fn read(&self, text: &[u8]) -> Result<Option<Read>, Status> {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        match values.next() {
            None => return Ok(None),
            Some(Err(error)) if error.is_eof() => return Ok(None),
            Some(Err(error)) => return Err(invalid(&error)),
            Some(Ok(IgnoredAny)) => {}
        }
        let bytes = values.byte_offset();
        let message = self.message(&text[..bytes]).map_err(|error| invalid(&error))?;
        Ok(Some(Read { message: message.encode_to_vec().into(), bytes }))
    }

    fn message(&self, text: &[u8]) -> Result<DynamicMessage, serde_json::Error> {
        let mut value = serde_json::Deserializer::from_slice(text);
        let read = DynamicMessage::deserialize_with_options(self.request.clone(), &mut value, &READING);
        let Err(error) = read else { return read };
        // What lies deeper than a value may is refused as it was.
        let Ok(mut value) = serde_json::from_slice(text) else { return Err(error) };
        match exponents::rewrite(&self.request, &mut value) {
            true => DynamicMessage::deserialize_with_options(self.request.clone(), value, &READING),
            false => Err(error),
        }
    }

    /// Begins to write a response. That it is none shows in its steps.
    pub(super) fn writer(&self, message: Bytes) -> JsonWriter {
        JsonWriter::new(self.response.clone(), message)
    }

    #[cfg(test)]
    pub(super) fn response(&self) -> &MessageDescriptor {
        &self.response
    }
}

fn invalid(error: &serde_json::Error) -> Status {
    Status::invalid_argument(format!("proto: {error}"))
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::compare::TargetUnion;
    use proto::etcdserverpb::request_op::Request;
    use proto::etcdserverpb::{
        Compare, PutRequest, RangeRequest, RequestOp, ResponseHeader, StatusResponse, TxnRequest,
    };

    use super::*;
    use crate::grpc::method::MethodId;

    fn mapping(path: &str) -> Mapping {
        Mapping::of(MethodId::of(path).expect("it is in the table").method())
    }

    fn reads<M: Message + Default + PartialEq + std::fmt::Debug>(path: &str, text: &str, expected: &M) {
        let read = mapping(path).read(text.as_bytes()).expect("it is well formed").expect("it is whole");
        assert_eq!(&M::decode(read.message).expect("it is well formed"), expected, "{text}");
    }

    #[test]
    fn numbers_bytes_and_choices_are_read_as_they_are_commonly_written() {
        let expected = RangeRequest {
            key: Bytes::from_static(b"\xfb\xff"),
            limit: 7,
            sort_order: 2,
            keys_only: true,
            ..RangeRequest::default()
        };
        let texts = [
            r#"{"key":"+/8=","limit":"7","sort_order":"DESCEND","keys_only":true}"#,
            r#"{"key":"-_8","limit":7,"sortOrder":2,"keysOnly":true,"unheard":{"of":[1]}}"#,
            r#"{"key":"-_8","limit":"70e-1","sortOrder":"DESCEND","keysOnly":true}"#,
            r#"{"key":"+/8","limit":7e0,"sort_order":2,"keys_only":true,"sort_target":"SIZE","revision":null}"#,
        ];
        for text in texts {
            reads("/etcdserverpb.KV/Range", text, &expected);
        }
    }

    #[test]
    fn what_is_nested_is_read() {
        let put = PutRequest { key: Bytes::from_static(b"k"), prev_kv: true, ..PutRequest::default() };
        let compare = Compare {
            result: 1,
            target: 2,
            key: Bytes::from_static(b"k"),
            target_union: Some(TargetUnion::ModRevision(9)),
            ..Compare::default()
        };
        let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
        let txn = TxnRequest { compare: vec![compare], success, failure: vec![] };
        for revision in ["9", "0.9e1"] {
            let text = r#"{"compare":[{"result":"GREATER","target":"MOD","key":"aw==","modRevision":"9"}],
                           "success":[{"requestPut":{"key":"aw==","prev_kv":true}}]}"#;
            reads("/etcdserverpb.KV/Txn", &text.replace('9', revision), &txn);
        }
    }

    #[test]
    fn requests_are_read_one_after_the_other() {
        let text = br#" {"ID":"77"} {"ID":78}{"ID""#;
        let mapping = mapping("/etcdserverpb.Lease/LeaseKeepAlive");
        let first = mapping.read(text).expect("it is well formed").expect("it is whole");
        assert_eq!(first.bytes, 12);
        let second = mapping.read(&text[12..]).expect("it is well formed").expect("it is whole");
        assert!(mapping.read(&text[12 + second.bytes..]).expect("it may become well formed").is_none());
        assert!(mapping.read(b"  ").expect("it may become well formed").is_none());
    }

    #[test]
    fn what_cannot_become_a_request_is_refused() {
        let mapping = mapping("/etcdserverpb.KV/Range");
        for text in [
            "{key",
            "[]",
            "7",
            r#"{"key":1}"#,
            r#"{"key":"Y"}"#,
            r#"{"limit":1.5}"#,
            r#"{"limit":"x"}"#,
            r#"{"limit":"1.5"}"#,
        ] {
            let status = mapping.read(text.as_bytes()).expect_err(text);
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn a_request_is_only_so_deep() {
        let mapping = mapping("/etcdserverpb.KV/Txn");
        let deep =
            |levels| format!("{}{}", "{\"success\":[{\"request_txn\":".repeat(levels), "}]}".repeat(levels));
        assert!(mapping.read(deep(10_000).as_bytes()).is_err());
        // What is not known is skipped, however deep it is.
        let unheard = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(mapping.read(unheard.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_answered_is_written_under_etcds_names() {
        let header = ResponseHeader { cluster_id: u64::MAX, revision: -1, ..ResponseHeader::default() };
        let status = StatusResponse { header: Some(header), db_size: 5, ..StatusResponse::default() };
        let mut text = Vec::new();
        let mut writer = mapping("/etcdserverpb.Maintenance/Status").writer(status.encode_to_vec().into());
        assert!(writer.step(&mut text).expect("it is a status"));
        let text = String::from_utf8(text).expect("it is JSON");
        assert_eq!(text, r#"{"header":{"cluster_id":"18446744073709551615","revision":"-1"},"dbSize":"5"}"#);
    }
}
