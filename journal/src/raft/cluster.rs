//! One voter among the others, as the sequencer's task sees it: who leads, propose, confirm.

mod hand_over;
mod purge;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::{Watch, WatchReceiver};
use openraft::metrics::RaftServerMetrics;
use openraft::raft::ClientWriteResponse;
use openraft::{AsyncRuntime, RaftTypeConfig, ServerState, SnapshotPolicy};
use tokio::sync::{Mutex, watch};

use super::contact::{Contact, Reign};
use super::fence::Fence;
use super::introduction;
use super::leader_check::{Electorate, LeaderCheck};
use super::log_store::LogStore;
use super::membership;
use super::network::{Network, Wire};
use super::peer::Peer;
use super::state_machine::StateMachine;
use super::timers::{self, Timers};
use super::types::{CommittedTerm, Payload, Raft, Reply, Types, lsn};
use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::record::Batch;
use crate::state::Applied;

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    /// Whether it is this node, elected by a quorum.
    pub(crate) leads: bool,
    /// Whether it leads and nobody else votes, so that nobody else can be elected.
    pub(crate) alone: bool,
}

impl Leadership {
    /// The leader and its term, where a leader is named.
    pub(super) fn reign(self) -> Option<Reign> {
        self.leader.map(|leader| Reign { leader, term: self.term })
    }

    /// Returns whether both name the same leader, or none, in the same term.
    pub(super) fn is_of_reign(self, other: Leadership) -> bool {
        (self.leader, self.term) == (other.leader, other.term)
    }

    pub(crate) fn leads_in(self, term: u64) -> bool {
        self.leads && self.term == term
    }

    /// Whether leadership of the term is certain without asking anybody.
    pub(crate) fn alone_in(self, term: u64) -> bool {
        self.alone && self.term == term
    }
}

/// What became of a proposal, where Raft says so. Told in the order of the proposals.
pub(crate) type Landing = Option<(Lsn, Applied)>;

type Runtime = <Types as RaftTypeConfig>::AsyncRuntime;
type Servers = <<Runtime as AsyncRuntime>::Watch as Watch>::Receiver<RaftServerMetrics<Types>>;

/// A running voter.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(super) raft: Raft,
    network: Network,
    pub(super) node: u64,
    pub(super) servers: Servers,
    leader_check: LeaderCheck,
    contact: Contact,
    /// Tells of contact that is lost or found again.
    contact_changes: watch::Receiver<Option<Reign>>,
    /// How long a silent node counts as one that is there, and what a hand-over may take.
    pub(super) patience: Duration,
    pub(super) learners_max: usize,
    pub(super) is_strict: bool,
    /// Held by whoever changes the cluster.
    pub(super) changing: Arc<Mutex<()>>,
}

impl Cluster {
    /// Starts on the current runtime. A new journal begins with the voters of the configuration, unless it joins one
    /// that is there.
    ///
    /// # Errors
    /// `Corrupt` and `Io`: what the log or the configuration cannot be started from. `Corrupt` also where there is
    /// nothing, and the cluster knows the node.
    pub(crate) async fn start(
        config: &Config,
        log: LogStore,
        machine: StateMachine,
        network: Network,
    ) -> Result<Cluster, Error> {
        let stopped = |error: String| Error::Io(format!("Raft cannot start: {error}"));
        let settings = settings(config).map_err(|error| Error::Io(error.to_string()))?;
        let raft = Raft::new(config.node, Arc::new(settings), network.clone(), log, machine);
        let raft = raft.await.map_err(|error| stopped(error.to_string()))?;
        let Timers { lease, .. } = Timers::of(config);
        let contact = network.contact();
        let cluster = Cluster {
            node: config.node,
            servers: raft.server_metrics(),
            leader_check: LeaderCheck::new(
                raft.clone(),
                network.clone(),
                config.node,
                lease,
                config.heartbeat,
            ),
            contact_changes: contact.changes(),
            contact,
            network,
            raft,
            patience: config.election_timeout * 2,
            learners_max: config.learners_max,
            is_strict: config.strict_reconfig,
            changing: Arc::default(),
        };
        // A vote on disk tells of a leader that may be gone since.
        if let Some(reign) = cluster.raft_leadership().reign() {
            cluster.contact.lose(reign);
        }
        cluster.network.join(&cluster.raft);
        let begun = cluster.raft.is_initialized().await.map_err(|error| stopped(error.to_string()))?;
        if let Some(wire) = cluster.wire() {
            let members =
                membership::members(cluster.servers.borrow_watched().membership_config.membership());
            if let Err(error) = introduction::check(wire, config, &members, !begun).await {
                cluster.close().await;
                return Err(error);
            }
        }
        cluster.elect_at_once(config, begun).await.map_err(|error| stopped(error.to_string()))?;
        Ok(cluster)
    }

