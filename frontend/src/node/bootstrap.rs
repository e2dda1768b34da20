//! How a member without data finds its place: among those that begin a cluster, or in one that is there.
//!
//!     new         the ids follow from what all were told; a member that the others know already is refused, and one that
//!                 was added anew at this address joins
//!     existing    the others tell who there is; the member with our peer URLs is this one

use std::time::Duration;

use journal::{Dialer, Member, ask_status};
use tokio::task::JoinSet;

use super::etcd_peer;
use super::identity::{Begins, Identity};
use crate::config::InitialCluster;

/// How long another member may take to tell who there is.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What another member knows.
struct Known {
    cluster: u64,
    members: Vec<Member>,
    /// Members that have promised something to it.
    bootstrapped: Vec<u64>,
    applied: u64,
}

impl Known {
    /// Returns true where the member has voted or acknowledged, so that a data directory without that is not its own. One
    /// of an older version is known to have begun by its client URLs alone.
    fn has_begun(&self, id: u64) -> bool {
        let is_published = |member: &Member| member.id == id && !member.client_urls.is_empty();
        self.bootstrapped.contains(&id) || self.members.iter().any(is_published)
    }

    /// The member at these addresses.
    fn at(&self, urls: &[String]) -> Option<&Member> {
        self.members.iter().find(|member| {
            let mut known = member.peer_urls.clone();
            known.sort_unstable();
            known == urls
        })
    }
}

/// # Errors
/// Why it has no place there, in etcd's words where etcd has some.
pub(super) async fn identity(
    cluster: &InitialCluster,
    name: &str,
    dialer: &Dialer,
) -> Result<Identity, String> {
    let known = ask_others(cluster, name, dialer).await.map_err(|url| {
        format!(
            "the member at {url} is an etcd process, and members of Mainstem and of etcd form no cluster: start Mainstem as a \
             cluster of its own, with --initial-cluster naming its own members, and move the keys"
        )
    })?;
    if cluster.exists { joins(cluster, name, &known) } else { begins(cluster, name, &known) }
}

fn begins(cluster: &InitialCluster, name: &str, known: &[Known]) -> Result<Identity, String> {
    let ids = (cluster.cluster_id(), cluster.member_id(name).expect("it was looked for"));
    let of_ours = || known.iter().filter(|known| known.cluster == ids.0);
    // Its vote may be in what it has lost: with another one it would vote twice.
    if of_ours().any(|known| known.has_begun(ids.1)) {
        return Err(lost(cluster, name, ids.1));
    }
    // It was replaced: the members know it by another id, under which it has not been there yet.
    let newest = of_ours().max_by_key(|known| known.applied);
    if let Some(newest) = newest.filter(|newest| newest.members.iter().all(|member| member.id != ids.1))
        && let Some(added) = newest.at(&cluster.members[name])
        && !of_ours().any(|known| known.has_begun(added.id))
    {
        return Ok(Identity { cluster: ids.0, member: added.id, begins: Begins::Joins, is_new: true });
    }
    let voters = cluster.members.iter().map(|(name, urls)| Member {
        id: cluster.member_id(name).expect("it is a member"),
        name: name.clone(),
        peer_urls: urls.clone(),
        ..Member::default()
    });
    let begins = Begins::With(voters.collect());
    Ok(Identity { cluster: ids.0, member: ids.1, begins, is_new: true })
}

fn lost(cluster: &InitialCluster, name: &str, id: u64) -> String {
    let urls = cluster.members[name].join(",");
    format!(
        "member {id:x} has already been bootstrapped: its data is gone. Give it its data directory back; if that is lost, \
         put a new member in its place (`mainstem member replace {id:x} --name={name} --peer-urls={urls} \
         --endpoints=...`), and start that one with an empty data directory"
    )
}

fn joins(cluster: &InitialCluster, name: &str, all: &[Known]) -> Result<Identity, String> {
    let newest = all.iter().max_by_key(|known| known.applied);
    let known = newest.ok_or(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs; \
         check --initial-cluster, and that the other members run",
    )?;
    let invalid = |why: &str| {
        format!("error validating peerURLs {cluster}: {why}; start it as `etcdctl member add` has told")
    };
    if known.members.len() != cluster.members.len() {
        return Err(invalid("member count is unequal"));
    }
    if let Some((name, urls)) = cluster.members.iter().find(|(_, urls)| known.at(urls).is_none()) {
        return Err(invalid(&format!("no member has the addresses of {name}, {}", urls.join(","))));
    }
    let member = known.at(&cluster.members[name]).expect("each was found").id;
    if all.iter().any(|known| known.has_begun(member)) {
        return Err(lost(cluster, name, member));
    }
    Ok(Identity { cluster: known.cluster, member, begins: Begins::Joins, is_new: true })
}

