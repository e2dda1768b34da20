//! What grpc's own metrics count: calls begun, calls ended by code, messages, bytes, and how long calls took.
//!
//! Each frontend thread has counters of its own and is their only writer, so counting is a plain load and store
//! without a lock prefix; a scrape adds the threads up. Every method and code is told from the first scrape on,
//! zero included: a ratio over counters that only appear with the first failure would miss that failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::client_versions::{self, ClientVersions};
use super::histogram::{DEFAULT_SECONDS, Histogram, add, write_sum};
use super::page::{Kind, Page, as_f64};
use super::requests::{self, RequestTimes};
use crate::grpc::method::{METHODS, METHODS_COUNT, MethodId};

/// The codes by number, as the label `grpc_code` has them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A gRPC status code by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) usize);

impl Code {
    pub(crate) const OK: Code = Code(0);
    pub(crate) const CANCELED: Code = Code(1);
    pub(crate) const UNKNOWN: Code = Code(2);
    pub(crate) const DEADLINE_EXCEEDED: Code = Code(4);
    pub(crate) const UNAVAILABLE: Code = Code(14);

    /// From the text of a `grpc-status` header.
    pub(crate) fn parse(text: &[u8]) -> Code {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.filter(|number| *number < CODES.len()).map_or(Code::UNKNOWN, Code)
    }
}

struct MethodCounters {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    took: Histogram,
}

/// The counters of one frontend thread.
pub(crate) struct RpcCounters {
    methods: Box<[MethodCounters]>,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    requests: RequestTimes,
    pub(crate) versions: ClientVersions,
}

impl RpcCounters {
    pub(crate) fn new() -> Arc<RpcCounters> {
        let method = || MethodCounters {
            started: AtomicU64::new(0),
            handled: std::array::from_fn(|_| AtomicU64::new(0)),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            took: Histogram::new(DEFAULT_SECONDS),
        };
        let methods = (0..METHODS_COUNT).map(|_| method()).collect();
        let (bytes_received, bytes_sent) = (AtomicU64::new(0), AtomicU64::new(0));
        let (requests, versions) = (RequestTimes::new(), ClientVersions::default());
        Arc::new(RpcCounters { methods, bytes_received, bytes_sent, requests, versions })
    }

    pub(crate) fn started(&self, method: MethodId) {
        add(&self.methods[method.0].started, 1);
    }

    pub(crate) fn received(&self, method: MethodId, bytes: usize) {
        add(&self.methods[method.0].received, 1);
        add(&self.bytes_received, bytes as u64);
    }

    pub(crate) fn sent(&self, method: MethodId, bytes: usize) {
        add(&self.methods[method.0].sent, 1);
        add(&self.bytes_sent, bytes as u64);
    }

    pub(crate) fn handled(&self, method: MethodId, code: Code, took: Duration) {
        let counters = &self.methods[method.0];
        add(&counters.handled[code.0], 1);
        counters.took.observe(took);
        self.requests.observe(method, code, took);
    }

    /// How many calls of a method ended in a code.
    #[cfg(test)]
    pub(crate) fn count(&self, method: MethodId, code: Code) -> u64 {
        self.methods[method.0].handled[code.0].load(Relaxed)
    }
}

/// Writes the sums over all frontend threads.
pub(crate) fn write(page: &mut Page, threads: &[Arc<RpcCounters>]) {
    let sum = |of: &dyn Fn(&RpcCounters) -> u64| as_f64(threads.iter().map(|one| of(one)).sum());
    page.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of messages received from clients over gRPC.",
        sum(&|one| one.bytes_received.load(Relaxed)),
    );
    page.counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of messages sent to clients over gRPC.",
        sum(&|one| one.bytes_sent.load(Relaxed)),
    );
    requests::write(page, threads.iter().map(|one| &one.requests));
    client_versions::write(page, threads.iter().map(|one| &one.versions));
    for (name, help, path) in [
        ("etcd_mvcc_range_total", "Calls of Range.", "/etcdserverpb.KV/Range"),
        ("etcd_mvcc_txn_total", "Calls of Txn.", "/etcdserverpb.KV/Txn"),
    ] {
        let method = MethodId::of(path).expect("it is in the table");
        page.counter(name, help, sum(&|one| one.methods[method.0].started.load(Relaxed)));
    }
    page.family("grpc_server_handled_total", Kind::Counter, "Calls that have ended, by code.");
    for (place, method) in METHODS.iter().enumerate() {
        for (number, code) in CODES.iter().enumerate() {
            let labels = format!("grpc_code=\"{code}\",{}", labels(method));
            page.sample(&labels, sum(&|one| one.methods[place].handled[number].load(Relaxed)));
        }
    }
    page.family("grpc_server_handling_seconds", Kind::Histogram, "How long calls took.");
    for (place, method) in METHODS.iter().enumerate() {
        let histograms = threads.iter().map(|one| &one.methods[place].took);
        write_sum(page, &labels(method), histograms, DEFAULT_SECONDS);
    }
    let mut family = |name, help, of: fn(&MethodCounters) -> &AtomicU64| {
        page.family(name, Kind::Counter, help);
        for (place, method) in METHODS.iter().enumerate() {
            page.sample(&labels(method), sum(&|one| of(&one.methods[place]).load(Relaxed)));
        }
    };
    family("grpc_server_msg_received_total", "Messages received from clients.", |one| &one.received);
    family("grpc_server_msg_sent_total", "Messages sent to clients.", |one| &one.sent);
    family("grpc_server_started_total", "Calls that have begun.", |one| &one.started);
}

fn labels(method: &crate::grpc::method::Method) -> String {
    let (service, name, kind) = (method.service(), method.name(), method.kind.label());
    format!("grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_code_is_told_before_anything_happens() {
        let mut page = Page::default();
        write(&mut page, &[RpcCounters::new(), RpcCounters::new()]);
        let text = page.text();
        let handled = text.lines().filter(|line| line.starts_with("grpc_server_handled_total{"));
        assert_eq!(handled.count(), METHODS_COUNT * CODES.len());
        assert!(text.contains("grpc_server_started_total{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 0\n"));
    }

    #[test]
    fn threads_are_added_up() {
        let threads = [RpcCounters::new(), RpcCounters::new()];
        let put = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table");
        for thread in &threads {
            thread.started(put);
            thread.received(put, 10);
            thread.sent(put, 5);
            thread.handled(put, Code::parse(b"8"), Duration::from_millis(1));
        }
        let mut page = Page::default();
        write(&mut page, &threads);
        let text = page.text();
        let put = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
        for line in [
            format!("grpc_server_handled_total{{grpc_code=\"ResourceExhausted\",{put}}} 2\n"),
            format!("grpc_server_handling_seconds_count{{{put}}} 2\n"),
            format!("grpc_server_msg_received_total{{{put}}} 2\n"),
            "etcd_network_client_grpc_received_bytes_total 20\n".to_owned(),
            "etcd_network_client_grpc_sent_bytes_total 10\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}");
        }
    }

    #[test]
    fn a_code_that_is_none_is_unknown() {
        assert_eq!(Code::parse(b"14"), Code::UNAVAILABLE);
        assert_eq!(Code::parse(b"99"), Code::UNKNOWN);
        assert_eq!(Code::parse(b""), Code::UNKNOWN);
    }
}
