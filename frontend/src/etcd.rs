//! etcd's services: unpack, call, pack. Whatever is etcd's own (names on the wire, codes, texts, quirks of its
//! headers) ends here; behind it there are only our own words.

pub mod header;
mod overlap;
pub(crate) mod pack;
mod status;
pub mod validate;