/// Asks all at once, and answers what those say that are in a cluster.
///
/// # Errors
/// The address at which etcd answers.
async fn ask_others(cluster: &InitialCluster, name: &str, dialer: &Dialer) -> Result<Vec<Known>, String> {
    let mut asked = JoinSet::new();
    let others = cluster.members.iter().filter(|(other, _)| *other != name);
    for url in others.flat_map(|(_, urls)| urls) {
        let (dialer, url) = (dialer.clone(), url.clone());
        asked.spawn(async move {
            match tokio::time::timeout(ANSWER_MAX, ask(&dialer, &url)).await {
                Ok(Ok(known)) if !known.members.is_empty() => return Ok(Some(known)),
                Ok(Ok(_)) => tracing::info!(url, "another member is still beginning"),
                Ok(Err(error)) => tracing::info!(url, error, "another member does not answer yet"),
                Err(_) => tracing::info!(url, "another member does not answer in time"),
            }
            let etcd = tokio::time::timeout(ANSWER_MAX, etcd_peer::answers_at(&dialer, &url)).await;
            if etcd == Ok(true) { Err(url) } else { Ok(None) }
        });
    }
    let answers = asked.join_all().await.into_iter().collect::<Result<Vec<_>, String>>()?;
    Ok(answers.into_iter().flatten().collect())
}

async fn ask(dialer: &Dialer, url: &str) -> Result<Known, String> {
    let status = ask_status(dialer, url).await.map_err(|error| error.to_string())?;
    let (cluster, applied) = (status.cluster, status.applied.0);
    Ok(Known { cluster, members: status.members, bootstrapped: status.bootstrapped, applied })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn cluster(exists: bool) -> InitialCluster {
        let members = [("a", "http://a:1"), ("b", "http://b:1")];
        let members = members.map(|(name, url)| (name.to_owned(), vec![url.to_owned()]));
        InitialCluster { members: BTreeMap::from(members), token: "t".to_owned(), exists }
    }

    fn known(members: &[(u64, &str, &str)]) -> Known {
        let member = |(id, peer, client): &(u64, &str, &str)| Member {
            id: *id,
            peer_urls: vec![(*peer).to_owned()],
            client_urls: Vec::from_iter((!client.is_empty()).then(|| (*client).to_owned())),
            ..Member::default()
        };
        let members = members.iter().map(member).collect();
        Known { cluster: 77, members, bootstrapped: Vec::new(), applied: 1 }
    }

    #[test]
    fn who_begins_a_cluster_knows_every_voter() {
        let cluster = cluster(false);
        let identity = begins(&cluster, "a", &[]).expect("nobody contradicts");
        assert_eq!((identity.cluster, Some(identity.member)), (cluster.cluster_id(), cluster.member_id("a")));
        let Begins::With(voters) = identity.begins else { panic!("{identity:?}") };
        assert_eq!(voters.iter().map(|voter| voter.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let other = begins(&cluster, "b", &[]).expect("nobody contradicts");
        assert_eq!((other.cluster, other.begins), (identity.cluster, Begins::With(voters)));
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_begin_again() {
        let cluster = cluster(false);
        let id = cluster.member_id("a").expect("it is a member");
        let told = |client| Known { cluster: cluster.cluster_id(), ..known(&[(id, "http://a:1", client)]) };
        let refused = |known: Known| {
            // The first that answers need not be the one that knows.
            let refusal = begins(&cluster, "a", &[told(""), known]).expect_err("it has been there");
            assert!(
                refusal.starts_with(&format!("member {id:x} has already been bootstrapped")),
                "{refusal}"
            );
            let replace = format!("mainstem member replace {id:x} --name=a --peer-urls=http://a:1");
            assert!(refusal.contains(&replace), "{refusal}");
        };
        refused(told("http://a:9"));
        refused(Known { bootstrapped: vec![id], ..told("") });
        assert!(begins(&cluster, "a", &[told("")]).is_ok());
    }

    #[test]
    fn a_member_that_was_replaced_at_its_address_joins() {
        let cluster = cluster(false);
        let b = cluster.member_id("b").expect("it is a member");
        let members = [(b, "http://b:1", ""), (6, "http://a:1", "")];
        let told = || Known { cluster: cluster.cluster_id(), ..known(&members) };
        let identity = begins(&cluster, "a", &[told()]).expect("it was added");
        assert_eq!((identity.member, identity.begins), (6, Begins::Joins));
        let begun = Known { bootstrapped: vec![6], ..told() };
        let identity = begins(&cluster, "a", &[begun]).expect("it is refused later");
        assert_eq!(Some(identity.member), cluster.member_id("a"));
    }

    #[test]
    fn who_joins_is_the_member_with_its_address() {
        let told = || known(&[(5, "http://b:1", "http://b:9"), (6, "http://a:1", "")]);
        let identity = joins(&cluster(true), "a", &[told()]).expect("it was added");
        assert_eq!((identity.cluster, identity.member, identity.begins), (77, 6, Begins::Joins));
    }

    #[test]
    fn who_was_not_added_does_not_join() {
        let check = |known: &[Known], text: &str| {
            let refusal = joins(&cluster(true), "a", known).expect_err(text);
            assert!(refusal.contains(text), "{refusal}");
        };
        check(&[], "cannot fetch cluster info from peer urls");
        check(&[known(&[(5, "http://b:1", "")])], "member count is unequal");
        check(
            &[known(&[(5, "http://b:1", ""), (6, "http://c:1", "")])],
            "no member has the addresses of a, http://a:1",
        );
    }
}
