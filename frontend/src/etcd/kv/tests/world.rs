//! A store without a socket: a journal and memstores in memory, and etcd's KV service over them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use journal::{Append, LeaseId, SysOp, Verdict};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::*;
use super::IDENTITY;
use crate::routes::tests::served::Served;

/// A store in memory. The memstore follows on a thread of its own, so it lags as it will.
pub(super) struct World {
    pub(super) journal: journal::Node,
    pub(super) memstore: Option<JoinHandle<()>>,
    pub(super) served: Option<Served>,
    pub(super) cancel: CancellationToken,
    pub(super) store: Store,
    pub(super) kv: KvService,
}

impl World {
    pub(super) async fn start(split_keys: &[&'static str]) -> World {
        World::with(memstore::Wanted::Split(split_keys.iter().copied().map(Bytes::from).collect())).await
    }

    pub(super) async fn with(wanted: memstore::Wanted) -> World {
        let clock = Arc::new(journal::SystemClock::default());
        let config = journal::Config::single(11, 12, journal::Storage::Memory);
        let journal = journal::Node::start(config, clock.clone()).await.expect("it needs nothing");
        let cancel = CancellationToken::new();
        let config = memstore::Config { wanted, process: 7, ..memstore::Config::default() };
        let (handle, memstore) = follow(config, journal.handle(), cancel.clone());
        let handle = handle.await.expect("it starts");
        let patience = Duration::from_secs(60);
        let store = Store::new(journal.handle(), handle, patience, cancel.clone());
        let limits = Limits { txn_operations_max: 8, ..Limits::default() };
        let kv = KvService::new(store.clone(), IDENTITY, limits);
        World { journal, memstore: Some(memstore), served: None, cancel, store, kv }
    }

    /// The same over several memstores, which are asked over sockets.
    pub(super) async fn served(splits: &[&[&'static str]]) -> World {
        let clock = Arc::new(journal::SystemClock::default());
        let config = journal::Config::single(11, 12, journal::Storage::Memory);
        let journal = journal::Node::start(config, clock).await.expect("it needs nothing");
        let cancel = CancellationToken::new();
        let served = Served::start(&journal.handle(), splits).await;
        let patience = Duration::from_secs(60);
        let store = Store::new(journal.handle(), served.routes.clone(), patience, cancel.clone());
        store.ready().await.expect("they follow");
        let limits = Limits { txn_operations_max: 8, ..Limits::default() };
        let kv = KvService::new(store.clone(), IDENTITY, limits);
        World { journal, memstore: None, served: Some(served), cancel, store, kv }
    }

    pub(super) async fn grant(&self, lease: i64) {
        self.store.barrier().await.expect("it leads before long");
        let sysop = Some(SysOp::LeaseGrant { lease: LeaseId(lease), ttl_seconds: 3_600 });
        let origin = self.store.origin();
        let append = Append { origin, reads: vec![], writes: vec![], sysop, reserve: false };
        let verdict = self.store.journal().append(append).await;
        assert!(matches!(verdict, Verdict::Committed { .. }), "{verdict:?}");
    }

    pub(super) async fn close(self) {
        self.cancel.cancel();
        if let Some(memstore) = self.memstore {
            memstore.join().expect("it does not panic");
        }
        if let Some(served) = self.served {
            served.close().await;
        }
        self.journal.close().await;
    }
}

/// Starts a memstore on its own thread, which ends with `cancel`.
fn follow(
    config: memstore::Config,
    journal: journal::Journal,
    cancel: CancellationToken,
) -> (oneshot::Receiver<memstore::Memstore>, JoinHandle<()>) {
    let (reply, handle) = oneshot::channel();
    let clock = Arc::new(journal::SystemClock::default());
    let run = async move {
        let node = memstore::Node::start(config, journal, clock, cancel.clone()).expect("it needs nothing");
        reply.send(node.handle()).ok();
        cancel.cancelled().await;
        node.close().await.expect("it closes");
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread has one");
    (handle, std::thread::spawn(move || runtime.block_on(run)))
}
