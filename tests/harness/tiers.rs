//! A store whose tiers are processes of their own: journals, memstores and frontends on the loopback.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use proto::etcdserverpb::{MemberListRequest, StatusRequest};

use crate::clients::Clients;
use crate::program::complaint;
use crate::server::{Kind, Server};
use crate::tools;

/// How many of each there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub journals: usize,
    /// 0: each frontend has a memstore of its own.
    pub memstores: usize,
    pub frontends: usize,
    pub partitions: usize,
}

/// The processes. Dropping them kills them.
pub struct Tiers {
    journals: Vec<Server>,
    memstores: Vec<Server>,
    frontends: Vec<Server>,
}

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Journal(usize),
    Memstore(usize),
    Frontend(usize),
}

impl Tiers {
    /// Empty, and every process answers.
    ///
    /// # Errors
    /// When one cannot be started, or does not answer.
    pub fn start(shape: Shape) -> Result<Tiers> {
        Tiers::start_each(shape, |_, _| Ok(()))
    }

    /// As `start`, and every process is told more before it begins.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_each(shape: Shape, tell: impl Fn(Tier, &mut Server) -> Result<()>) -> Result<Tiers> {
        let mut tiers = Tiers::prepare(shape)?;
        tiers.all().into_iter().try_for_each(|tier| tell(tier, tiers.server_mut(tier)))?;
        for all in [&mut tiers.journals, &mut tiers.memstores, &mut tiers.frontends] {
            all.iter_mut().try_for_each(Server::spawn)?;
            all.iter_mut().try_for_each(Server::await_answer)?;
        }
        Ok(tiers)
    }

    /// What a frontend needs to be a store of two frontends, two memstores and three journals. Nothing runs yet.
    /// It takes a member at once, as one etcd alone does: three journals would first be connected for five seconds.
    ///
    /// # Errors
    /// When the program is missing, or there is no room.
    pub fn behind(partitions: usize) -> Result<Tiers> {
        let mut tiers = Tiers::prepare(Shape { journals: 3, memstores: 2, frontends: 1, partitions })?;
        for journal in &mut tiers.journals {
            journal.arguments(&["--strict-reconfig-check=false"]);
        }
        Ok(tiers)
    }

    fn prepare(shape: Shape) -> Result<Tiers> {
        let kind = Kind::Mainstem { partitions: shape.partitions };
        let prepare = |count| (0..count).map(|_| Server::prepare(kind)).collect::<Result<Vec<Server>>>();
        let mut tiers = Tiers {
            journals: prepare(shape.journals)?,
            memstores: prepare(shape.memstores)?,
            frontends: prepare(shape.frontends)?,
        };
        tiers.tell(shape);
        Ok(tiers)
    }

    /// The arguments of a further frontend.
    #[must_use]
    pub fn frontend(&self, name: &str) -> [String; 3] {
        ["--role=frontend".to_owned(), format!("--name={name}"), self.journal_endpoints()]
    }

    fn journal_endpoints(&self) -> String {
        let peers: Vec<String> = self.journals.iter().map(Server::peer_url).collect();
        format!("--journal-endpoints={}", peers.join(","))
    }

    /// Starts all that do not run, without waiting for answers.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.servers_mut().filter(|server| !server.runs()).try_for_each(Server::spawn)
    }

    /// `kill -9` of all.
    ///
    /// # Errors
    /// When one has gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.servers_mut().try_for_each(Server::kill)
    }

    pub(crate) fn frontends_mut(&mut self) -> &mut [Server] {
        &mut self.frontends
    }

    fn servers_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.journals.iter_mut().chain(&mut self.memstores).chain(&mut self.frontends)
    }

    fn tell(&mut self, shape: Shape) {
        let peers: Vec<String> = self.journals.iter().map(Server::peer_url).collect();
        let initial: Vec<String> = peers.iter().enumerate().map(|(at, url)| format!("j{at}={url}")).collect();
        let clients = self.endpoints().join(",");
        for (at, journal) in self.journals.iter_mut().enumerate() {
            journal.arguments(&[
                "--role=journal".to_owned(),
                format!("--name=j{at}"),
                format!("--listen-peer-urls={}", peers[at]),
                format!("--initial-advertise-peer-urls={}", peers[at]),
                format!("--initial-cluster={}", initial.join(",")),
                format!("--advertise-client-urls={clients}"),
                // Where it is asked whether it is well.
                format!("--listen-metrics-urls={}", journal.endpoint()),
            ]);
        }
        let journals = self.journal_endpoints();
        for (at, memstore) in self.memstores.iter_mut().enumerate() {
            tell_memstore(memstore, &format!("m{at}"), &journals);
        }
        let role = if shape.memstores == 0 { "memstore,frontend" } else { "frontend" };
        for (at, frontend) in self.frontends.iter_mut().enumerate() {
            frontend.arguments(&[format!("--role={role}"), format!("--name=f{at}"), journals.clone()]);
        }
    }

    /// A further memstore, with a disk and an address of its own. It does not run yet.
    ///
    /// # Errors
    /// When there is no room.
    pub fn add_memstore(&mut self, name: &str) -> Result<Tier> {
        let mut memstore = Server::prepare(Kind::Mainstem { partitions: 1 })?;
        tell_memstore(&mut memstore, name, &self.journal_endpoints());
        self.memstores.push(memstore);
        Ok(Tier::Memstore(self.memstores.len() - 1))
    }

    /// Every process.
    #[must_use]
    pub fn all(&self) -> Vec<Tier> {
        let journals = (0..self.journals.len()).map(Tier::Journal);
        let memstores = (0..self.memstores.len()).map(Tier::Memstore);
        let frontends = (0..self.frontends.len()).map(Tier::Frontend);
        journals.chain(memstores).chain(frontends).collect()
    }

    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn server(&self, tier: Tier) -> &Server {
        match tier {
            Tier::Journal(at) => &self.journals[at],
            Tier::Memstore(at) => &self.memstores[at],
            Tier::Frontend(at) => &self.frontends[at],
        }
    }

    /// # Panics
    /// When there is no such process.
    pub fn server_mut(&mut self, tier: Tier) -> &mut Server {
        match tier {
            Tier::Journal(at) => &mut self.journals[at],
            Tier::Memstore(at) => &mut self.memstores[at],
            Tier::Frontend(at) => &mut self.frontends[at],
        }
    }

    /// Where clients reach the frontends.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.frontends.iter().map(Server::endpoint).collect()
    }

    /// The journal that leads, as a frontend has it.
    ///
    /// # Errors
    /// When none is known to lead.
    pub async fn leader(&self) -> Result<Tier> {
        let mut clients = Clients::new(&self.frontends[0].endpoint())?;
        let status = clients.maintenance.status(StatusRequest::default()).await?.into_inner();
        let members = clients.cluster.member_list(MemberListRequest::default()).await?.into_inner().members;
        let leads = members.into_iter().find(|member| member.id == status.leader);
        let name = leads.context("nobody leads")?.name;
        let at = name.strip_prefix('j').context("journals are named so")?.parse()?;
        Ok(Tier::Journal(at))
    }

    /// The end of each process's log.
    #[must_use]
    pub fn logs(&self) -> String {
        let log = |tier: Tier| format!("-- {tier:?}\n{}", self.server(tier).log_end());
        self.all().into_iter().map(log).collect::<Vec<_>>().join("\n")
    }

    /// Runs `mainstem partition` at one frontend, and answers what it printed.
    ///
    /// # Errors
    /// When it fails; the error has what it complained of.
    pub fn partition(&self, frontend: usize, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::mainstem()?);
        command.arg("partition").args(arguments).arg("--endpoints").arg(self.frontends[frontend].endpoint());
        printed(&mut command, arguments)
    }

    /// The id of a journal.
    ///
    /// # Errors
    /// When the frontends do not know it.
    pub async fn id_of(&self, journal: usize) -> Result<u64> {
        let mut cluster = Clients::new(&self.frontends[0].endpoint())?.cluster;
        let members = cluster.member_list(MemberListRequest::default()).await?.into_inner().members;
        let named = members.into_iter().find(|member| member.name == format!("j{journal}"));
        Ok(named.context("it is a member")?.id)
    }

    /// Runs etcdctl at one frontend, and answers what it printed.
    ///
    /// # Errors
    /// When it fails; the error has what it complained of.
    pub fn etcdctl(&self, frontend: usize, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::judge("etcdctl-3.6")?);
        command
            .arg(format!("--endpoints={}", self.frontends[frontend].endpoint()))
            .arg("--command-timeout=20s");
        command.args(arguments).env_remove("ETCDCTL_ENDPOINTS");
        printed(&mut command, arguments)
    }
}

fn tell_memstore(memstore: &mut Server, name: &str, journals: &str) {
    let url = memstore.peer_url();
    memstore.arguments(&[
        "--role=memstore".to_owned(),
        format!("--name={name}"),
        journals.to_owned(),
        format!("--listen-memstore-urls={url}"),
        format!("--advertise-memstore-urls={url}"),
        format!("--listen-metrics-urls={}", memstore.endpoint()),
    ]);
}

fn printed(command: &mut Command, arguments: &[&str]) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{arguments:?} failed: {}", complaint(&output));
    Ok(String::from_utf8(output.stdout)?)
}
