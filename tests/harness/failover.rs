//! Members of a cluster die, freeze and come back under a steady load: what clients see of it.
//!
//!     load    ─ 2,000 writes a second, all the time ─────────────────────────────►
//!     member        ▼ dies or freezes          ▲ comes back
//!     acks    ││││││        ││││││││││││││││││││││││││││││││││
//!                   ◄ gap ─►                                        then every member is asked for everything
//!
//! Judged is what was acknowledged: nothing of it may be lost, and nothing may have happened twice. Who watches
//! over a member is told all of it, once and in order. The longest gap between two acknowledgements, of whichever
//! clients, is what is reported.

mod client;
mod judge;
mod load;
mod record;
mod report;
mod witness;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::server::Kind;

use self::judge::Judge;
use self::load::Load;
pub use self::report::{Report, Round};

/// How long the load runs before anything happens, and on when everything is well again.
const STEADY: Duration = Duration::from_secs(1);
/// How long a cluster may take to acknowledge writes again.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// What happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again once the others go on.
    KillLeader,
    KillFollower,
    /// The leader and a follower of five members, or the leader of three.
    KillMinority,
    /// SIGSTOP, and SIGCONT later.
    FreezeLeader,
    FreezeFollower,
    /// `kill -9` of all at once, and all are started again.
    PowerCut,
}

impl Fault {
    pub const ALL: [Fault; 6] = [
        Fault::KillLeader,
        Fault::FreezeLeader,
        Fault::KillFollower,
        Fault::FreezeFollower,
        Fault::KillMinority,
        Fault::PowerCut,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillLeader => "kill-leader",
            Fault::KillFollower => "kill-follower",
            Fault::KillMinority => "kill-minority",
            Fault::FreezeLeader => "freeze-leader",
            Fault::FreezeFollower => "freeze-follower",
            Fault::PowerCut => "power-cut",
        }
    }

    fn victims(self, leader: usize, members: usize) -> Vec<usize> {
        let from_leader = |count: usize| (0..count).map(|at| (leader + at) % members).collect();
        match self {
            Fault::KillLeader | Fault::FreezeLeader => from_leader(1),
            Fault::KillFollower | Fault::FreezeFollower => vec![(leader + 1) % members],
            Fault::KillMinority => from_leader((members - 1) / 2),
            Fault::PowerCut => from_leader(members),
        }
    }

    #[must_use]
    pub fn freezes(self) -> bool {
        matches!(self, Fault::FreezeLeader | Fault::FreezeFollower)
    }
}

/// What a cluster is put through, and with which settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub kind: Kind,
    pub members: usize,
    pub heartbeat_ms: u32,
    pub election_ms: u32,
    pub writes_per_second: u32,
    pub frozen: Duration,
}

impl Settings {
    /// Three members with etcd's settings, and the load of the goal.
    #[must_use]
    pub fn new(kind: Kind) -> Settings {
        Settings {
            kind,
            members: 3,
            heartbeat_ms: 100,
            election_ms: 1_000,
            writes_per_second: 2_000,
            frozen: Duration::from_secs(30),
        }
    }
}

/// A cluster that is put through one fault after the other.
pub struct Trial {
    settings: Settings,
    cluster: Cluster,
    rounds: u32,
}

impl Trial {
    /// # Errors
    /// When the cluster does not start.
    pub async fn start(settings: Settings) -> Result<Trial> {
        let flags = [
            format!("--heartbeat-interval={}", settings.heartbeat_ms),
            format!("--election-timeout={}", settings.election_ms),
        ];
        let cluster = Cluster::start_with(settings.kind, settings.members, &[&flags[0], &flags[1]])?;
        cluster.leader().await?;
        Ok(Trial { settings, cluster, rounds: 0 })
    }

    /// The fault, and what came of it.
    ///
    /// # Errors
    /// When an acknowledged write is lost or happened twice, or the cluster does not recover. The error has the end
    /// of each member's log.
    pub async fn round(&mut self, fault: Fault) -> Result<Round> {
        self.rounds += 1;
        let round = self.suffer(fault).await;
        round.with_context(|| {
            let logs = (0..self.settings.members).map(|at| self.cluster.member(at).log_end());
            format!("round {} ({}):\n{}", self.rounds, fault.name(), logs.collect::<Vec<_>>().join("\n--\n"))
        })
    }

