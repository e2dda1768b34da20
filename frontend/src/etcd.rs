//! etcd's services: unpack, call, pack. Whatever is etcd's own (names on the wire, codes, texts, quirks of its
//! headers) ends here; behind it there are only our own words.

pub(crate) mod auth;
pub(crate) mod cluster;
pub(crate) mod election;
pub mod header;
pub mod kv;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maintenance;
pub(crate) mod overlap;
pub(crate) mod pack;
mod range_stream;
mod status;
pub mod validate;
pub(crate) mod watch;
