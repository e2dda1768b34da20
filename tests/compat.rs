//! The same requests to etcd 3.6, etcd 3.7 and Mainstem with 1 and with 5 partitions: equal answers, field by
//! field but for ids and terms, equal errors with equal texts, equal events. Where the two etcds differ from each
//! other, which is in few known places (`in_both_etcds`), Mainstem is as 3.6, the version it reports; what only 3.7
//! can, ranges in pieces, is as in 3.7. In tiers the two frontends are asked in turn, and neither's revision goes back.
//!
//! `COMPAT_OPERATIONS` (20,000) and `COMPAT_SEED` (1) are read from the environment; `COMPAT_KINDS=etcd` leaves
//! Mainstem out, which judges the judge.

use anyhow::{Context, Result, ensure};
use harness::compat::{Generator, Outcome, Request, Subject, agree, corpus, large_values, subjects, told};
use harness::environment;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, RangeRequest, RequestOp,
    TxnRequest, request_op,
};
use proto::mvccpb::Event;

/// Watchers open at once, besides the one of everything.
const WATCHERS_MAX: usize = 20;
/// One watcher in so many requests.
const WATCH_EVERY: u64 = 100;

/// Everything that happened so far, told alike by every subject.
async fn log(subjects: &[Subject], revision: i64) -> Result<Vec<Event>> {
    if revision == 1 {
        return Ok(Vec::new());
    }
    let mut logs = Vec::new();
    for subject in subjects {
        logs.push(told(&subject.everything, revision).await?);
    }
    for (subject, log) in subjects.iter().zip(&logs) {
        let first = log.iter().zip(&logs[0]).position(|(one, other)| one != other);
        if let Some(at) = first {
            anyhow::bail!("event {at}: {:?} tells {:#?}, not {:#?}", subject.kind, log[at], logs[0][at]);
        }
        ensure!(
            log.len() == logs[0].len(),
            "{:?} tells {} events, not {}",
            subject.kind,
            log.len(),
            logs[0].len()
        );
    }
    Ok(logs.swap_remove(0))
}

/// Waits until each subject's watcher `index` was told all it is owed, and compares.
async fn compare_watchers(subjects: &[Subject], index: usize, log: &[Event]) -> Result<()> {
    let owed = subjects[0].watchers[index].owed(log);
    let mut first = None;
    for subject in subjects {
        let watcher = &subject.watchers[index];
        let told = watcher.told(owed).await.with_context(|| format!("{:?}", subject.kind))?;
        let all = (watcher.created().clone(), told);
        let expected = first.get_or_insert_with(|| all.clone());
        ensure!(all == *expected, "{:?} tells {all:#?}, not {expected:#?}", subject.kind);
    }
    Ok(())
}

async fn watch(subjects: &mut [Subject], generator: &mut Generator) -> Result<()> {
    let create = generator.watch();
    for subject in subjects.iter_mut() {
        subject.watch(create.clone()).await?;
    }
    let index = subjects[0].watchers.len() - 1;
    // A compaction while it catches up would end it in one store and not in the other.
    for subject in subjects.iter() {
        let (watcher, context) = (&subject.watchers[index], || format!("{:?}", subject.kind));
        if !watcher.waits_for_the_future(generator.current) {
            watcher.caught_up().await.with_context(context)?;
        }
        // Nothing happens meanwhile, so that it is told of everything there is.
        let progress = watcher.progress().unwrap_or(generator.current);
        ensure!(
            progress == generator.current,
            "{} was told up to {progress} of {}",
            context(),
            generator.current
        );
    }
    compare_watchers(subjects, index, &log(subjects, generator.current).await?).await
}

