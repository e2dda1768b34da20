//! Whether the memstore of this process holds its share of the keys, so that another one may be stopped.
//!
//!     starts ──► holds every partition ───────────────────────────────────────► settled, for good
//!        │                                                                           ▲
//!        └─► 5 s, in which frontends give it what too few hold ──► all that hold the others answer
//!                                                       ▲                 │ one does not, or leaves
//!                                                       └──── 1 s ────────┘
//!
//! A process that replaces another one under a new name begins with nothing. It would be ready at once, the next
//! memstore would be stopped for that, and nobody would hold the keys of the two. So a share without a process counts
//! as its own for as long as it may be given to it. Frontends give it to one of those that are up, whether or not
//! these are ready: nobody waits for the other.
//!
//! Behind that readiness is about its own partitions alone, and a memstore that dies makes none of the others unready.

use std::time::Duration;

use journal::{Dialer, Journal, MemstoreInfo, Routes};
use proto::memstore::FollowRequest;
use proto::memstore::memstore_client::MemstoreClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// How long frontends may take to give a new memstore what too few hold: they look every two seconds at the least.
const GIVEN_WITHIN: Duration = Duration::from_secs(5);
/// How long until those that did not answer are asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a memstore may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why this memstore is not settled, for whoever asks. `None`: it is.
pub(super) type Unsettled = Option<String>;

/// What a memstore says of itself to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// It answers, and refuses to tell more.
    Refusal,
    Process {
        process: u64,
        leaving: bool,
    },
}

/// Asks the memstore at this address who it is.
pub(super) async fn ask(dialer: &Dialer, cluster: u64, url: &str) -> Heard {
    let asked = async {
        let mut memstore = MemstoreClient::new(dialer.channel(url).ok()?);
        let mut reports = match memstore.follow(FollowRequest { cluster }).await {
            Ok(reports) => reports.into_inner(),
            Err(status) if status.code() == Code::PermissionDenied => return Some(Heard::Refusal),
            Err(_) => return None,
        };
        let report = reports.message().await.ok()??;
        Some(Heard::Process { process: report.process, leaving: report.leaving })
    };
    tokio::time::timeout(ANSWER_MAX, asked).await.ok().flatten().unwrap_or(Heard::Nothing)
}

/// The task that finds out.
pub(super) struct Share {
    pub(super) memstore: u64,
    pub(super) journal: Journal,
    pub(super) dialer: Dialer,
}

impl Share {
    /// Until it is settled, or `closing`.
    pub(super) fn follow(self, closing: CancellationToken) -> watch::Receiver<Unsettled> {
        let begins = "it has just started, and may be given more partitions".to_owned();
        let (tell, told) = watch::channel(Some(begins));
        tokio::spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = self.settle(&tell) => drop(tell.send_replace(None)),
            }
        });
        told
    }

    async fn settle(&self, tell: &watch::Sender<Unsettled>) {
        let mut status = self.journal.status();
        let holds_all = async {
            // An error means that the journal has stopped, which is told elsewhere.
            let _ = status.wait_for(|status| others(&status.routes, self.memstore) == Others::None).await;
        };
        let all_answer = async {
            tokio::time::sleep(GIVEN_WITHIN).await;
            while let Some(reason) = self.missing().await {
                tell.send_if_modified(|told| {
                    let is_new = told.as_deref() != Some(&reason[..]);
                    if is_new {
                        tracing::info!(reason, "this memstore is not ready");
                        *told = Some(reason);
                    }
                    is_new
                });
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        };
        tokio::select! {
            () = holds_all => {}
            () = all_answer => {}
        }
    }

    /// Which share has no process. `None`: each has one.
    async fn missing(&self) -> Option<String> {
        let (routes, cluster) = {
            let status = self.journal.status_now();
            (status.routes.clone(), status.cluster)
        };
        let hold = match others(&routes, self.memstore) {
            Others::None => return None,
            Others::Unheld(partition) => {
                return Some(format!(
                    "no memstore holds partition {partition}; a frontend gives it to one that is up"
                ));
            }
            Others::Hold(hold) => hold,
        };
        for other in hold {
            if !is_there(other, ask(&self.dialer, cluster, &other.url).await) {
                return Some(format!(
                    "memstore {:?} at {} holds partitions and does not answer, or leaves: start it again, or wait a \
                     minute until frontends give these to others",
                    other.name, other.url
                ));
            }
        }
        None
    }
}

fn is_there(info: &MemstoreInfo, heard: Heard) -> bool {
    match heard {
        Heard::Nothing => false,
        Heard::Refusal => true,
        Heard::Process { process, leaving } => info.is_process(process) && !leaving,
    }
}

/// The memstores that hold what a memstore does not.
#[derive(Debug, PartialEq, Eq)]
enum Others<'a> {
    /// It holds every partition itself.
    None,
    /// No memstore at all holds this partition.
    Unheld(u64),
    Hold(Vec<&'a MemstoreInfo>),
}

fn others(routes: &Routes, memstore: u64) -> Others<'_> {
    let partitions = routes.partitions().iter();
    let foreign: Vec<_> = partitions.filter(|route| !route.replicas.contains(&memstore)).collect();
    if let Some(route) = foreign.iter().find(|route| route.replicas.is_empty()) {
        return Others::Unheld(route.partition);
    }
    let holds = |info: &&MemstoreInfo| foreign.iter().any(|route| route.replicas.contains(&info.id));
    let hold: Vec<_> = routes.memstores().iter().filter(holds).collect();
    if hold.is_empty() { Others::None } else { Others::Hold(hold) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: u64) -> MemstoreInfo {
        let name = format!("m{id}");
        let url = format!("http://{name}");
        MemstoreInfo { id, name, url, zone: String::new(), process: 10 + id }
    }

    fn held(replicas: &[(u64, u64)]) -> Routes {
        let begun = Routes::default().begin(&["g".into(), "t".into()]).expect("there is room");
        let all = (1..5).try_fold(begun, |routes, id| routes.register(info(id))).expect("there is room");
        let add = |routes: Routes, (partition, id): &(u64, u64)| routes.add_replica(*partition, *id);
        replicas.iter().try_fold(all, add).expect("they are there")
    }

    #[test]
    fn the_shares_of_others_count_where_they_may_become_its_own() {
        let routes = held(&[(1, 1), (1, 2), (2, 2), (2, 3), (3, 1), (3, 3)]);
        let names = |memstore| match others(&routes, memstore) {
            Others::Hold(hold) => hold.iter().map(|info| info.name.clone()).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(names(4), "m1 m2 m3", "the one that has come holds nothing");
        assert_eq!(names(1), "m2 m3");
        let routes = held(&[(1, 1), (2, 1), (3, 1), (1, 2)]);
        assert_eq!(others(&routes, 1), Others::None, "there is nothing that it could be given");
        assert_eq!(others(&held(&[(1, 1), (2, 1)]), 1), Others::Unheld(3));
        assert_eq!(others(&Routes::default(), 1), Others::None, "nothing is routed");
    }

    #[test]
    fn a_share_has_a_process_that_stays() {
        let heard = |process, leaving| Heard::Process { process, leaving };
        assert!(is_there(&info(1), heard(11, false)) && is_there(&info(1), Heard::Refusal));
        assert!(!is_there(&info(1), heard(11, true)), "it is about to go");
        assert!(!is_there(&info(1), heard(12, false)), "another one has its address");
        assert!(!is_there(&info(1), Heard::Nothing));
    }
}
