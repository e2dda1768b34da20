//! Metrics under etcd's names, so that its dashboards and alerts work as they are.
//!
//! Counters are plain atomics of our own: the crates for this hash labels, or share a counter between threads, on
//! each call, where one thread adding to its own array costs nothing that can be measured. What other parts know
//! already is not counted again but asked for when a page is written.

pub(crate) mod activity;
mod client_versions;
pub(crate) mod exposition;
pub(crate) mod histogram;
pub(crate) mod log;
pub(crate) mod page;
pub(crate) mod peers;
pub(crate) mod process;
mod protobuf;
mod quiet;
mod requests;
pub(crate) mod rpc;
mod server;
pub(crate) mod state;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use self::exposition::Format;
use self::page::Page;
use self::rpc::RpcCounters;
use crate::config::FeatureGates;
use crate::http::Vitals;
use crate::version::Version;

/// Writes what another part knows.
pub(crate) type Source = Box<dyn Fn(&mut Page) + Send + Sync>;

/// What a page is written from.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) version: Version,
    pub(crate) feature_gates: FeatureGates,
    pub(crate) quota_bytes: u64,
    /// How often another node began to lead, or this one.
    pub(crate) leader_changes: Arc<AtomicU64>,
    /// One for each frontend thread.
    pub(crate) rpc: Vec<Arc<RpcCounters>>,
    pub(crate) sources: Vec<Source>,
}

impl Metrics {
    pub(crate) fn page(&self, vitals: &Vitals, format: Format) -> Bytes {
        let mut page = Page::of(format);
        server::write(&mut page, self, vitals);
        for source in &self.sources {
            source(&mut page);
        }
        quiet::write(&mut page);
        rpc::write(&mut page, &self.rpc);
        process::write(&mut page);
        page.finish()
    }
}

#[cfg(test)]
mod tests;