    /// Where one node votes there is nobody to wait for.
    async fn elect_at_once(
        &self,
        config: &Config,
        begun: bool,
    ) -> Result<(), openraft::errors::Fatal<Types>> {
        if !config.join && !begun {
            let voters: BTreeMap<u64, Peer> =
                config.voters.iter().map(|voter| (voter.id, Peer::of(voter))).collect();
            // Every voter of a new cluster begins with the same entry, whoever of them is first.
            if let Err(error) = self.raft.initialize(voters).await {
                tracing::debug!(%error, "another voter was first");
            }
        }
        let node = self.node;
        let alone = self.raft.with_raft_state(move |state| {
            state.membership_state.effective().membership().voter_ids().eq([node])
        });
        if alone.await? {
            self.raft.trigger().elect(false).await?;
        }
        Ok(())
    }

    /// The leadership that there is contact in: a leader that no quorum acknowledges does not lead, and one that
    /// this node does not hear is none.
    pub(crate) fn leadership(&self) -> Leadership {
        let shown = self.raft_leadership();
        match shown.reign() {
            Some(reign) if !self.contact.is_kept(reign) => {
                Leadership { term: shown.term, ..Leadership::default() }
            }
            _ => shown,
        }
    }

    /// Waits until somebody else may lead, others may vote, or contact is lost or found. `Closed` where Raft has stopped.
    pub(crate) async fn leadership_changed(&mut self) -> Result<(), Error> {
        tokio::select! {
            changed = self.servers.changed() => changed.map_err(|_| Error::Closed),
            changed = self.contact_changes.changed() => changed.map_err(|_| Error::Closed),
        }
    }

    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The leadership that Raft knows of, also where there is no contact.
    pub(super) fn raft_leadership(&self) -> Leadership {
        leadership(self.node, &self.servers.borrow_watched())
    }

    /// Waits until Raft knows of another leader, or another term, than `led`.
    ///
    /// # Errors
    /// `Closed` where Raft has stopped.
    pub(super) async fn raft_leadership_ends(&self, led: Leadership) -> Result<(), Error> {
        let mut servers = self.servers.clone();
        while self.raft_leadership().is_of_reign(led) {
            servers.changed().await.map_err(|_| Error::Closed)?;
        }
        Ok(())
    }

    /// How many voters come before this one when `leader` has gone. `None`: it has no vote.
    pub(super) fn turn_after(&self, leader: Option<u64>) -> Option<u32> {
        let servers = self.servers.borrow_watched();
        let mut heirs = servers.membership_config.membership().voter_ids().filter(|id| Some(*id) != leader);
        heirs.position(|id| id == self.node).and_then(|turn| turn.try_into().ok())
    }

    /// Asks the other voters whether they would elect this node now, and stands for election where they would.
    ///
    /// # Errors
    /// `Closed` where Raft has stopped.
    pub(super) async fn ask_for_votes(&self) -> Result<(), Error> {
        self.raft.trigger().elect(true).await.map_err(|_| Error::Closed)
    }

    /// Waits until Raft has stopped, whatever stopped it.
    pub(crate) async fn stopped(&self) {
        let mut servers = self.servers.clone();
        while servers.changed().await.is_ok() {}
    }

    /// Why Raft has stopped.
    pub(crate) async fn reason(&self) -> String {
        self.raft.is_initialized().await.err().map_or_else(String::new, |fatal| fatal.to_string())
    }

    /// From here on no silence of a leader makes this node stand for election.
    #[cfg(test)]
    pub(crate) fn bear_silence(&self) {
        self.raft.runtime_config().elect(false);
    }

