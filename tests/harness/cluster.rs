//! Several members of one cluster, each a process on the loopback.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proto::etcdserverpb::StatusRequest;

use crate::clients::Clients;
use crate::server::{Kind, Server};
use crate::tools;

/// How long members may take to agree on who leads.
const ELECTION_MAX: Duration = Duration::from_secs(30);

/// How long members may take until changes of them are allowed.
const HEALTHY_MAX: Duration = Duration::from_secs(60);

/// The members, by the order in which they came. Dropping them kills them.
pub struct Cluster {
    kind: Kind,
    /// What every member is told beside its place.
    flags: Vec<String>,
    members: Vec<Server>,
}

impl Cluster {
    /// A new cluster of `count` members, named n0, n1 and so on, which all answer.
    ///
    /// # Errors
    /// When one cannot be started, or does not answer.
    pub fn start(kind: Kind, count: usize) -> Result<Cluster> {
        Cluster::start_with(kind, count, &[])
    }

    /// As `start`, with further arguments for every member.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(kind: Kind, count: usize, flags: &[&str]) -> Result<Cluster> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let members = (0..count).map(|_| Server::prepare(kind)).collect::<Result<Vec<Server>>>()?;
        let mut cluster = Cluster { kind, flags, members };
        let initial = cluster.initial();
        for (at, member) in cluster.members.iter_mut().enumerate() {
            let place = place(at, member, &initial, "new");
            start(member, &place, &cluster.flags)?;
        }
        cluster.members.iter_mut().try_for_each(Server::await_answer)?;
        Ok(cluster)
    }

    fn initial(&self) -> String {
        let members = self.members.iter().enumerate();
        members.map(|(at, member)| format!("n{at}={}", member.peer_url())).collect::<Vec<_>>().join(",")
    }

    /// A further member as a process that is not started yet, and its peer URL.
    ///
    /// # Errors
    /// When there is no room for its data.
    pub fn prepare(&mut self) -> Result<String> {
        self.members.push(Server::prepare(self.kind)?);
        Ok(self.members[self.members.len() - 1].peer_url())
    }

    /// Starts the member that was prepared last, and was added to the cluster since.
    ///
    /// # Errors
    /// When it cannot be started. It is not waited for: a learner is not ready for every request.
    pub fn join(&mut self) -> Result<()> {
        let (at, initial) = (self.members.len() - 1, self.initial());
        self.join_as(&place(at, &self.members[at], &initial, "existing"))
    }

    /// As `join`, with the place in the cluster as these flags have it.
    ///
    /// # Errors
    /// As `join`.
    pub fn join_as(&mut self, place: &[String]) -> Result<()> {
        let at = self.members.len() - 1;
        start(&mut self.members[at], place, &self.flags)
    }

    /// # Panics
    /// When there is no such member.
    #[must_use]
    pub fn member(&self, at: usize) -> &Server {
        &self.members[at]
    }

    /// # Panics
    /// When there is no such member.
    pub fn member_mut(&mut self, at: usize) -> &mut Server {
        &mut self.members[at]
    }

    /// Where clients reach the members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Server::endpoint).collect()
    }

    /// The place of the member that leads, once every member that runs says so.
    ///
    /// # Errors
    /// When they do not agree in time.
    pub async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + ELECTION_MAX;
        while Instant::now() < deadline {
            let mut told = Vec::new();
            for (at, member) in self.members.iter().enumerate().filter(|(_, member)| member.runs()) {
                told.push((at, status(member).await));
            }
            let leader = told.iter().find_map(|(at, status)| match status {
                Ok((own, leader)) if own == leader => Some((*at, *own)),
                _ => None,
            });
            let agree =
                |id| told.iter().all(|(_, status)| matches!(status, Ok((_, leader)) if *leader == id));
            if let Some((at, id)) = leader
                && agree(id)
            {
                return Ok(at);
            }
            // There is no event to wait for in other processes.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!(
            "the members do not agree on a leader:\n{}",
            self.members.iter().map(Server::log).collect::<String>()
        )
    }

    /// Runs etcdctl at some members, and answers what it printed. What is refused because members were not connected for
    /// five seconds is asked for again, as an operator does.
    ///
    /// # Errors
    /// When it fails; the error has what it complained of.
    pub fn etcdctl(&self, at: &[usize], arguments: &[&str]) -> Result<String> {
        let deadline = Instant::now() + HEALTHY_MAX;
        let mut output = self.try_etcdctl(at, arguments)?;
        while String::from_utf8_lossy(&output.stderr).contains("etcdserver: unhealthy cluster")
            && Instant::now() < deadline
        {
            output = self.try_etcdctl(at, arguments)?;
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "etcdctl {arguments:?} failed: {complaint}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// As `etcdctl`, and answers also how it failed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_etcdctl(&self, at: &[usize], arguments: &[&str]) -> Result<Output> {
        let endpoints: Vec<String> = at.iter().map(|at| self.members[*at].endpoint()).collect();
        let mut command = Command::new(tools::judge("etcdctl-3.6")?);
        command.arg(format!("--endpoints={}", endpoints.join(","))).arg("--command-timeout=20s");
        command.args(arguments).env_remove("ETCDCTL_ENDPOINTS").output().context("start etcdctl")
    }
}

fn start(member: &mut Server, place: &[String], flags: &[String]) -> Result<()> {
    member.arguments(&[format!("--listen-peer-urls={}", member.peer_url())]);
    member.arguments(place);
    member.arguments(flags);
    member.spawn()
}

/// A member's place in the cluster, as flags.
fn place(at: usize, member: &Server, initial: &str, state: &str) -> Vec<String> {
    let flags = [
        ("name", format!("n{at}")),
        ("initial-advertise-peer-urls", member.peer_url()),
        ("initial-cluster", initial.to_owned()),
        ("initial-cluster-state", state.to_owned()),
    ];
    flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// The member's id, and that of whom it follows.
async fn status(member: &Server) -> Result<(u64, u64)> {
    let mut maintenance = Clients::new(&member.endpoint())?.maintenance;
    let asked = maintenance.status(StatusRequest::default());
    let status = tokio::time::timeout(Duration::from_secs(5), asked).await??.into_inner();
    Ok((status.header.context("a status has a header")?.member_id, status.leader))
}
