//! How a memstore of a process of its own gets into the routes: by its name, and only one process at a time.
//!
//!     starts      another process of this name answers elsewhere: refused; else its entry is taken over
//!     registers   nobody has routed: it begins; what nobody holds is its own from then on
//!     runs        its entry is gone: registers again; its entry is another process's: stops
//!
//! How many hold a partition is for frontends to say, who see which memstores are there.

use std::time::Duration;

use bytes::Bytes;
use journal::{Dialer, Journal, MemstoreInfo, RouteRefusal, Routes};
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::share::{self, Heard};
use crate::config::Config;
use crate::route_change::{NotChanged, RouteChanger};

/// How long one that was taken out of the routes again and again waits until it registers. No frontend reaches it, though
/// it reaches the journal.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What a memstore asks of the routes.
pub(super) struct Registration {
    me: MemstoreInfo,
    split_keys: Vec<Bytes>,
    journal: Journal,
    changer: RouteChanger,
    dialer: Dialer,
}

impl Registration {
    pub(super) fn new(
        config: &Config,
        id: u64,
        process: u64,
        journal: &Journal,
        dialer: Dialer,
    ) -> Registration {
        let url = config.advertise_memstore.first().cloned().unwrap_or_default();
        let me = MemstoreInfo { id, name: config.name.clone(), url, zone: config.zone.clone(), process };
        let split_keys = config.split_keys.clone();
        let changer = RouteChanger::new(journal.clone());
        Registration { me, split_keys, journal: journal.clone(), changer, dialer }
    }

    /// # Errors
    /// Another process has its name, or the journal has stopped.
    pub(super) async fn register(&mut self) -> Result<(), StartError> {
        let known = self.changer.known();
        if let Some(other) = elsewhere(&known, &self.me)
            && self.answers(other).await
        {
            return Err(StartError::Cluster(format!(
                "another process at {} is the memstore named {:?}: give this one a --name of its own, or stop that one",
                other.url, other.name
            )));
        }
        self.enter().await
    }

    async fn enter(&mut self) -> Result<(), StartError> {
        let (me, split_keys) = (self.me.clone(), self.split_keys.clone());
        let entered = self.changer.change(|routes| wish(routes, &me, &split_keys)).await;
        entered.map(drop).map_err(|why| match why {
            NotChanged::Refused(refusal) => {
                StartError::Cluster(format!("the memstore has no place: {refusal}"))
            }
            NotChanged::Failed(_) => StartError::Journal(journal::Error::Closed),
        })
    }

    /// Whether the process that registered last is there still.
    async fn answers(&self, other: &MemstoreInfo) -> bool {
        let cluster = self.journal.status_now().cluster;
        match share::ask(&self.dialer, cluster, &other.url).await {
            Heard::Nothing => false,
            Heard::Refusal => true,
            Heard::Process { process, .. } => other.is_process(process),
        }
    }

    /// Keeps its entry. Ends with `closing`; cancels `lost` where another process has taken its name.
    pub(super) async fn keep(mut self, closing: CancellationToken, lost: CancellationToken) {
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.watch() => lost.cancel(),
        }
    }

    /// Ends when there is nothing to keep any more.
    async fn watch(&mut self) {
        let mut status = self.journal.status();
        let mut pause = Duration::ZERO;
        loop {
            let changed = status.wait_for(|status| self.is_due(&status.routes)).await;
            let Ok(routes) = changed.map(|status| status.routes.clone()) else { return };
            match routes.memstore(self.me.id) {
                Some(entry) if !entry.is_process(self.me.process) => {
                    tracing::error!(
                        name = self.me.name,
                        url = entry.url,
                        "another process has become the memstore of this name: this one stops; give each a --name of \
                         its own"
                    );
                    return;
                }
                Some(_) => {}
                None => {
                    tracing::warn!(
                        name = self.me.name,
                        in_seconds = pause.as_secs(),
                        "this memstore was taken out of the routes, and registers again: should that go on, look whether \
                         frontends reach its --advertise-memstore-urls"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                }
            }
            if let Err(error) = self.enter().await {
                tracing::error!(%error, "this memstore is out of the routes, and stops");
                return;
            }
        }
    }

    fn is_due(&self, routes: &Routes) -> bool {
        let entry = routes.memstore(self.me.id);
        // Whoever sees it vouches for it: that it hears of a doubt here proves nothing about who can ask it.
        entry.is_none_or(|entry| !entry.is_process(self.me.process))
    }
}

/// Where a memstore of this name is, if it is not where this one is.
fn elsewhere<'a>(routes: &'a Routes, me: &MemstoreInfo) -> Option<&'a MemstoreInfo> {
    let other = routes.memstore_named(&me.name).filter(|other| other.url != me.url)?;
    // Its address may have become another's since.
    let taken = routes.memstores().iter().any(|one| one.url == other.url && one.id != other.id);
    (!taken).then_some(other)
}

/// The partitions that no registered memstore holds.
fn unheld(routes: &Routes) -> impl Iterator<Item = u64> {
    let unheld = routes.partitions().iter().filter(|route| route.replicas.is_empty());
    unheld.map(|route| route.partition)
}

/// The routes with this memstore in them. `None`: they are so already.
fn wish(routes: &Routes, me: &MemstoreInfo, split_keys: &[Bytes]) -> Result<Option<Routes>, RouteRefusal> {
    let mut next = match routes.version() {
        0 => routes.begin(split_keys)?,
        _ => routes.clone(),
    };
    if next.memstore(me.id) != Some(me) {
        next = next.register(me.clone())?;
    }
    for partition in unheld(&next.clone()) {
        next = next.add_replica(partition, me.id)?;
    }
    Ok((next.version() != routes.version()).then(|| next.following(routes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memstore(id: u64, name: &str) -> MemstoreInfo {
        let url = format!("http://{name}");
        MemstoreInfo { id, name: name.to_owned(), url, zone: String::new(), process: id }
    }

    fn entered(routes: &Routes, me: &MemstoreInfo) -> Routes {
        wish(routes, me, &["m".into()]).expect("there is room").expect("it is not there yet")
    }

    #[test]
    fn the_first_memstore_begins_the_routes_and_has_everything() {
        let first = entered(&Routes::default(), &memstore(7, "a"));
        assert_eq!((first.version(), first.partitions().len()), (1, 2));
        let second = entered(&first, &memstore(5, "b"));
        assert_eq!((second.version(), second.memstores().len()), (2, 2));
        assert!(second.partitions().iter().all(|route| route.replicas == [7]), "frontends see to the rest");
    }

    #[test]
    fn an_address_that_is_anothers_by_now_stands_in_nobodys_way() {
        let routes = entered(&Routes::default(), &memstore(7, "a"));
        let moved = MemstoreInfo { url: "http://new".to_owned(), ..memstore(7, "a") };
        assert_eq!(elsewhere(&routes, &moved), Some(&memstore(7, "a")));
        assert_eq!(elsewhere(&routes, &memstore(7, "a")), None);
        let heir = MemstoreInfo { url: "http://a".to_owned(), ..memstore(8, "b") };
        assert_eq!(elsewhere(&entered(&routes, &heir), &moved), None);
    }

    #[test]
    fn who_is_registered_as_it_is_changes_nothing() {
        let routes = entered(&Routes::default(), &memstore(7, "a"));
        assert_eq!(wish(&routes, &memstore(7, "a"), &[]), Ok(None));
        let anew = MemstoreInfo { process: 8, ..memstore(7, "a") };
        assert_eq!(entered(&routes, &anew).memstore(7), Some(&anew));
    }
}
