//! How long requests took, by what they ask for: a name of etcd 3.7's.
//!
//! Each frontend thread fills histograms of its own. As in etcd, a series is there once there was such a request.

use std::time::Duration;

use super::histogram::{Histogram, doubling, write_sum};
use super::page::{Kind, Page};
use super::rpc::Code;
use crate::grpc::method::MethodId;

/// 1 ms to about 8 s.
const BOUNDS: u16 = 14;

/// The methods whose requests are counted, with the label `type` of each.
const TYPES: [(&str, &str); 10] = [
    ("/etcdserverpb.KV/Range", "Range"),
    ("/etcdserverpb.KV/Put", "Put"),
    ("/etcdserverpb.KV/Txn", "Txn"),
    ("/etcdserverpb.KV/DeleteRange", "DeleteRange"),
    ("/etcdserverpb.KV/Compact", "Compaction"),
    ("/etcdserverpb.Lease/LeaseGrant", "LeaseGrant"),
    ("/etcdserverpb.Lease/LeaseRevoke", "LeaseRevoke"),
    ("/etcdserverpb.Maintenance/Alarm", "Alarm"),
    ("/etcdserverpb.Auth/Authenticate", "Authenticate"),
    ("/etcdserverpb.Auth/AuthStatus", "AuthStatus"),
];

fn bounds() -> &'static [f64] {
    static LAYOUT: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();
    LAYOUT.get_or_init(|| doubling(0.001, BOUNDS))
}

/// The histograms of one frontend thread.
pub(super) struct RequestTimes {
    /// For each type: what failed, and what went well.
    types: Box<[[Histogram; 2]]>,
    /// The place of a method's type.
    places: Box<[Option<usize>]>,
}

impl RequestTimes {
    pub(super) fn new() -> RequestTimes {
        let types = TYPES.iter().map(|_| [Histogram::new(bounds()), Histogram::new(bounds())]).collect();
        let place = |number| TYPES.iter().position(|(path, _)| MethodId::of(path) == Some(MethodId(number)));
        let places = (0..crate::grpc::method::METHODS_COUNT).map(place).collect();
        RequestTimes { types, places }
    }

    /// Counts one request. Only one thread may call this.
    pub(super) fn observe(&self, method: MethodId, code: Code, took: Duration) {
        if let Some(place) = self.places[method.0] {
            self.types[place][usize::from(code == Code::OK)].observe(took);
        }
    }
}

/// Writes the sums over all frontend threads.
pub(super) fn write<'a>(page: &mut Page, threads: impl Iterator<Item = &'a RequestTimes> + Clone) {
    let help = "How long requests took, and whether they were answered well.";
    page.family("etcd_server_request_duration_seconds", Kind::Histogram, help);
    for (place, (_, name)) in TYPES.iter().enumerate() {
        for (outcome, success) in ["false", "true"].into_iter().enumerate() {
            let histograms = threads.clone().map(|thread| &thread.types[place][outcome]);
            if histograms.clone().any(|histogram| histogram.count() > 0) {
                let labels = format!("success=\"{success}\",type=\"{name}\"");
                write_sum(page, &labels, histograms, bounds());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_its_type_and_its_success() {
        let threads = [RequestTimes::new(), RequestTimes::new()];
        let method = |path| MethodId::of(path).expect("it is in the table");
        threads[0].observe(method("/etcdserverpb.KV/Put"), Code::OK, Duration::from_millis(3));
        threads[1].observe(method("/etcdserverpb.KV/Put"), Code::OK, Duration::from_millis(5));
        threads[1].observe(method("/etcdserverpb.KV/Compact"), Code::UNAVAILABLE, Duration::from_secs(9));
        threads[1].observe(method("/etcdserverpb.Watch/Watch"), Code::OK, Duration::from_secs(9));
        let mut page = Page::default();
        write(&mut page, threads.iter());
        let text = page.text();
        for line in [
            "etcd_server_request_duration_seconds_bucket{success=\"true\",type=\"Put\",le=\"0.004\"} 1",
            "etcd_server_request_duration_seconds_bucket{success=\"true\",type=\"Put\",le=\"0.008\"} 2",
            "etcd_server_request_duration_seconds_count{success=\"false\",type=\"Compaction\"} 1",
            "etcd_server_request_duration_seconds_bucket{success=\"false\",type=\"Compaction\",le=\"8.192\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        assert_eq!(text.matches("_count{").count(), 2, "{text}");
    }

    #[test]
    fn every_type_is_of_a_method() {
        for (path, _) in TYPES {
            assert!(MethodId::of(path).is_some(), "{path}");
        }
    }
}