    /// From here on it does again.
    #[cfg(test)]
    pub(crate) fn heed_silence(&self) {
        self.raft.runtime_config().elect(true);
    }

    /// How many vote.
    #[cfg(test)]
    pub(crate) fn voters(&self) -> usize {
        self.servers.borrow_watched().membership_config.membership().voter_ids().count()
    }

    /// Proposes a batch in its term; in any other it is refused. Proposals keep their order, and once one is refused,
    /// those of the same fence that come after it are void. `landed` is dropped where nobody knows what became of it.
    pub(crate) async fn propose(
        &self,
        batch: Batch,
        fence: &Fence,
        landed: impl FnOnce(Landing) + Send + 'static,
    ) {
        let term = batch.term;
        let (closes, contact, reign) =
            (fence.clone(), self.contact.clone(), Reign { leader: self.node, term });
        let reply = Reply(Box::new(move |result: openraft::raft::ClientWriteResult<Types>| {
            if result.is_err() {
                closes.close();
                // Its lease has expired: until a quorum acknowledges it again it would refuse the next one, too.
                contact.lose(reign);
            }
            let landing = result.map(|ClientWriteResponse { log_id, data, .. }| (lsn(&log_id), data));
            landed(landing.ok());
        }));
        let Some(payload) = Payload::fenced_aside(batch, fence).await else { return };
        let write = self.raft.write(payload).with_leader(CommittedTerm::new(term)).responder(reply);
        if let Err(error) = write.await {
            tracing::debug!(%error, "a batch was not proposed");
        }
    }

    /// Proof that nobody of a later term led at some moment after the call.
    pub(crate) fn confirm(&self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        let electorate = {
            let server = self.servers.borrow_watched();
            let configurations = server.membership_config.membership().get_joint_config().clone();
            let leads = leadership(self.node, &server).leads;
            leads.then_some(Electorate { vote: server.vote, configurations })
        };
        match electorate {
            Some(electorate) => Box::pin(self.leader_check.clone().run(electorate)),
            None => Box::pin(std::future::ready(Err(Error::NotLeader { hint: None }))),
        }
    }

    /// Hands leadership to `node`, once it has everything.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn transfer_leader(&self, node: u64) -> Result<(), Error> {
        self.raft.trigger().transfer_leader(node).await.map_err(|_| Error::Closed)
    }

    /// How the other nodes are reached, where they are in other processes.
    pub(crate) fn wire(&self) -> Option<&Wire> {
        match &self.network {
            Network::Alone | Network::Local { .. } => None,
            Network::Wire(wire) => Some(wire),
        }
    }

    /// Stops, and answers when nothing of Raft runs any more.
    pub(crate) async fn close(self) {
        self.network.leave();
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the journal's Raft did not stop as it should");
        }
    }
}

fn leadership(node: u64, server: &RaftServerMetrics<Types>) -> Leadership {
    let vote = server.vote;
    let leads = server.state == ServerState::Leader
        && vote.committed
        && *openraft::vote::RaftLeaderId::node_id(&vote.leader_id) == node;
    let alone = leads && server.membership_config.membership().voter_ids().eq([node]);
    Leadership { leader: server.current_leader, term: vote.leader_id.term, leads, alone }
}

fn settings(config: &Config) -> Result<openraft::Config, openraft::ConfigError> {
    let (shortest, longest) = timers::elections(config);
    openraft::Config {
        cluster_name: format!("{:x}", config.cluster),
        heartbeat_interval: timers::milliseconds(config.heartbeat),
        election_timeout_min: shortest,
        election_timeout_max: longest,
        install_snapshot_timeout: 10_000,
        // Entries are batches of up to a megabyte.
        max_payload_entries: 16,
        // Only the trimming decides, which knows what memstores have kept.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // How far a follower may lag does not matter, as long as the entries are there.
        replication_lag_threshold: u64::MAX,
        enable_pre_vote: Some(true),
        // A restarted leader does not know what it had proposed: it begins a new term (I5).
        enable_leader_restore: Some(false),
        // A voter that starts on an older copy of its disk has less than it had acknowledged: it is sent the rest.
        allow_log_reversion: Some(true),
        ..openraft::Config::default()
    }
    .validate()
}
