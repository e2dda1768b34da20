//! The journal as this process has it: a node of its own, or the way to those elsewhere. Either has a thread.

use std::path::PathBuf;
use std::time::Duration;

use journal::{Dialer, Journal, Lsn, Member, Remote};
use tokio::sync::watch;

use super::identity::{Begins, Identity};
use super::journal_directory::{self, JournalDirectory};
use super::journal_thread::JournalThread;
use super::peer_listener::{Door, PeerListener};
use super::peers::Snapshots;
use super::security::Security;
use super::sockets::{bind_for_process, shared};
use super::{StartError, clock};
use crate::config::{Address, Config, member_id};
use crate::listener::Reuse;

/// How long a process that starts waits for the first node of its journal. Its supervisor may start it before them.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The thread, and who this process is.
pub(super) struct JournalRole {
    pub(super) thread: JournalThread,
    pub(super) cluster: u64,
    pub(super) member: u64,
    /// Whether there was nothing before.
    pub(super) is_new: bool,
    /// Whether there are other members or processes, or may be some.
    pub(super) reaches_others: bool,
}

impl JournalRole {
    /// `snapshots` is the folder of this process's own memstore, or of those elsewhere where it has none; `reach` is told
    /// how far they go.
    pub(super) async fn start(
        config: &Config,
        security: &Security,
        snapshots: Option<PathBuf>,
        reach: &watch::Sender<Lsn>,
    ) -> Result<JournalRole, StartError> {
        match config.roles.journal {
            true => JournalRole::here(config, security, snapshots, reach).await,
            false => JournalRole::there(config, security).await,
        }
    }

    async fn here(
        config: &Config,
        security: &Security,
        snapshots: Option<PathBuf>,
        reach: &watch::Sender<Lsn>,
    ) -> Result<JournalRole, StartError> {
        let directory = journal_directory::find(config)?;
        let identity = Identity::of(config, &security.dialer).await?;
        let directory = directory.map(JournalDirectory::tie).transpose()?;
        let peers = bind_peers(config, &identity, security)?;
        let dialer = reaches_others(config, &identity).then(|| security.dialer.clone());
        let told = journal_config(config, directory, &identity, dialer, reach);
        let snapshots = match snapshots {
            None => Snapshots::None,
            Some(folder) if config.roles.memstore => Snapshots::Own(folder),
            Some(folder) => Snapshots::Kept(folder, reach.clone()),
        };
        let thread = JournalThread::start(told, peers, snapshots, config.version.clone()).await?;
        let reaches_others = reaches_others(config, &identity);
        let Identity { cluster, member, is_new, .. } = identity;
        Ok(JournalRole { thread, cluster, member, is_new, reaches_others })
    }

    async fn there(config: &Config, security: &Security) -> Result<JournalRole, StartError> {
        let member = process_id(&config.name, &config.roles.to_string());
        let remote = Remote {
            endpoints: config.journal_endpoints.clone(),
            cluster: None,
            id: member,
            dialer: security.dialer.clone(),
            clock: clock(),
        };
        let thread = JournalThread::connect(remote).await?;
        let mut status = thread.handle().status();
        let answers = status.wait_for(|status| status.cluster != 0);
        let cluster = match tokio::time::timeout(ANSWER_MAX, answers).await {
            Ok(Ok(status)) => status.cluster,
            Ok(Err(_)) => return Err(StartError::Journal(journal::Error::Closed)),
            Err(_) => return Err(StartError::NoJournal { endpoints: config.journal_endpoints.clone() }),
        };
        Ok(JournalRole { thread, cluster, member, is_new: false, reaches_others: true })
    }

    pub(super) fn handle(&self) -> Journal {
        self.thread.handle()
    }
}

/// The id of a process that is no member of the journal: the same for as long as it has this name and this role.
pub(super) fn process_id(name: &str, role: &str) -> u64 {
    member_id(&[name.to_owned()], role)
}

fn journal_config(
    config: &Config,
    directory: Option<PathBuf>,
    identity: &Identity,
    dialer: Option<Dialer>,
    reach: &watch::Sender<Lsn>,
) -> journal::Config {
    let storage = directory.map_or(journal::Storage::Memory, journal::Storage::Directory);
    let (voters, join) = match &identity.begins {
        Begins::Alone => (vec![itself(config, identity)], false),
        Begins::With(voters) => (voters.clone(), false),
        Begins::Joins => (Vec::new(), true),
    };
    journal::Config {
        unsafe_no_sync: config.unsafe_no_sync,
        storage_id: rand::random(),
        voters,
        join,
        dialer,
        learners_max: config.learners_max,
        strict_reconfig: config.strict_reconfig,
        serves_clients: config.roles.frontend && !config.advertise_client.is_empty(),
        // Where nobody tells how far the snapshots here reach, nothing is trimmed: whoever joins needs all of it. Those
        // in a store are everybody's, and what is marked is there.
        own_snapshots: (config.roles.memstore || config.snapshot_store.is_none()).then(|| reach.subscribe()),
        retention_bytes: config.retention_bytes,
        heartbeat: config.heartbeat,
        election_timeout: config.election_timeout,
        // So that nobody can choose keys that collide in the window of recent writes.
        seed: rand::random(),
        ..journal::Config::single(identity.cluster, identity.member, storage)
    }
}

fn reaches_others(config: &Config, identity: &Identity) -> bool {
    config.serve_peers || identity.begins != Begins::Alone
}

/// This member in a cluster of its own.
fn itself(config: &Config, identity: &Identity) -> Member {
    Member {
        id: identity.member,
        name: config.name.clone(),
        peer_urls: config.advertise_peer.clone(),
        client_urls: config.advertise_client.clone(),
        ..Member::default()
    }
}

/// Binds what other processes of the cluster come in by.
pub(super) fn bind_for_processes(
    config: &Config,
    addresses: &[Address],
    security: &Security,
) -> Result<Vec<PeerListener>, StartError> {
    let bound = shared(addresses).into_iter().map(|shared| {
        let door = match security.dialer.listen(shared.tcp().port()) {
            Some(arrivals) => Door::Carried(arrivals),
            None => Door::Tcp(bind_for_process(&shared, Reuse { port: config.share_port })?),
        };
        let tls = shared.tls(security.peers.as_ref());
        Ok(PeerListener { door, tls, guard: security.guard.clone() })
    });
    bound.collect()
}

fn bind_peers(
    config: &Config,
    identity: &Identity,
    security: &Security,
) -> Result<Vec<PeerListener>, StartError> {
    let addresses = if reaches_others(config, identity) { &config.listen_peer[..] } else { &[] };
    bind_for_processes(config, addresses, security)
}
