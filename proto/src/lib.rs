//! The wire: etcd's v3 API as of 3.7, field by field, compiled from `proto/etcd/`, and what the tiers say to each
//! other across processes, from `proto/mainstem/`.
//!
//! Keys and values are `Bytes`: slices of the message that they came in.

/// All of it as descriptors (`google.protobuf.FileDescriptorSet`), for those who map messages by their fields' names.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Keys, values and events.
#[allow(unreachable_pub, clippy::all, clippy::restriction)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles and permissions.
#[allow(unreachable_pub, clippy::all, clippy::restriction)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// KV, Watch, Lease, Cluster, Maintenance and Auth.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The lock service.
#[allow(unreachable_pub, clippy::all, clippy::restriction)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// The election service.
#[allow(unreachable_pub, clippy::all, clippy::restriction)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// Between the voters of a journal.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod raft {
    tonic::include_proto!("mainstem.raft.v1");
}

/// Between a journal and whoever appends to it or follows it.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod journal {
    tonic::include_proto!("mainstem.journal.v1");
}

/// Between members, for those who lack what others have in snapshots.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod snapshots {
    tonic::include_proto!("mainstem.snapshots.v1");
}

/// Between a memstore and the frontends that read from it.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod memstore {
    tonic::include_proto!("mainstem.memstore.v1");
}

/// Between an operator and a frontend.
#[allow(unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub mod admin {
    tonic::include_proto!("mainstem.admin.v1");
}
