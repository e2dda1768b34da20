//! That a page is one that Prometheus takes.

use std::collections::BTreeSet;

use journal::Status;
use tokio::sync::watch;

use super::*;
use crate::http::HealthCounters;

fn page() -> String {
    String::from_utf8(page_in(Format::Text).into()).expect("the format is text")
}

fn page_in(format: Format) -> Bytes {
    let (_, status) = watch::channel(Status::default());
    let vitals = Vitals {
        status,
        read: Box::new(|_| Box::pin(async { Ok(()) })),
        unsettled: None,
        counters: HealthCounters::default(),
    };
    Metrics { rpc: vec![RpcCounters::new()], ..Metrics::default() }.page(&vitals, format)
}

#[test]
fn each_family_is_told_once_and_each_sample_belongs_to_the_family_above_it() {
    let (mut families, mut series, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for line in page().lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            current = family.split(' ').next().expect("a name").to_owned();
            assert!(families.insert(current.clone()), "{current} is told twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(name.starts_with(&current), "{line} stands below {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name.to_owned()), "{name} is told twice");
        }
    }
}

#[test]
fn what_alerts_read_is_there_before_anything_happens() {
    let page = page();
    for name in [
        "etcd_server_has_leader 0",
        "etcd_server_leader_changes_seen_total 0",
        "etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0",
        "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 0",
        "grpc_server_handling_seconds_bucket{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\",le=\"0.25\"} 0",
        "etcd_server_quota_backend_bytes 0",
    ] {
        assert!(page.lines().any(|line| line == name), "{name}");
    }
}
