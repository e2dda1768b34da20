//! How a member without data finds its place: among those that begin a cluster, or in one that is there.
//!
//!     new         the ids follow from what all were told; a member that the others know already is refused
//!     existing    the others tell who there is; the member with our peer URLs is this one

use std::time::Duration;

use journal::{Dialer, Member, ask_status};

use super::identity::{Begins, Identity};
use crate::config::InitialCluster;

/// How long another member may take to tell who there is.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What another member knows.
struct Known {
    cluster: u64,
    members: Vec<Member>,
}

/// # Errors
/// Why it has no place there, in etcd's words where etcd has some.
pub(super) async fn identity(
    cluster: &InitialCluster,
    name: &str,
    dialer: &Dialer,
) -> Result<Identity, String> {
    let known = ask_others(cluster, name, dialer).await;
    if cluster.exists { joins(cluster, name, known) } else { begins(cluster, name, known.as_ref()) }
}

fn begins(cluster: &InitialCluster, name: &str, known: Option<&Known>) -> Result<Identity, String> {
    let ids = (cluster.cluster_id(), cluster.member_id(name).expect("it was looked for"));
    let ours = known.filter(|known| known.cluster == ids.0).into_iter().flat_map(|known| &known.members);
    // Its vote may be in what it has lost: with another one it would vote twice.
    if ours.into_iter().any(|member| member.id == ids.1 && !member.client_urls.is_empty()) {
        return Err(format!(
            "member {:x} has already been bootstrapped: its data is gone; remove it from the cluster, add it again, \
             and start it with --initial-cluster-state existing",
            ids.1
        ));
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

fn joins(cluster: &InitialCluster, name: &str, known: Option<Known>) -> Result<Identity, String> {
    let known = known.ok_or(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs; \
         check --initial-cluster, and that the other members run",
    )?;
    let invalid = |why: &str| {
        format!("error validating peerURLs {cluster}: {why}; start it as `etcdctl member add` has told")
    };
    if known.members.len() != cluster.members.len() {
        return Err(invalid("member count is unequal"));
    }
    let of = |urls: &[String]| {
        known.members.iter().find(|member| {
            let mut known = member.peer_urls.clone();
            known.sort_unstable();
            known == urls
        })
    };
    if let Some((name, urls)) = cluster.members.iter().find(|(_, urls)| of(urls).is_none()) {
        return Err(invalid(&format!("no member has the addresses of {name}, {}", urls.join(","))));
    }
    let member = of(&cluster.members[name]).expect("each was found").id;
    Ok(Identity { cluster: known.cluster, member, begins: Begins::Joins, is_new: true })
}

/// Asks one after the other, and answers what the first one says that is in a cluster.
async fn ask_others(cluster: &InitialCluster, name: &str, dialer: &Dialer) -> Option<Known> {
    let others = cluster.members.iter().filter(|(other, _)| *other != name);
    for url in others.flat_map(|(_, urls)| urls) {
        match tokio::time::timeout(ANSWER_MAX, ask(dialer, url)).await {
            Ok(Ok(known)) if !known.members.is_empty() => return Some(known),
            Ok(Ok(_)) => tracing::info!(url, "another member is still beginning"),
            Ok(Err(error)) => tracing::info!(url, error, "another member does not answer yet"),
            Err(_) => tracing::info!(url, "another member does not answer in time"),
        }
    }
    None
}

async fn ask(dialer: &Dialer, url: &str) -> Result<Known, String> {
    let status = ask_status(dialer, url).await.map_err(|error| error.to_string())?;
    Ok(Known { cluster: status.cluster, members: status.members })
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
        Known { cluster: 77, members: members.iter().map(member).collect() }
    }

    #[test]
    fn who_begins_a_cluster_knows_every_voter() {
        let cluster = cluster(false);
        let identity = begins(&cluster, "a", None).expect("nobody contradicts");
        assert_eq!((identity.cluster, Some(identity.member)), (cluster.cluster_id(), cluster.member_id("a")));
        let Begins::With(voters) = identity.begins else { panic!("{identity:?}") };
        assert_eq!(voters.iter().map(|voter| voter.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let other = begins(&cluster, "b", None).expect("nobody contradicts");
        assert_eq!((other.cluster, other.begins), (identity.cluster, Begins::With(voters)));
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_begin_again() {
        let cluster = cluster(false);
        let id = cluster.member_id("a").expect("it is a member");
        let told = |client| Known { cluster: cluster.cluster_id(), ..known(&[(id, "http://a:1", client)]) };
        let refusal = begins(&cluster, "a", Some(&told("http://a:9"))).expect_err("it has been there");
        assert!(refusal.starts_with(&format!("member {id:x} has already been bootstrapped")), "{refusal}");
        assert!(begins(&cluster, "a", Some(&told(""))).is_ok());
    }

    #[test]
    fn who_joins_is_the_member_with_its_address() {
        let told = || known(&[(5, "http://b:1", "http://b:9"), (6, "http://a:1", "")]);
        let identity = joins(&cluster(true), "a", Some(told())).expect("it was added");
        assert_eq!((identity.cluster, identity.member, identity.begins), (77, 6, Begins::Joins));
    }

    #[test]
    fn who_was_not_added_does_not_join() {
        let check = |known, text: &str| {
            let refusal = joins(&cluster(true), "a", known).expect_err(text);
            assert!(refusal.contains(text), "{refusal}");
        };
        check(None, "cannot fetch cluster info from peer urls");
        check(Some(known(&[(5, "http://b:1", "")])), "member count is unequal");
        check(
            Some(known(&[(5, "http://b:1", ""), (6, "http://c:1", "")])),
            "no member has the addresses of a, http://a:1",
        );
    }
}
