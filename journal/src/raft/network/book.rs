//! Where peers are, and the ways there.

use std::collections::{BTreeMap, BTreeSet};

use tonic::transport::Channel;

use super::wire::Lane;

#[derive(Default)]
pub(super) struct Book {
    pub(super) peers: BTreeMap<u64, Place>,
    pub(super) channels: BTreeMap<(u64, Lane), (String, Channel)>,
    /// Who has refused to listen. Bounded by the number of peers.
    pub(super) refused: BTreeSet<u64>,
}

#[derive(Default)]
pub(super) struct Place {
    pub(super) urls: Vec<String>,
    /// Counts how often one did not answer: the next is tried then.
    pub(super) failures: usize,
}

impl Place {
    /// The one that is tried now.
    pub(super) fn url(&self) -> &str {
        &self.urls[self.failures % self.urls.len()]
    }
}

impl Book {
    pub(super) fn note(&mut self, peer: u64, urls: &[String]) {
        let place = self.peers.entry(peer).or_default();
        if place.urls != urls {
            *place = Place { urls: urls.to_vec(), failures: 0 };
        }
    }
}
