//! Calls that want a leader behind them: those with `hasleader: true` among their metadata.
//!
//!     begins      refused while nobody leads the journal
//!     stream      ended once nobody has led for as long as three elections take: reconnecting costs a client more
//!                 than to wait for the next leader
//!
//! Without the mark a call begins all the same, and whatever it needs a leader for waits for one.

use std::time::Duration;

use http::HeaderMap;
use tokio::sync::watch;

/// etcd's patience with streams, in election timeouts.
const ELECTIONS: u32 = 3;

/// The handle: what every frontend thread knows of the journal's leader.
#[derive(Clone)]
pub(crate) struct Leadership {
    status: watch::Receiver<journal::Status>,
    is_lost: watch::Receiver<bool>,
}

impl Leadership {
    /// Follows `status` on the current runtime, as long as there is a journal.
    pub(crate) fn follow(status: watch::Receiver<journal::Status>, election_timeout: Duration) -> Leadership {
        let (tell, is_lost) = watch::channel(false);
        tokio::spawn(follow(status.clone(), election_timeout * ELECTIONS, tell));
        Leadership { status, is_lost }
    }

    /// Whether a call asks for a leader. Of several answers the first counts, as in etcd.
    pub(crate) fn is_wanted(metadata: &HeaderMap) -> bool {
        metadata.get("hasleader").is_some_and(|wanted| wanted == "true")
    }

    pub(crate) fn exists(&self) -> bool {
        self.status.borrow().leader.is_some()
    }

    /// Resolves once nobody has led for too long.
    pub(crate) async fn lost(mut self) {
        if self.is_lost.wait_for(|is_lost| *is_lost).await.is_err() {
            // The journal has stopped, which is told elsewhere.
            std::future::pending().await
        }
    }
}

/// Until the journal stops. One task for all streams, because the status moves with every commit.
async fn follow(mut status: watch::Receiver<journal::Status>, patience: Duration, tell: watch::Sender<bool>) {
    while status.wait_for(|status| status.leader.is_none()).await.is_ok() {
        let next = status.wait_for(|status| status.leader.is_some());
        let in_time = tokio::time::timeout(patience, next).await.map(|next| next.is_ok());
        match in_time {
            Ok(true) => {}
            Ok(false) => return,
            Err(_late) => {
                tell.send_replace(true);
                if status.wait_for(|status| status.leader.is_some()).await.is_err() {
                    return;
                }
                tell.send_replace(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use journal::Status;

    use super::*;

    fn led_by(leader: Option<u64>) -> Status {
        Status { leader, ..Status::default() }
    }

    #[test]
    fn only_true_asks_for_a_leader() {
        let metadata = |values: &[&'static str]| {
            let name = http::HeaderName::from_static("hasleader");
            let mut metadata = HeaderMap::new();
            for value in values {
                metadata.append(&name, http::HeaderValue::from_static(value));
            }
            metadata
        };
        assert!(Leadership::is_wanted(&metadata(&["true"])));
        assert!(Leadership::is_wanted(&metadata(&["true", "false"])));
        assert!(!Leadership::is_wanted(&metadata(&["false", "true"])));
        assert!(!Leadership::is_wanted(&metadata(&["TRUE"])));
        assert!(!Leadership::is_wanted(&metadata(&[])));
    }

    #[tokio::test]
    async fn a_leader_is_lost_after_a_while_and_found_again() {
        let (journal, status) = watch::channel(led_by(Some(1)));
        let mut leadership = Leadership::follow(status, Duration::from_millis(1));
        assert!(leadership.exists() && !*leadership.is_lost.borrow());
        journal.send_replace(led_by(None));
        assert!(!leadership.exists());
        leadership.clone().lost().await;
        journal.send_replace(led_by(Some(2)));
        leadership.is_lost.wait_for(|is_lost| !is_lost).await.expect("it is followed");
        assert!(leadership.exists());
    }

    #[tokio::test]
    async fn a_journal_that_has_stopped_without_a_leader_is_followed_no_more() {
        for patience in [Duration::from_secs(3_600), Duration::from_millis(1)] {
            let (journal, status) = watch::channel(led_by(None));
            let mut leadership = Leadership::follow(status, patience);
            drop(journal);
            // One change at most, to "lost"; then the task has ended.
            while leadership.is_lost.changed().await.is_ok() {}
        }
    }
}
