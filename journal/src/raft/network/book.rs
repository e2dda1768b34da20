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
    /// How often the one that was tried did not answer: then the next is tried.
    failures: usize,
    /// URL of the peer at which this node itself answered.
    pub(super) own_url: Option<String>,
}

impl Place {
    /// The one that is tried now.
    pub(super) fn url(&self) -> &str {
        &self.urls[self.failures % self.urls.len()]
    }

    /// This URL did not answer. Where several calls fail at once, only the first of them turns to the next URL.
    pub(super) fn failed(&mut self, url: &str) {
        if !self.urls.is_empty() && self.url() == url {
            self.failures = self.failures.wrapping_add(1);
        }
    }
}

impl Book {
    pub(super) fn note(&mut self, peer: u64, urls: &[String]) {
        let place = self.peers.entry(peer).or_default();
        if place.urls != urls {
            *place = Place { urls: urls.to_vec(), ..Place::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_together_turn_to_the_next_url_once() {
        let mut book = Book::default();
        book.note(1, &["http://a".to_owned(), "http://b".to_owned()]);
        let place = book.peers.get_mut(&1).unwrap();
        assert_eq!(place.url(), "http://a");
        // A heartbeat and an append, both on their way to the same URL.
        place.failed("http://a");
        place.failed("http://a");
        assert_eq!(place.url(), "http://b");
        place.failed("http://b");
        assert_eq!(place.url(), "http://a");
    }
}
