//! What etcd tells of a server: who leads, how far it has come, and what the probes found.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Metrics;
use super::page::{Kind, Page, as_f64};
use crate::config::FeatureGate;
use crate::http::{SERIES, Vitals};

pub(super) fn write(page: &mut Page, metrics: &Metrics, vitals: &Vitals) {
    versions(page, metrics);
    leadership(page, metrics, vitals);
    progress(page, vitals);
    probes(page, vitals);
    page.family("etcd_server_feature_enabled", Kind::Gauge, "Whether a feature is on.");
    for FeatureGate { name, stage, is_on } in &metrics.feature_gates.0 {
        page.sample(&format!("name=\"{name}\",stage=\"{stage}\""), f64::from(u8::from(*is_on)));
    }
    let quota = as_f64(metrics.quota_bytes);
    page.gauge("etcd_server_quota_backend_bytes", "How large the store may become, in bytes.", quota);
}

fn versions(page: &mut Page, metrics: &Metrics) {
    let cluster = metrics.version.cluster().rsplit_once('.').map_or("", |(short, _)| short);
    page.family("etcd_cluster_version", Kind::Gauge, "The cluster's version, as a label.");
    page.sample(&format!("cluster_version=\"{cluster}\""), 1.0);
    page.family("etcd_server_version", Kind::Gauge, "The server's version, as a label.");
    page.sample(&format!("server_version=\"{}\"", metrics.version.server()), 1.0);
    page.family("mainstem_version", Kind::Gauge, "The version of Mainstem, as a label.");
    page.sample(&format!("version=\"{}\"", crate::version::OWN), 1.0);
}

fn leadership(page: &mut Page, metrics: &Metrics, vitals: &Vitals) {
    let status = vitals.status.borrow();
    let (has, is) = (status.leader.is_some(), status.leader == Some(status.node));
    let learns = status.members.iter().any(|member| member.id == status.node && member.learner);
    page.gauge("etcd_server_has_leader", "Whether there is a leader.", f64::from(u8::from(has)));
    page.gauge("etcd_server_is_leader", "Whether this is the leader.", f64::from(u8::from(is)));
    page.gauge("etcd_server_is_learner", "Whether this is a learner.", f64::from(u8::from(learns)));
    page.family("etcd_server_id", Kind::Gauge, "The server's id, as a label.");
    page.sample(&format!("server_id=\"{:x}\"", status.node), 1.0);
    page.family("etcd_network_known_peers", Kind::Gauge, "How many peers are known.");
    let others = status.members.iter().map(|member| member.id).filter(|id| *id != status.node);
    for id in std::iter::once(status.node).chain(others) {
        page.sample(&format!("Local=\"{:x}\",Remote=\"{id:x}\"", status.node), 1.0);
    }
    let changes = as_f64(metrics.leader_changes.load(Relaxed));
    page.counter("etcd_server_leader_changes_seen_total", "How often the leader changed.", changes);
}

fn progress(page: &mut Page, vitals: &Vitals) {
    let status = vitals.status.borrow();
    let applied = as_f64(status.applied.0);
    page.gauge("etcd_server_proposals_applied_total", "The last journal position applied.", applied);
    page.gauge("etcd_server_proposals_committed_total", "The last journal position committed.", applied);
    let revision = as_f64(status.revision.0);
    page.gauge("etcd_debugging_mvcc_current_revision", "The store's revision.", revision);
    // etcd tells -1 until the first compaction.
    let compacted = if status.compacted.0 == 0 { -1.0 } else { as_f64(status.compacted.0) };
    page.gauge("etcd_debugging_mvcc_compact_revision", "The last compacted revision.", compacted);
}

fn probes(page: &mut Page, vitals: &Vitals) {
    let counters = &vitals.counters;
    let value = |counter: &AtomicU64| as_f64(counter.load(Relaxed));
    page.counter("etcd_server_health_success", "Health checks that went well.", value(&counters.success));
    page.counter("etcd_server_health_failures", "Health checks that failed.", value(&counters.failures));
    page.family("etcd_server_healthcheck", Kind::Gauge, "What each probe's check found last.");
    for ((check, kind), counters) in SERIES.iter().zip(&counters.checks) {
        let labels = format!("name=\"{}\",type=\"{kind}\"", check.name());
        page.sample(&labels, value(&counters.healthy));
    }
    page.family("etcd_server_healthchecks_total", Kind::Counter, "The outcomes of each probe's checks.");
    for ((check, kind), counters) in SERIES.iter().zip(&counters.checks) {
        for (status, counter) in [("success", &counters.success), ("error", &counters.error)] {
            let labels = format!("name=\"{}\",status=\"{status}\",type=\"{kind}\"", check.name());
            page.sample(&labels, value(counter));
        }
    }
}
