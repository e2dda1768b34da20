//! What a node serves over gRPC: etcd's services over one store, each thread with its own barriers.

use std::sync::Arc;

use memstore::Memory;
use proto::admin::admin_server::{self, AdminServer};
use proto::etcdserverpb::auth_server::{self, AuthServer};
use proto::etcdserverpb::cluster_server::{self, ClusterServer};
use proto::etcdserverpb::lease_server::{self, LeaseServer};
use proto::etcdserverpb::maintenance_server::{self, MaintenanceServer};
use proto::v3electionpb::election_server::{self, ElectionServer};
use proto::v3lockpb::lock_server::{self, LockServer};
use tokio_util::sync::CancellationToken;

use crate::admin::AdminService;
use crate::client::{Client, Turns};
use crate::config::Config;
use crate::etcd::auth::AuthService;
use crate::etcd::cluster::ClusterService;
use crate::etcd::election::ElectionService;
use crate::etcd::header::{Identity, Speaks};
use crate::etcd::kv::KvService;
use crate::etcd::lease::LeaseService;
use crate::etcd::lock::LockService;
use crate::etcd::maintenance::MaintenanceService;
use crate::etcd::validate;
use crate::etcd::watch::{self, WatchContext, WatchService};
use crate::grpc::Services;
use crate::store::Store;

/// What gRPC adds to the largest request, as etcd has it.
const GRPC_OVERHEAD_BYTES: usize = 512 << 10;

/// Makes the services of one frontend thread, on its runtime.
pub(super) fn maker(
    config: &Config,
    store: &Store,
    identity: Identity,
    memory: &Arc<Memory>,
    stops: &CancellationToken,
) -> Box<dyn FnOnce() -> Services + Send> {
    let (config, store, stops) = (config.clone(), store.clone(), stops.clone());
    let memory = memory.clone();
    Box::new(move || {
        let store = store.on_this_runtime();
        let kv = KvService::new(store.clone(), identity, limits(&config));
        let watch = WatchService::new(WatchContext {
            store: store.clone(),
            identity,
            memory,
            // As in etcd, answers are cut where requests would be refused.
            fragment_bytes: message_bytes_max(&config),
            progress_interval: config.progress_interval,
        });
        let lease = LeaseService::new(store.clone(), identity, config.election_timeout);
        let quota = config.limits.quota_bytes.unwrap_or_default();
        let speaks = if config.roles.journal { Speaks::ForItself } else { Speaks::ForLeader };
        let maintenance =
            MaintenanceService::new(store.clone(), identity, speaks, config.version.clone(), quota);
        let auth = AuthService::new(store.clone(), identity);
        let turns = Turns::new(Client::new(store.clone(), &config), stops);
        let lock = LockService::new(turns.clone(), identity);
        let election = ElectionService::new(turns, identity);
        let cluster =
            ClusterService::new(store.clone(), identity, config.serve_peers || !config.roles.journal);
        let admin = AdminService::new(store.clone(), config.split_keys.clone(), config.replicas);
        // What a message may have is checked before it comes here.
        let any = usize::MAX;
        Services::default()
            .with_kv(kv)
            .with(watch::NAME, watch)
            .with(lease_server::SERVICE_NAME, LeaseServer::new(lease).max_decoding_message_size(any))
            .with(
                maintenance_server::SERVICE_NAME,
                MaintenanceServer::new(maintenance).max_decoding_message_size(any),
            )
            .with(auth_server::SERVICE_NAME, AuthServer::new(auth).max_decoding_message_size(any))
            .with(admin_server::SERVICE_NAME, AdminServer::new(admin).max_decoding_message_size(any))
            .with(cluster_server::SERVICE_NAME, ClusterServer::new(cluster).max_decoding_message_size(any))
            .with(lock_server::SERVICE_NAME, LockServer::new(lock).max_decoding_message_size(any))
            .with(election_server::SERVICE_NAME, ElectionServer::new(election).max_decoding_message_size(any))
            .while_learning(move || store.learns())
    })
}

/// The largest message that is taken.
pub(super) fn message_bytes_max(config: &Config) -> usize {
    config.limits.request_bytes_max + GRPC_OVERHEAD_BYTES
}

fn limits(config: &Config) -> validate::Limits {
    validate::Limits {
        txn_operations_max: config.limits.txn_operations_max,
        request_bytes_max: config.limits.request_bytes_max,
    }
}
