//! Members of a cluster die, freeze and come back under 2,000 writes a second: nothing acknowledged is lost, nothing
//! happens twice, and no client with a deadline of 5 s sees an error. How long nothing was acknowledged is printed, and
//! not judged: `tests/bench/failover.rs` has the long form, beside etcd's.
//!
//! `FAILOVER_ROUNDS` (1): how often each fault.

use std::time::Duration;

use anyhow::Result;
use harness::environment;
use harness::failover::{Fault, Settings, Trial};
use harness::server::Kind;

fn settings(members: usize) -> Settings {
    let settings = Settings::new(Kind::Mainstem { partitions: 1 });
    Settings { members, heartbeat_ms: 50, election_ms: 500, frozen: Duration::from_secs(5), ..settings }
}

/// Clusters would take the machine from each other.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn suffer(settings: Settings, faults: &[Fault]) -> Result<()> {
    let _alone = MACHINE.lock().await;
    let rounds = usize::try_from(environment::number("FAILOVER_ROUNDS").unwrap_or(1))?;
    let mut trial = Trial::start(settings).await?;
    for fault in std::iter::repeat_n(faults, rounds).flatten() {
        let round = trial.round(*fault).await?;
        eprintln!("{round:?}");
        // With all members gone there is nobody to answer in time.
        // Who is frozen does not hang up, and neither when it goes on.
        assert!(!fault.freezes() || round.connections_lost() == 0, "connections broke: {round:?}");
        assert!(round.failed == 0 || *fault == Fault::PowerCut, "clients saw errors: {round:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_latency_and_no_errors_when_a_member_dies_or_freezes() -> Result<()> {
    let faults = [Fault::KillLeader, Fault::FreezeLeader, Fault::KillFollower, Fault::FreezeFollower];
    suffer(settings(3), &faults).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_power_cut() -> Result<()> {
    suffer(settings(3), &[Fault::PowerCut]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_five_members_may_die() -> Result<()> {
    suffer(settings(5), &[Fault::KillMinority]).await
}
