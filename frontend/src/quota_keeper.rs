//! Keeping the quota: `--quota-backend-bytes`, and the alarm when there is no room left.
//!
//!     a request would pass the quota     it is refused, and the NOSPACE alarm raised with it: `Store::admit`
//!     used >= quota                      the alarm is raised here
//!     there is room again                the alarm is cleared here; one that an operator raised stays
//!
//! "Used" is what the memstores account for: every kept version with its key.

use std::time::Duration;

use journal::{Alarm, SysOp};
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How often it is seen whether there is room again.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The task.
pub(crate) struct QuotaKeeper {
    store: Store,
    /// This endpoint's member id, which its alarms carry.
    member: u64,
}

impl QuotaKeeper {
    /// To be made before clients are served. `None`: there is no limit, and only the alarms of others count. An
    /// alarm from before is the quota's, because nobody is left who could say otherwise.
    pub(crate) fn new(store: Store, bytes_max: Option<u64>, member: u64) -> QuotaKeeper {
        store.quota().limit(bytes_max.unwrap_or(u64::MAX));
        QuotaKeeper { store, member }
    }

    /// Runs until `closing`.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut status = self.store.journal().status();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut alarms = Vec::new();
        let mut was_on = false;
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                // The status moves with every commit; only its alarms matter here.
                changed = status.wait_for(|status| status.alarms != alarms) => if changed.is_err() { return },
                _ = looks.tick() => {}
            }
            alarms.clone_from(&status.borrow_and_update().alarms);
            let quota = self.store.quota();
            // Not before the alarm is there: whoever is refused finds it in the list, as in etcd.
            quota.show(&alarms);
            let on = alarms.contains(&(self.member, Alarm::NoSpace));
            if was_on && !on {
                quota.forget();
            }
            was_on = on;
            // What was refused was refused for what had been answered by then. Nobody tells while a partition is lost.
            let used = tokio::select! {
                () = closing.cancelled() => return,
                changed = status.wait_for(|status| status.alarms != alarms) => {
                    if changed.is_err() { return }
                    continue;
                }
                used = self.store.routes().bytes_in_use_at(self.store.seen().lsn) => used,
            };
            let Ok(used) = used else { continue };
            if !on && quota.is_passed(used) {
                self.store.alarm_full(self.member, used).await;
            } else if on && quota.has_room(used) {
                self.clear(used).await;
            }
        }
    }

    async fn clear(&self, used: u64) {
        let (member, alarm) = (self.member, Alarm::NoSpace);
        match self.store.change(SysOp::AlarmClear { member, alarm }).await {
            Ok(_) => tracing::info!(used, "there is room again: the NOSPACE alarm is cleared"),
            Err(error) => tracing::warn!(%error, "the NOSPACE alarm could not be cleared; it is tried again"),
        }
    }
}