    async fn suffer(&mut self, fault: Fault) -> Result<Round> {
        let leader = self.cluster.leader().await?;
        let endpoints = self.cluster.endpoints();
        let judge = Judge::begin(&endpoints, self.rounds).await?;
        let load = Load::start(&endpoints, judge.prefix(), self.settings.writes_per_second)?;
        load.progress(Instant::now(), STEADY).await?;

        let began = Instant::now();
        let victims = fault.victims(leader, self.settings.members);
        if fault.freezes() {
            self.freeze(&victims, &load).await?;
        } else {
            self.kill(fault, &victims, &load).await?;
        }
        self.cluster.leader().await?;
        load.progress(Instant::now(), STEADY).await?;

        let record = load.end().await?;
        judge.judge(&record).await?;
        Ok(Round::of(fault, &record, began))
    }

    async fn freeze(&mut self, victims: &[usize], load: &Load) -> Result<()> {
        let thaws = Instant::now() + self.settings.frozen;
        for at in victims {
            self.cluster.member_mut(*at).freeze()?;
        }
        let progress = load.progress(Instant::now(), Duration::ZERO).await;
        // The length of it is the experiment: there is nothing to wait for.
        tokio::time::sleep_until(thaws.into()).await;
        for at in victims {
            self.cluster.member_mut(*at).thaw()?;
        }
        progress
    }

    async fn kill(&mut self, fault: Fault, victims: &[usize], load: &Load) -> Result<()> {
        for at in victims {
            self.cluster.member_mut(*at).kill()?;
        }
        if fault != Fault::PowerCut {
            load.progress(Instant::now(), STEADY).await?;
        }
        for at in victims {
            self.cluster.member_mut(*at).spawn()?;
        }
        for at in victims {
            self.cluster.member_mut(*at).await_answer()?;
        }
        load.progress(Instant::now(), Duration::ZERO).await
    }
}

/// Does something to a store while its endpoints are under load, and answers the longest time in which nothing was
/// acknowledged. `round` must not have been used before.
///
/// # Errors
/// When an acknowledged write is lost or happened twice, or the store does not go on.
pub async fn under_load(
    endpoints: &[String],
    round: u32,
    writes_per_second: u32,
    act: impl AsyncFnOnce() -> Result<()>,
) -> Result<Duration> {
    observed(endpoints, round, writes_per_second, act).await.map(|seen| seen.gap)
}

/// What clients saw of something that was done to a store.
#[derive(Clone, Debug)]
pub struct Seen {
    pub acknowledged: usize,
    /// Writes that nobody acknowledged before their deadline.
    pub failed: usize,
    /// The longest time in which nothing was acknowledged.
    pub gap: Duration,
    /// The time that one in a hundred acknowledged writes took, at least.
    pub p99: Duration,
    /// Attempts that were not acknowledged, by why.
    pub complaints: BTreeMap<String, u64>,
}

/// As `under_load`, and answers more of what was seen.
///
/// # Errors
/// As `under_load`.
pub async fn observed(
    endpoints: &[String],
    round: u32,
    writes_per_second: u32,
    act: impl AsyncFnOnce() -> Result<()>,
) -> Result<Seen> {
    let judge = Judge::begin(endpoints, round).await?;
    let load = Load::start(endpoints, judge.prefix(), writes_per_second)?;
    load.progress(Instant::now(), STEADY).await?;
    act().await?;
    load.progress(Instant::now(), STEADY).await?;
    let record = load.end().await?;
    judge.judge(&record).await?;
    let acknowledged = record.acknowledged().count();
    let failed = record.written.len() - acknowledged;
    let (gap, p99) = (record.longest_gap().0, record.p99());
    Ok(Seen { acknowledged, failed, gap, p99, complaints: record.complaints })
}

/// One fault so many times on a cluster of its own.
///
/// # Errors
/// As `Trial::round`.
pub async fn rounds(settings: Settings, fault: Fault, count: u32) -> Result<Report> {
    let mut trial = Trial::start(settings).await?;
    let mut report = Report::new(settings, fault);
    for _ in 0..count {
        let round = trial.round(fault).await?;
        eprintln!("{round:?}");
        report.add(round);
    }
    ensure!(report.acknowledged() > 0, "nothing was ever acknowledged: that was no load");
    Ok(report)
}
