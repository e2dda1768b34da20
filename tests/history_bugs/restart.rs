//! Processes that die: what they answered stays, and all members stay the same.

use std::time::Duration;

use harness::workload::Workload;

use super::*;

/// How often processes are killed.
const KILLS: usize = 6;

fn witnesses(recorder: &Recorder) -> Vec<Listener> {
    (0..2).map(|at| Listener::begin(recorder, &format!("witness {at}"), everything(1), at)).collect()
}

/// Members of which one after the other dies under load, judged, and hold the same.
async fn killed_under_load(before: impl AsyncFn(&str) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    let recorder = Recorder::new(&cluster.endpoints())?;
    let listeners = witnesses(&recorder);
    let told: Vec<_> = listeners.iter().map(Listener::told).collect();
    let workload = Workload::begin(&recorder, 8, 13_766, &told);
    for kill in 0..KILLS {
        let leader = cluster.leader().await?;
        let victim = (leader + kill) % 3;
        // The moment is the experiment: there is nothing to wait for.
        tokio::time::sleep(Duration::from_millis(300)).await;
        before(&cluster.member(victim).endpoint()).await?;
        cluster.member_mut(victim).kill()?;
        cluster.member_mut(victim).restart()?;
    }
    workload.end().await?;
    settle(&recorder, listeners).await.with_context(|| logs(&cluster))?;
    hold_the_same(&cluster.endpoints()).await.with_context(|| logs(&cluster))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_13766_members_that_die_under_load_stay_the_same() -> Result<()> {
    let _alone = MACHINE.lock().await;
    killed_under_load(async |_| Ok(())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14685_a_member_that_dies_in_a_defragmentation_stays_the_same() -> Result<()> {
    let _alone = MACHINE.lock().await;
    killed_under_load(async |endpoint: &str| {
        let mut maintenance = Clients::new(endpoint)?.maintenance;
        let defragment =
            tokio::spawn(
                async move { maintenance.defragment(proto::etcdserverpb::DefragmentRequest {}).await },
            );
        tokio::task::yield_now().await;
        // Whether it was over when the member died is chance.
        drop(defragment);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn etcd_14370_a_single_member_that_dies_right_after_an_answer_has_what_it_answered() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut server = Server::start(MAINSTEM)?;
    for round in 0..20 {
        let mut clients = Clients::new(&server.endpoint())?;
        let (key, value) = (KEYS[round % KEYS.len()], format!("{round}"));
        let made = put(&mut clients, key, value.clone()).await?;
        server.kill()?;
        server.restart()?;
        let mut clients = Clients::new(&server.endpoint())?;
        let kv = clients.kv.range(history::get(key)).await?.into_inner().kvs.pop().context("it is lost")?;
        ensure!(kv.mod_revision == made && kv.value == value.as_bytes(), "round {round}: {kv:?}");
        ensure!(revision(&mut clients).await? == made, "round {round}: revisions went on or back");
    }
    Ok(())
}

/// Reads that a leader gets while it stands still are answered when it goes on: others lead then, and have written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20418_a_leader_that_stood_still_reads_nothing_stale() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    let recorder = Recorder::new(&cluster.endpoints())?;
    let listeners = witnesses(&recorder);
    let told: Vec<_> = listeners.iter().map(Listener::told).collect();
    for round in 0..3 {
        let leader = cluster.leader().await?;
        let workload = Workload::begin(&recorder, 6, round, &told);
        let before = recorder.history().len();
        cluster.member_mut(leader).freeze()?;
        // Until others have written, and long enough that somebody waits at the one that stands still.
        let wrote = |recorder: &Recorder| {
            let history = recorder.history();
            history[before.min(history.len())..].iter().filter(|one| history::wrote(one).is_some()).count()
        };
        while wrote(&recorder) < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reads: Vec<_> = (0..20)
            .map(|at| {
                let (recorder, request) =
                    (recorder.clone(), Request::Range(history::get(KEYS[at % KEYS.len()])));
                tokio::spawn(async move { recorder.ask(1_000, leader, request).await })
            })
            .collect();
        while wrote(&recorder) < 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.member_mut(leader).thaw()?;
        for read in reads {
            read.await?;
        }
        workload.end().await?;
    }
    settle(&recorder, listeners).await.with_context(|| logs(&cluster))
}
