//! A store whose tiers are processes of their own: journals, and frontends beside them, on the loopback.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::server::{Kind, Server};
use crate::tools;

/// How many of each there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub journals: usize,
    /// Each has a memstore of its own.
    pub frontends: usize,
    pub partitions: usize,
}

/// The processes. Dropping them kills them.
pub struct Tiers {
    journals: Vec<Server>,
    frontends: Vec<Server>,
}

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Journal(usize),
    Frontend(usize),
}

impl Tiers {
    /// Empty, and every process answers.
    ///
    /// # Errors
    /// When one cannot be started, or does not answer.
    pub fn start(shape: Shape) -> Result<Tiers> {
        let kind = Kind::Mainstem { partitions: shape.partitions };
        let prepare = |count| (0..count).map(|_| Server::prepare(kind)).collect::<Result<Vec<Server>>>();
        let mut tiers = Tiers { journals: prepare(shape.journals)?, frontends: prepare(shape.frontends)? };
        tiers.tell();
        for all in [&mut tiers.journals, &mut tiers.frontends] {
            all.iter_mut().try_for_each(Server::spawn)?;
            all.iter_mut().try_for_each(Server::await_answer)?;
        }
        Ok(tiers)
    }

    fn tell(&mut self) {
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
        let journals = format!("--journal-endpoints={}", peers.join(","));
        for (at, frontend) in self.frontends.iter_mut().enumerate() {
            frontend.arguments(&[
                "--role=memstore,frontend".to_owned(),
                format!("--name=f{at}"),
                journals.clone(),
            ]);
        }
    }

    /// Every process.
    #[must_use]
    pub fn all(&self) -> Vec<Tier> {
        let journals = (0..self.journals.len()).map(Tier::Journal);
        let frontends = (0..self.frontends.len()).map(Tier::Frontend);
        journals.chain(frontends).collect()
    }

    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn server(&self, tier: Tier) -> &Server {
        match tier {
            Tier::Journal(at) => &self.journals[at],
            Tier::Frontend(at) => &self.frontends[at],
        }
    }

    /// # Panics
    /// When there is no such process.
    pub fn server_mut(&mut self, tier: Tier) -> &mut Server {
        match tier {
            Tier::Journal(at) => &mut self.journals[at],
            Tier::Frontend(at) => &mut self.frontends[at],
        }
    }

    /// Where clients reach the frontends.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.frontends.iter().map(Server::endpoint).collect()
    }

    /// The end of each process's log.
    #[must_use]
    pub fn logs(&self) -> String {
        let log = |tier: Tier| format!("-- {tier:?}\n{}", self.server(tier).log_end());
        self.all().into_iter().map(log).collect::<Vec<_>>().join("\n")
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
        let output = command.output().context("start etcdctl")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "etcdctl {arguments:?} failed: {complaint}");
        Ok(String::from_utf8(output.stdout)?)
    }
}
