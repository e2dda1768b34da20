//! What a node does by itself: ends leases, keeps the quota, compacts, sees to the partitions, says who it is.

use journal::Journal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::publisher::Publisher;
use crate::auto_compaction;
use crate::config::Config;
use crate::leases::Reaper;
use crate::memory_keeper::MemoryKeeper;
use crate::plan::Wishes;
use crate::planner::Planner;
use crate::quota_keeper::QuotaKeeper;
use crate::store::Store;

/// The tasks, on the runtime that started the node.
pub(super) struct Background {
    tasks: JoinSet<()>,
    closing: CancellationToken,
}

impl Background {
    /// Clients are served from `store`, where there are any. A member of the journal tells of itself.
    pub(super) fn start(
        config: &Config,
        journal: &Journal,
        store: Option<&Store>,
        member: u64,
        memory: MemoryKeeper,
    ) -> Background {
        let closing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(memory.run(closing.clone()));
        if let Some(store) = store {
            tasks.spawn(Reaper::new(store.clone()).run(closing.clone()));
            let keeper = QuotaKeeper::new(store.clone(), config.limits.quota_bytes, member);
            tasks.spawn(keeper.run(closing.clone()));
            tasks.spawn(auto_compaction::run(config.auto_compaction, store.clone(), closing.clone()));
        }
        if let Some(store) = store.filter(|_| config.roles.asks_memstores()) {
            let Config { replicas, split_after_bytes, split_after_writes, corrupt_check, .. } = *config;
            let wishes = Wishes { replicas, split_after_bytes, split_after_writes };
            tasks.spawn(Planner::new(store.clone(), wishes, corrupt_check).run(closing.clone()));
        }
        if config.roles.journal {
            let (name, client_urls) = (config.name.clone(), config.advertise_client.clone());
            tasks.spawn(Publisher { journal: journal.clone(), name, client_urls }.run(closing.clone()));
        }
        Background { tasks, closing }
    }

    /// Ends them, and waits until they have.
    pub(super) async fn stop(mut self) {
        self.closing.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
