//! The introduction of a node to the others: each tells what it knows of every voter, at a start and from then on.
//!
//!     start ─► asks all that can be reached ─► it has no place: it ends        another data directory is known for it
//!                                           ─► something is missing: it does not vote
//!                                           ─► it votes
//!
//! A node that could not be reached at the start is asked as soon as it can be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::message::Roster;
use super::network::Wire;
use super::promise::Promise;
use super::voter_registry::{Standing, StorageId};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::member::Member;

/// Time between two exchanges of what is known, and between two saves of it.
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(5);
/// Time until all are asked again where one has not answered since the start, or is not known to have promised anything:
/// the first promise of a cluster is known everywhere soon, so that a disk that is lost then is missed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Asks all members that can be reached what they know of this node. `members` are those of its own log.
///
/// # Errors
/// `Corrupt`: it has already been bootstrapped, and this data directory is another one.
pub(super) async fn check(
    wire: &Wire,
    config: &Config,
    members: &[Member],
    is_blank: bool,
) -> Result<(), Error> {
    wire.introduce(&config.voters);
    wire.introduce(members);
    let others: BTreeSet<u64> = config.voters.iter().chain(members).map(|member| member.id).collect();
    let rosters = ask(wire, others.into_iter().filter(|id| *id != config.node)).await;
    // Older versions tell no storage ids: of those, a member that has told its client URLs had begun.
    let had_begun = |(_, roster): &(u64, Roster)| {
        roster.members.get_node(&config.node).is_some_and(|peer| !peer.client_urls.is_empty())
    };
    let replaced = wire.registry().standing_now().replaced_by;
    if replaced.is_some() || (is_blank && rosters.iter().any(had_begun)) {
        return Err(Error::Corrupt(replacement(wire, config, replaced)));
    }
    if let Some(why) = displacement(wire, &rosters) {
        return Err(Error::Io(why));
    }
    if let Some(missing) = wire.registry().standing_now().missing {
        warn(wire, missing);
        save(wire).await;
    }
    wire.registry().introduced();
    Ok(())
}

/// Exchanges what is known with the others, until the node stops. Resolves where this node has no place among them.
pub(crate) async fn run(
    wire: Wire,
    config: Config,
    clock: Arc<dyn Clock>,
    has_applied: impl Fn() -> bool,
) -> String {
    let node = config.node;
    let mut standing = wire.registry().standing();
    let mut answered = BTreeSet::new();
    // What was missing at the start is told.
    let mut shown = Standing { missing: standing.borrow().missing, ..Standing::default() };
    let mut next = clock.now() + RETRY_INTERVAL;
    loop {
        let now = *standing.borrow_and_update();
        if let Some(missing) = now.missing.filter(|_| now.missing != shown.missing) {
            warn(&wire, missing);
            save(&wire).await;
        }
        if let Some(known) = now.replaced_by.filter(|_| now.replaced_by != shown.replaced_by) {
            let why = replacement(&wire, &config, Some(known));
            if !has_applied() {
                return why;
            }
            // A majority goes on with this directory, so another member has the wrong one.
            tracing::error!("another member disagrees, and its messages are refused: {why}");
        }
        shown = now;
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return std::future::pending().await },
            () = clock.until(next) => {
                let others: Vec<u64> = wire.addresses().into_iter().filter(|id| *id != node).collect();
                let rosters = ask(&wire, others.iter().copied()).await;
                if let Some(why) = displacement(&wire, &rosters) {
                    return why;
                }
                answered.extend(rosters.into_iter().map(|(id, _)| id));
                let promised = wire.registry().bootstrapped();
                let is_complete = others.iter().all(|id| answered.contains(id) && promised.contains(id));
                next = clock.now() + if is_complete { EXCHANGE_INTERVAL } else { RETRY_INTERVAL };
                save(&wire).await;
            }
        }
    }
}

/// Returns why this process has the data directory of another member: it is reached at the address of one, as this node's
/// log has it and as another member confirms. Where only the log here says so, the address may be this node's by now.
fn displacement(wire: &Wire, rosters: &[(u64, Roster)]) -> Option<String> {
    let own = wire.roster();
    let current = || rosters.iter().filter(|(_, roster)| own.at <= roster.at);
    wire.addresses().into_iter().find_map(|other| {
        let url = wire.own_url_of(other)?;
        let of_other = |(_, roster): &&(u64, Roster)| {
            roster.members.get_node(&other).is_some_and(|peer| peer.peer_urls.contains(&url))
        };
        let (_, roster) = current().find(of_other)?;
        let named = |id: u64| {
            let name = roster.members.get_node(&id).map(|peer| peer.name.clone()).unwrap_or_default();
            if name.is_empty() { format!("{id:x}") } else { format!("{id:x} ({name})") }
        };
        Some(format!(
            "this process is reached at {url}, which is the address of member {}, and its data directory is that of member \
             {}: two data directories may have been swapped. Give each member its own one, or correct --listen-peer-urls and \
             --data-dir",
            named(other),
            named(wire.node())
        ))
    })
}

/// Asks these nodes at once, and answers what those tell that can be reached.
async fn ask(wire: &Wire, others: impl Iterator<Item = u64>) -> Vec<(u64, Roster)> {
    let mut answers = JoinSet::new();
    for peer in others {
        let wire = wire.clone();
        answers.spawn(async move { Some((peer, wire.roster_of(peer).await?)) });
    }
    answers.join_all().await.into_iter().flatten().collect()
}

async fn save(wire: &Wire) {
    if let Err(error) = wire.registry().save().await {
        tracing::warn!(%error, "the registry of voters cannot be saved: it is tried again");
    }
}

fn warn(wire: &Wire, missing: Promise) {
    let own = wire.registry().own().now();
    let place = |promise: Promise| promise.last.map_or(0, |(_, index)| index + 1);
    tracing::error!(
        ends_at = place(own),
        acknowledged = place(missing),
        term = own.term,
        voted_in = missing.term,
        "the data directory is older than what this member had acknowledged, as of a copy that was put back: the member does \
         not vote until a leader has sent it what is missing; if there is no leader, start the other members"
    );
}

/// Why the node has no place in its cluster, and what to do.
fn replacement(wire: &Wire, config: &Config, known: Option<StorageId>) -> String {
    let node = config.node;
    let founder = config.voters.iter().find(|voter| voter.id == node).cloned();
    let itself = wire.itself().map(|peer| peer.member(node, true)).or(founder).unwrap_or_default();
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let (name, urls) = (or(itself.name, "NAME"), or(itself.peer_urls.join(","), "URL"));
    let directories = known.map_or_else(String::new, |known| {
        format!(
            "its cluster knows it by data directory {known:016x}, and this is {:016x}; ",
            wire.registry().storage()
        )
    });
    format!(
        "member {node:x} has already been bootstrapped: {directories}what it had acknowledged is not here. Give it its data \
         directory back. If that is lost, put a new member in its place (`mainstem member replace {node:x} --name={name} \
         --peer-urls={urls} --endpoints=...`), and start that one with an empty data directory"
    )
}
