//! JSON of any bytes, read as a request of one of etcd's methods.

use prost_reflect::DynamicMessage;

use super::mapping::{Mapping, Read};
use crate::grpc::method::MethodId;

const METHODS: [&str; 7] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Auth/RoleGrantPermission",
];

/// What is read becomes the same bytes again when it is written as JSON and read.
///
///     u8 the method | the text
pub fn gateway(data: &[u8]) {
    let Some((&method, text)) = data.split_first() else { return };
    let path = METHODS[usize::from(method) % METHODS.len()];
    let mapping = Mapping::of(MethodId::of(path).expect("it is in the table").method());
    let Ok(Some(Read { message, bytes })) = mapping.read(text) else { return };
    assert!(bytes <= text.len());
    let written = mapping.write_request(&message);
    let again = mapping.read(&written).expect("it was just written").expect("it is whole");
    assert_eq!((again.message, again.bytes), (message, written.len()));
}

impl Mapping {
    fn write_request(&self, message: &[u8]) -> Vec<u8> {
        let message = DynamicMessage::decode(self.request().clone(), message).expect("it was just read");
        serde_json::to_vec(&message).expect("memory takes all")
    }
}

pub fn gateway_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let seed = |method: u8, text: &str| [&[method], text.as_bytes()].concat();
    vec![
        (
            "range",
            seed(
                0,
                r#"{"key":"+/8=","range_end":"AA==","limit":"7","sort_order":"DESCEND","keys_only":true}"#,
            ),
        ),
        ("put", seed(1, r#"{"key":"Zm9v","value":"YmFy","lease":"-7","prevKv":true}"#)),
        (
            "txn",
            seed(
                3,
                r#"{"compare":[{"result":"GREATER","target":"MOD","key":"aw==","modRevision":"9"}],"success":[{"requestPut":{"key":"aw=="}}],"failure":[{"request_txn":{}}]}"#,
            ),
        ),
        ("grant", seed(4, r#"{"TTL":60,"ID":"12"} {"TTL":1e1}"#)),
        ("watch", seed(5, r#"{"create_request":{"key":"YQ==","filters":["NOPUT",1],"start_revision":"3"}}"#)),
        (
            "permission",
            seed(6, r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#),
        ),
    ]
}
