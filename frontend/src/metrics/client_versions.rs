//! Calls by the version of the client's library, which clients of etcd send along.
//!
//! One thread counts and any reads, as with every counter of calls. A place is taken by the first call of a version
//! and kept, so that counting is a look at a few short texts. There are few versions; a client that makes up more is
//! counted among the unknown.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderMap;

use super::histogram::add;
use super::page::{Kind, Page, as_f64};

/// Versions that are told apart.
const VERSIONS_MAX: usize = 16;
/// No version is longer.
const VERSION_BYTES_MAX: usize = 24;
const UNKNOWN: &str = "unknown";

/// The counters of one thread.
#[derive(Default)]
pub(crate) struct ClientVersions {
    places: [Place; VERSIONS_MAX],
    unknown: Counters,
}

#[derive(Default)]
struct Place {
    version: OnceLock<String>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    unary: AtomicU64,
    stream: AtomicU64,
}

impl ClientVersions {
    /// Counts a call. Only one thread may call this.
    pub(crate) fn count(&self, headers: &HeaderMap, is_unary: bool) {
        let counters =
            headers.get("client-api-version").map_or(&self.unknown, |version| self.of(version.as_bytes()));
        add(if is_unary { &counters.unary } else { &counters.stream }, 1);
    }

    fn of(&self, version: &[u8]) -> &Counters {
        for place in &self.places {
            match place.version.get() {
                Some(known) if known.as_bytes() == version => return &place.counters,
                Some(_) => {}
                None => {
                    let Some(version) = label(version) else { break };
                    place.version.get_or_init(|| version);
                    return &place.counters;
                }
            }
        }
        &self.unknown
    }

    fn counted(&self) -> impl Iterator<Item = (&str, &Counters)> {
        let known =
            self.places.iter().filter_map(|place| Some((place.version.get()?.as_str(), &place.counters)));
        known.chain([(UNKNOWN, &self.unknown)])
    }
}

/// The version as a label. What a client sends may be anything.
fn label(version: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_+".contains(byte);
    let fits = (1..=VERSION_BYTES_MAX).contains(&version.len()) && version.iter().all(plain);
    (fits && version != UNKNOWN.as_bytes()).then(|| String::from_utf8_lossy(version).into_owned())
}

/// Writes the sums over all threads.
pub(crate) fn write<'a>(page: &mut Page, threads: impl Iterator<Item = &'a ClientVersions>) {
    let mut sums = std::collections::BTreeMap::<(&str, &str), u64>::new();
    for (version, counters) in threads.flat_map(ClientVersions::counted) {
        for (kind, counter) in [("stream", &counters.stream), ("unary", &counters.unary)] {
            *sums.entry((version, kind)).or_default() += counter.load(Relaxed);
        }
    }
    page.family("etcd_server_client_requests_total", Kind::Counter, "Calls by the client's version.");
    for ((version, kind), sum) in sums {
        page.sample(&format!("client_api_version=\"{version}\",type=\"{kind}\""), as_f64(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(version: &'static str) -> HeaderMap {
        let value = http::HeaderValue::from_static(version);
        HeaderMap::from_iter([(http::HeaderName::from_static("client-api-version"), value)])
    }

    fn page(threads: &[ClientVersions]) -> String {
        let mut page = Page::default();
        write(&mut page, threads.iter());
        page.text()
    }

    fn sample(text: &str, version: &str, kind: &str) -> Option<u64> {
        let start =
            format!("etcd_server_client_requests_total{{client_api_version=\"{version}\",type=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse().expect("a number"))
    }

    #[test]
    fn calls_are_counted_by_version_over_all_threads() {
        let threads = [ClientVersions::default(), ClientVersions::default()];
        for thread in &threads {
            thread.count(&headers("3.6"), true);
            thread.count(&headers("3.7"), false);
        }
        threads[0].count(&HeaderMap::new(), true);
        let text = page(&threads);
        assert_eq!(sample(&text, "3.6", "unary"), Some(2));
        assert_eq!(sample(&text, "3.7", "stream"), Some(2));
        assert_eq!(sample(&text, "unknown", "unary"), Some(1));
    }

    #[test]
    fn what_is_no_version_is_unknown() {
        let thread = ClientVersions::default();
        for version in ["", "\"} 1", "3.6 or so", "a-version-of-more-than-twenty-four-bytes"] {
            thread.count(&headers(version), true);
        }
        let text = page(&[thread]);
        assert_eq!(sample(&text, "unknown", "unary"), Some(4));
        assert_eq!(text.lines().count(), 2 + 2, "{text}");
    }

    #[test]
    fn whoever_makes_up_versions_fills_no_memory() {
        let thread = ClientVersions::default();
        for number in 0..100 {
            let version = http::HeaderValue::from_str(&format!("3.{number}")).expect("it is text");
            let name = http::HeaderName::from_static("client-api-version");
            thread.count(&HeaderMap::from_iter([(name, version)]), true);
        }
        let text = page(&[thread]);
        let unknown = 100 - VERSIONS_MAX as u64;
        assert_eq!(sample(&text, "unknown", "unary"), Some(unknown));
    }
}
