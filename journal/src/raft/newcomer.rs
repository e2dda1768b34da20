//! A voter that begins with nothing although its cluster knows it.
//!
//! It has lost votes and entries that it had promised to keep, so it could help to elect a leader that lacks what was
//! acknowledged. Whoever has told where clients reach it had begun.

use tokio::task::JoinSet;

use super::network::Wire;
use crate::config::Config;
use crate::error::Error;

/// Asks those who can be reached whether they know the node, whose journal is empty, as one that had begun.
///
/// # Errors
/// `Corrupt`: they do.
pub(super) async fn check(wire: &Wire, config: &Config) -> Result<(), Error> {
    let node = config.node;
    wire.introduce(&config.voters);
    let mut answers = JoinSet::new();
    for voter in config.voters.iter().filter(|voter| voter.id != node) {
        let (wire, peer) = (wire.clone(), voter.id);
        answers.spawn(async move { wire.roster_of(peer).await });
    }
    while let Some(answer) = answers.join_next().await {
        let roster = answer.ok().flatten();
        let known = roster.as_ref().and_then(|roster| roster.members.get_node(&node));
        if known.is_some_and(|peer| !peer.client_urls.is_empty()) {
            return Err(Error::Corrupt(format!(
                "member {node:x} has already been bootstrapped: its cluster knows it, and its data directory is empty. \
                 Give it its data directory back, or remove the member and add it as a new one"
            )));
        }
    }
    Ok(())
}
