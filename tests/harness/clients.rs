//! Clients of the raw protocol: what goes over the wire and nothing that a client library adds.

use anyhow::Result;
use proto::etcdserverpb::auth_client::AuthClient;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// One connection and every service on it.
#[derive(Clone)]
pub struct Clients {
    pub kv: KvClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
    pub cluster: ClusterClient<Channel>,
    pub auth: AuthClient<Channel>,
}

impl Clients {
    /// Connects when it is first used, and again after a loss.
    ///
    /// # Errors
    /// When `endpoint` is no URL.
    pub fn new(endpoint: &str) -> Result<Clients> {
        Ok(Clients::over(Endpoint::from_shared(endpoint.to_owned())?.connect_lazy()))
    }

    /// Over a connection that was made otherwise.
    #[must_use]
    pub fn over(channel: Channel) -> Clients {
        let limit = usize::MAX;
        Clients {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(limit),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(limit),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            auth: AuthClient::new(channel),
        }
    }

    /// A stream of its own for one watcher, which stays open as long as it is listened to.
    ///
    /// # Errors
    /// The refusal of the stream. That of the watcher comes in an answer.
    pub async fn watching(&self, create: WatchCreateRequest) -> Result<Streaming<WatchResponse>, Status> {
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let stays_open = tokio_stream::once(request).chain(tokio_stream::pending());
        Ok(self.watch.clone().watch(stays_open).await?.into_inner())
    }
}
