//! What goes over the wire besides messages, held against etcd 3.6: compression, headers, deadlines, redirects.
//!
//! `WIRE_KINDS=etcd` sets etcd against itself, which judges the judge.

mod compression;
mod headers;
mod pages;
mod watch;

use harness::server::Kind;

/// Our stores, or etcd once more.
fn kinds() -> Vec<Kind> {
    if std::env::var("WIRE_KINDS").as_deref() == Ok("etcd") {
        return vec![Kind::Etcd36];
    }
    vec![Kind::Mainstem { partitions: 1 }, Kind::Tiers { partitions: 5 }]
}
