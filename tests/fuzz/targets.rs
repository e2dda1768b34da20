//! What is tried, and how much memory each may take for an input of some length.

use frontend::fuzzing as api;
use journal::fuzzing as order;
use memstore::fuzzing as state;

/// A pure function of bytes. It panics where a promise is broken.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// Inputs to begin with.
    pub(crate) seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
    /// Bytes that may be allocated at one time.
    pub(crate) allocation: fn(usize) -> usize,
}

/// A multiple of the input, and what everybody needs.
fn linear(length: usize) -> usize {
    200 * length + (64 << 10)
}

/// A deletion names its key by what it shares with the key before it: keys add up to more than the input.
fn shared_prefixes(length: usize) -> usize {
    length * length + linear(length)
}

/// A few files of a few pages each, whatever the script says.
fn directory(_: usize) -> usize {
    8 << 20
}

/// States of a store, one behind each request.
fn states(length: usize) -> usize {
    (64 * length + (64 << 10)) * 17
}

/// The descriptors of etcd's API are built with the first use.
fn descriptors(length: usize) -> usize {
    1_000 * length + (16 << 20)
}

pub(crate) const TARGETS: [Target; 13] = [
    Target { name: "batch", run: order::batch, seeds: order::batch_seeds, allocation: shared_prefixes },
    Target { name: "effects", run: order::effects, seeds: order::effects_seeds, allocation: shared_prefixes },
    Target { name: "block", run: order::block, seeds: order::block_seeds, allocation: linear },
    Target { name: "segments", run: order::segments, seeds: order::segments_seeds, allocation: directory },
    Target { name: "state", run: order::state, seeds: order::state_seeds, allocation: linear },
    Target { name: "routes", run: order::routes, seeds: order::routes_seeds, allocation: linear },
    Target { name: "raft", run: order::raft, seeds: order::raft_seeds, allocation: shared_prefixes },
    Target { name: "key_range", run: order::key_range, seeds: order::key_range_seeds, allocation: linear },
    Target {
        name: "snapshot",
        run: state::snapshot,
        seeds: state::snapshot_seeds,
        allocation: |length| linear(length) + (1 << 20),
    },
    Target { name: "partitions", run: state::partitions, seeds: state::partitions_seeds, allocation: linear },
    Target { name: "requests", run: api::requests, seeds: api::requests_seeds, allocation: states },
    Target { name: "frames", run: api::frames, seeds: api::frames_seeds, allocation: linear },
    Target { name: "gateway", run: api::gateway, seeds: api::gateway_seeds, allocation: descriptors },
];
