//! Telling the cluster what this member is called and where clients reach it, whenever that is not what it knows.

use std::time::Duration;

use journal::{Error, Journal, Member, MemberChange, MemberRefusal, Status};
use tokio_util::sync::CancellationToken;

/// How long to wait before it is tried again: others have more urgent things to do.
const PAUSE: Duration = Duration::from_secs(1);

/// The task.
pub(super) struct Publisher {
    pub(super) journal: Journal,
    pub(super) name: String,
    pub(super) client_urls: Vec<String>,
}

impl Publisher {
    /// Runs until `closing`, or until the journal has closed.
    pub(super) async fn run(self, closing: CancellationToken) {
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.publish() => {}
        }
    }

    async fn publish(&self) {
        let mut status = self.journal.status();
        loop {
            let Ok(id) = status.wait_for(|status| self.is_news(status)).await.map(|status| status.node)
            else {
                return;
            };
            let (name, client_urls) = (self.name.clone(), self.client_urls.clone());
            let why = match self.journal.change_members(MemberChange::Publish { id, name, client_urls }).await
            {
                Ok(Ok(_)) => continue,
                Err(Error::Closed) => return,
                // Somebody else is changing it, or nobody leads just now.
                Ok(Err(MemberRefusal::UnderWay)) | Err(Error::NotLeader { .. } | Error::NoQuorum) => None,
                Ok(Err(refusal)) => Some(refusal.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                tracing::warn!(why, "the other members could not be told of this one yet; it is tried again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn is_news(&self, status: &Status) -> bool {
        let differs = |member: &Member| member.name != self.name || member.client_urls != self.client_urls;
        status.members.iter().any(|member| member.id == status.node && differs(member))
    }
}
