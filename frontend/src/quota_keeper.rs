//! Keeping the quota: `--quota-backend-bytes`, and the alarm when there is no room left.
//!
//!     used < quota      everything passes
//!     used >= quota     the NOSPACE alarm is raised, and what grows is refused; deletes, compactions, reads pass
//!     used < quota      the alarm that this keeper raised is cleared by it; one that an operator raised stays
//!
//! "Used" is what the memstores account for: every kept version with its key. It is looked at twice a second, so
//! the quota can be passed by what is written meanwhile.

use std::time::Duration;

use journal::{Alarm, SysOp};
use tokio_util::sync::CancellationToken;

use crate::answer::Answered;
use crate::error::Error;
use crate::store::Store;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The task.
pub(crate) struct QuotaKeeper {
    store: Store,
    /// `None`: there is no limit, and only the alarms of others count.
    bytes_max: Option<u64>,
    /// This endpoint's member id, which its alarms carry.
    member: u64,
    /// The alarm is this keeper's, who may clear it.
    ours: bool,
}

impl QuotaKeeper {
    /// To be made before clients are served: an alarm from before that is the quota's, because nobody is left who
    /// could say otherwise.
    pub(crate) fn new(store: Store, bytes_max: Option<u64>, member: u64) -> QuotaKeeper {
        let ours = store.journal().status().borrow().alarms.contains(&(member, Alarm::NoSpace));
        QuotaKeeper { store, bytes_max, member, ours }
    }

    /// Runs until `closing`.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut status = self.store.journal().status();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut alarms = Vec::new();
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                // The status moves with every commit; only its alarms matter here.
                changed = status.wait_for(|status| status.alarms != alarms) => if changed.is_err() { return },
                _ = looks.tick() => {}
            }
            alarms.clone_from(&status.borrow_and_update().alarms);
            let used = self.store.memstore().stats().total.bytes_total;
            let over = self.bytes_max.is_some_and(|bytes_max| used >= bytes_max);
            let raised = |wanted| alarms.iter().any(|(_, alarm)| *alarm == wanted);
            // Not before the alarm is there: whoever is refused finds it in the list, as in etcd.
            self.store.quota().show(raised(Alarm::NoSpace), raised(Alarm::Corrupt));
            let on = alarms.contains(&(self.member, Alarm::NoSpace));
            self.ours &= on;
            let (member, alarm) = (self.member, Alarm::NoSpace);
            if over && !on {
                self.ours = true;
                self.say(self.store.change(SysOp::AlarmRaise { member, alarm }).await, "raised", used);
            } else if on && self.ours && !over {
                self.say(self.store.change(SysOp::AlarmClear { member, alarm }).await, "cleared", used);
            }
        }
    }

    fn say(&self, outcome: Result<Answered<()>, Error>, what: &str, used: u64) {
        let quota = self.bytes_max.unwrap_or_default();
        match outcome {
            Ok(_) => tracing::warn!(
                used,
                quota,
                "the NOSPACE alarm is {what}; room comes from deleting and compacting, or from a larger --quota-backend-bytes"
            ),
            Err(error) => tracing::warn!(%error, "the NOSPACE alarm could not be {what}; it is tried again"),
        }
    }
}
