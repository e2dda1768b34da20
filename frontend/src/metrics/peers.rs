//! What the journal counts of the other members, under etcd's names.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use journal::{PeerMetrics, PeersMetrics};

use super::Source;
use super::page::{Kind, Page, as_f64};

type Counter = fn(&PeerMetrics) -> &AtomicU64;

/// By name, with the label that the other member's id has.
const COUNTERS: [(&str, &str, &str, Counter); 3] = [
    ("etcd_network_peer_sent_bytes_total", "To", "Bytes of messages to a peer.", |peer| &peer.sent_bytes),
    ("etcd_network_peer_received_bytes_total", "From", "Bytes of messages from a peer.", |peer| {
        &peer.received_bytes
    }),
    ("etcd_network_peer_sent_failures_total", "To", "Messages that a peer did not answer.", |peer| {
        &peer.failures
    }),
];

/// Writes them. A family has no samples where there are no others, as in etcd.
pub(crate) fn source(peers: Arc<PeersMetrics>) -> Source {
    Box::new(move |page| write(page, &peers))
}

fn write(page: &mut Page, peers: &PeersMetrics) {
    let peers = peers.all();
    if peers.is_empty() {
        return;
    }
    for (name, label, help, counter) in COUNTERS {
        page.family(name, Kind::Counter, help);
        for (id, peer) in &peers {
            page.sample(&format!("{label}=\"{id:x}\""), as_f64(counter(peer).load(Relaxed)));
        }
    }
    let help = "How long a peer took to answer a heartbeat.";
    page.family("etcd_network_peer_round_trip_time_seconds", Kind::Histogram, help);
    for (id, peer) in &peers {
        let bounds = peer.round_trips();
        let bounds =
            bounds.map(|(bound, count)| (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), count));
        page.histogram(&format!("To=\"{id:x}\""), bounds, peer.round_trips_sum().as_secs_f64());
    }
}
