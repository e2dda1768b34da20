//! The cluster that a member begins with or joins, as `--initial-cluster` names it, and the ids that follow.
//!
//! Every member works them out for itself, by etcd's rule, so that members that were told the same agree:
//!
//!     member    the first 8 bytes of SHA-1(its peer URLs, sorted and joined | the cluster's token)
//!     cluster   the first 8 bytes of SHA-1(the members' ids, sorted, 8 bytes each)         both big endian

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use super::values::{self, Url};

/// Read only where there is no data yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// The peer URLs of each member, sorted, by its name.
    pub members: BTreeMap<String, Vec<String>>,
    /// Tells clusters apart that look the same.
    pub token: String,
    /// Whether it is there already, and is joined.
    pub exists: bool,
}

impl InitialCluster {
    /// From `NAME=URL,NAME=URL`, where a name may come more than once.
    pub(super) fn parse(text: &str, token: String, exists: bool) -> Result<InitialCluster, String> {
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in text.split(',').filter(|member| !member.is_empty()) {
            let (name, url) = member.split_once('=').unwrap_or((member, ""));
            if name.chars().any(char::is_control) {
                return Err(format!(
                    "{name:?} is no name for a member: it has characters that cannot be seen"
                ));
            }
            let Url { text, .. } = values::peer_url(url.trim())?;
            members.entry(name.to_owned()).or_default().push(text);
        }
        members.values_mut().for_each(|urls| urls.sort_unstable());
        Ok(InitialCluster { members, token, exists })
    }

    /// Whether a member of this name and these peer URLs can be one of them. A member that joins has told its URLs
    /// before: they are not compared.
    ///
    /// # Errors
    /// Why not, in etcd's words.
    pub fn check(&self, name: &str, advertised: &[String]) -> Result<(), String> {
        let Some(listed) = self.members.get(name) else {
            return Err(format!("couldn't find local name {name:?} in the initial cluster configuration"));
        };
        if !self.exists {
            matches(name, listed, advertised)?;
        }
        let mut seen = BTreeSet::new();
        if !self.members.values().flatten().all(|url| seen.insert(url)) {
            return Err(format!("initial cluster {self} has duplicate url"));
        }
        Ok(())
    }

    /// The id of a member that the cluster begins with.
    #[must_use]
    pub fn member_id(&self, name: &str) -> Option<u64> {
        self.members.get(name).map(|urls| member_id(urls, &self.token))
    }

    /// The id of a cluster that begins with these members.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        let mut ids: Vec<u64> = self.members.values().map(|urls| member_id(urls, &self.token)).collect();
        ids.sort_unstable();
        let mut hash = Sha1::new();
        ids.iter().for_each(|id| hash.update(id.to_be_bytes()));
        first_bytes(hash)
    }
}

/// As etcd writes it in its messages.
impl std::fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.members.iter().flat_map(|(name, urls)| urls.iter().map(move |url| pair(name, url)));
        f.write_str(&pairs.collect::<Vec<String>>().join(","))
    }
}

fn pair(name: &str, url: &str) -> String {
    format!("{name}={url}")
}

fn matches(name: &str, listed: &[String], advertised: &[String]) -> Result<(), String> {
    let pairs = |urls: &[String]| urls.iter().map(|url| pair(name, url)).collect::<Vec<String>>().join(",");
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|url| !those.contains(url)).cloned().collect()
    };
    let missing = only(listed, advertised);
    if !missing.is_empty() {
        let (missing, advertised) = (pairs(&missing), advertised.join(","));
        return Err(format!(
            "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={advertised}"
        ));
    }
    let missing = only(advertised, listed);
    if !missing.is_empty() {
        let (missing, listed) = (missing.join(","), pairs(listed));
        return Err(format!(
            "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={listed}"
        ));
    }
    Ok(())
}

/// The id that follows from where a member is. `salt` is the token of the cluster that it begins, or, where it is
/// added to one, the time of that: a member that comes back to its old address is another one.
pub(crate) fn member_id(peer_urls: &[String], salt: &str) -> u64 {
    let mut urls: Vec<&String> = peer_urls.iter().collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    urls.iter().for_each(|url| hash.update(url.as_bytes()));
    hash.update(salt.as_bytes());
    first_bytes(hash)
}