async fn compare_all_watchers(subjects: &mut [Subject], generator: &Generator) -> Result<()> {
    let log = log(subjects, generator.current).await?;
    for index in 0..subjects[0].watchers.len() {
        compare_watchers(subjects, index, &log).await?;
    }
    subjects.iter_mut().for_each(|subject| subject.watchers.clear());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_is_answered_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let mut revision = 1;
    for (step, request) in corpus().iter().enumerate() {
        let outcome =
            agree(&subjects, request).await.with_context(|| format!("request {step} of the corpus"))?;
        revision = revision.max(outcome.revision().unwrap_or(0));
    }
    log(&subjects, revision).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_answered_alike() -> Result<()> {
    let (operations, seed) = (
        environment::number("COMPAT_OPERATIONS").unwrap_or(20_000),
        environment::number("COMPAT_SEED").unwrap_or(1),
    );
    let mut subjects = subjects(&[]).await?;
    let mut generator = Generator::new(seed);
    let (mut refused, mut watchers) = (0_u64, 0_u64);
    for step in 0..operations {
        let context = || format!("step {step} of COMPAT_SEED={seed}");
        let request = generator.request();
        let outcome = agree(&subjects, &request).await.with_context(context)?;
        refused += u64::from(matches!(outcome, Outcome::Refused(..)));
        if let (Request::Compact(compaction), Outcome::Compact(_)) = (&request, &outcome) {
            generator.compacted_at(compaction.revision);
        }
        // A read at the present tells the revision; of some answers it is left out, or it is 0.
        if let Some(revision) = outcome.revision() {
            generator.current = generator.current.max(revision);
        }
        if step % WATCH_EVERY == WATCH_EVERY - 1 {
            watch(&mut subjects, &mut generator).await.with_context(context)?;
            watchers += 1;
        }
        if subjects[0].watchers.len() == WATCHERS_MAX {
            compare_all_watchers(&mut subjects, &generator).await.with_context(context)?;
        }
    }
    compare_all_watchers(&mut subjects, &generator).await?;
    let everything =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    agree(&subjects, &Request::Range(everything)).await?;
    ensure!(refused * 20 > operations, "hardly anything was refused: the requests are too tame");
    eprintln!("{operations} requests, {refused} refused, {watchers} watchers, {} stores", subjects.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_ranges_are_cut_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let puts = large_values();
    let count = puts.len();
    for (number, put) in puts.into_iter().enumerate() {
        bytes += put.value.len() + 100;
        batch.push(RequestOp { request: Some(request_op::Request::RequestPut(put)) });
        if batch.len() == 100 || bytes > 400_000 || number + 1 == count {
            let success = std::mem::take(&mut batch);
            agree(&subjects, &Request::Txn(TxnRequest { success, ..TxnRequest::default() })).await?;
            bytes = 0;
        }
    }
    let all = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    for limit in [0, 500, 1000, 1520, -1] {
        for keys_only in [false, true] {
            let request = Request::Stream(RangeRequest { limit, keys_only, ..all.clone() });
            let Outcome::Stream(pieces) = agree(&subjects, &request).await? else { panic!("it is a stream") };
            ensure!(limit < 0 || pieces.len() > 5, "it came in {} pieces", pieces.len());
        }
    }
    Ok(())
}

/// What is not so in a store that has seen something before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_store_answers_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let all = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    let compact = |revision| Request::Compact(CompactionRequest { revision, physical: true });
    let requests = [
        Request::Status,
        Request::Range(all.clone()),
        Request::Stream(all.clone()),
        Request::Stream(RangeRequest { count_only: true, ..all.clone() }),
        Request::Stream(RangeRequest { revision: 2, ..all }),
        Request::Delete(DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() }),
        Request::Hash,
        Request::HashKv(Default::default()),
        Request::Leases(Default::default()),
        compact(2),
        compact(-1),
        compact(i64::MIN),
        // Behind it etcd tells for ever the hash that it notes here, so that it comes last.
        compact(0),
    ];
    for request in &requests {
        agree(&subjects, request).await?;
    }
    Ok(())
}

/// Its shortest time is raised to the same, and a lease without a name gets one that is above 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_and_nameless_leases_are_granted_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    for ttl in [i64::MIN, -1, 0, 1, 2, 3] {
        let grant = Request::Grant(LeaseGrantRequest { ttl, id: 5 });
        agree(&subjects, &grant).await?;
        agree(&subjects, &Request::Revoke(LeaseRevokeRequest { id: 5 })).await?;
    }
    for subject in &subjects {
        let mut lease = subject.clients().await?.lease.clone();
        let granted = lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 0 }).await?.into_inner();
        ensure!(granted.id > 0 && granted.ttl == 600, "{:?} grants {granted:?}", subject.kind);
    }
    Ok(())
}
