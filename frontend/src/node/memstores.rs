//! The memstores that a frontend without one of its own asks: all that are registered, as they come and go.

use journal::{Dialer, Journal, MemstoreInfo};
use memstore::{Memstore, Remote};
use tokio_util::sync::CancellationToken;

use super::{clock, routes_told};
use crate::routes::{Holder, Routes};

/// How they are reached.
pub(super) struct Memstores {
    cluster: u64,
    dialer: Dialer,
    /// By their ids and where they are.
    known: Vec<(MemstoreInfo, Memstore)>,
}

impl Memstores {
    pub(super) fn new(cluster: u64, dialer: Dialer) -> Memstores {
        Memstores { cluster, dialer, known: Vec::new() }
    }

    /// Keeps `routes` up to date, until `closing` or the journal's end. They have what is known by now.
    pub(super) fn follow(mut self, journal: &Journal, routes: &Routes, closing: CancellationToken) {
        let routes = routes.clone();
        routes_told::follow(journal, closing, move |told| {
            routes.set_memstores(self.holders(told.memstores()));
        });
    }

    /// One handle each, which stays while its memstore is where it was.
    fn holders(&mut self, told: &[MemstoreInfo]) -> Vec<Holder> {
        let known = std::mem::take(&mut self.known);
        let same = |one: &MemstoreInfo, other: &MemstoreInfo| one.id == other.id && one.url == other.url;
        for info in told {
            let handle = known.iter().find(|(one, _)| same(one, info)).map(|(_, handle)| handle.clone());
            match handle.map_or_else(|| self.connect(info), Ok) {
                Ok(handle) => self.known.push((info.clone(), handle)),
                Err(error) => tracing::error!(
                    name = info.name,
                    url = info.url,
                    %error,
                    "a memstore cannot be asked: restart it with an --advertise-memstore-urls that is a URL"
                ),
            }
        }
        let holder = |(info, memstore): &(MemstoreInfo, Memstore)| Holder {
            id: info.id,
            zone: info.zone.clone(),
            memstore: memstore.clone(),
        };
        self.known.iter().map(holder).collect()
    }

    fn connect(&self, info: &MemstoreInfo) -> Result<Memstore, memstore::Error> {
        let (cluster, dialer) = (self.cluster, self.dialer.clone());
        Remote { url: info.url.clone(), cluster, dialer, clock: clock() }.connect()
    }
}