/// A member's peer URLs as they are kept: in etcd's form, and sorted. `None` where one cannot be reached.
pub(crate) fn peer_urls(texts: &[String]) -> Option<Vec<String>> {
    let urls = texts.iter().map(|text| values::peer_url(text.trim()).ok());
    let mut urls = urls.map(|url| url.map(|url| url.text)).collect::<Option<Vec<String>>>()?;
    urls.sort_unstable();
    (!urls.is_empty()).then_some(urls)
}

fn first_bytes(hash: Sha1) -> u64 {
    let bytes = hash.finalize();
    u64::from_be_bytes(*bytes.first_chunk().expect("a hash of 20 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> InitialCluster {
        InitialCluster::parse(text, "etcd-cluster".to_owned(), false).expect(text)
    }

    fn urls(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    /// As etcd's documents and its `member list` show them for these settings.
    #[test]
    fn ids_are_etcds() {
        let one = parse("default=http://localhost:2380");
        assert_eq!(one.member_id("default"), Some(0x8e9e_05c5_2164_694d));
        assert_eq!(one.cluster_id(), 0xcdf8_1819_4e3a_8c32);
        let text =
            "infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,infra3=http://127.0.0.1:32380";
        let three = InitialCluster { token: "etcd-cluster-1".to_owned(), ..parse(text) };
        assert_eq!(three.member_id("infra1"), Some(0x8211_f1d0_f64f_3269));
        assert_eq!(three.member_id("infra2"), Some(0x91bc_3c39_8fb3_c146));
        assert_eq!(three.member_id("infra3"), Some(0xfd42_2379_fda5_0e48));
        assert_eq!(three.cluster_id(), 0xef37_ad9d_c622_a7c4);
    }

    #[test]
    fn the_order_of_what_was_told_does_not_matter() {
        let (one, other) = (
            parse("a=http://a:1,b=http://b:2,a=http://a:3"),
            parse("a=http://a:3,a=http://a:1,b=http://b:2"),
        );
        assert_eq!(one, other);
        assert_ne!(one.cluster_id(), parse("a=http://a:1,b=http://b:2").cluster_id());
    }

    #[test]
    fn a_member_finds_itself_in_it() {
        let check = |text: &str, advertised: &str, expected: Result<(), &str>| {
            let checked = parse(text).check("a", &urls(advertised));
            assert_eq!(checked, expected.map_err(str::to_owned), "{text} {advertised}");
        };
        check("a=http://a:1,b=http://b:1", "http://a:1", Ok(()));
        check("a=http://a:1,a=http://a:2", "http://a:2,http://a:1", Ok(()));
        check(
            "b=http://b:1",
            "http://a:1",
            Err("couldn't find local name \"a\" in the initial cluster configuration"),
        );
        check(
            "a=http://a:1,b=http://b:1",
            "http://c:1",
            Err(
                "--initial-cluster has a=http://a:1 but missing from --initial-advertise-peer-urls=http://c:1",
            ),
        );
        check(
            "a=http://a:1",
            "http://a:1,http://a:2",
            Err(
                "--initial-advertise-peer-urls has http://a:2 but missing from --initial-cluster=a=http://a:1",
            ),
        );
        check(
            "a=http://a:1,b=http://a:1",
            "http://a:1",
            Err("initial cluster a=http://a:1,b=http://a:1 has duplicate url"),
        );
    }

    #[test]
    fn where_a_member_is_has_one_form() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(peer_urls(&urls(text)), expected.map(urls), "{text}");
        };
        check("http://b:1/, http://a:1", Some("http://a:1,http://b:1"));
        check("https://a:1", Some("https://a:1"));
        for text in ["", "a:1", "http://a", "http://a:1,"] {
            check(text, None);
        }
    }

    #[test]
    fn who_joins_has_told_its_address_before() {
        let joined = InitialCluster { exists: true, ..parse("a=http://a:1,b=http://b:1") };
        assert_eq!(joined.check("a", &urls("http://elsewhere:1")), Ok(()));
        assert!(joined.check("c", &urls("http://a:1")).is_err());
    }
}
