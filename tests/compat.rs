//! The same requests to etcd 3.6, etcd 3.7 and Mainstem with 1 and with 5 partitions: equal answers, field by
//! field but for ids and terms, equal errors with equal texts, equal events. Where the two etcds differ from each
//! other, which is in two known places (`in_both_etcds`), Mainstem is as 3.6, the version it reports.
//!
//! `COMPAT_OPERATIONS` (20,000) and `COMPAT_SEED` (1) are read from the environment; `COMPAT_KINDS=etcd` leaves
//! Mainstem out, which judges the judge.

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::compat::{Generator, Outcome, Request, Watching, corpus, in_both_etcds, told};
use harness::server::{Kind, Server};
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use proto::mvccpb::Event;

/// Watchers open at once, besides the one of everything.
const WATCHERS_MAX: usize = 20;
/// One watcher in so many requests.
const WATCH_EVERY: u64 = 100;

/// A store and what watches it.
struct Subject {
    kind: Kind,
    _server: Server,
    clients: Clients,
    everything: Watching,
    watchers: Vec<Watching>,
}

impl Subject {
    async fn start(kind: Kind) -> Result<Subject> {
        let server = Server::start(kind)?;
        let clients = Clients::new(&server.endpoint())?;
        let create = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: 1,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let everything = Watching::open(&clients, create).await?;
        Ok(Subject { kind, _server: server, clients, everything, watchers: Vec::new() })
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn subjects() -> Result<Vec<Subject>> {
    let mut kinds = vec![Kind::Etcd36, Kind::Etcd37];
    if std::env::var("COMPAT_KINDS").as_deref() != Ok("etcd") {
        kinds.extend([Kind::Mainstem { partitions: 1 }, Kind::Mainstem { partitions: 5 }]);
    }
    let mut subjects = Vec::new();
    for kind in kinds {
        subjects.push(Subject::start(kind).await?);
    }
    Ok(subjects)
}

/// Asks every subject, and answers what they all say.
async fn agree(subjects: &[Subject], request: &Request) -> Result<Outcome> {
    let mut outcomes = Vec::with_capacity(subjects.len());
    for subject in subjects {
        outcomes.push(request.ask(&subject.clients).await);
    }
    for (subject, outcome) in subjects.iter().zip(&outcomes) {
        let equal = match subject.kind {
            Kind::Etcd37 => in_both_etcds(outcome.clone()) == in_both_etcds(outcomes[0].clone()),
            _ => *outcome == outcomes[0],
        };
        ensure!(
            equal,
            "{request:#?}\n{:?} says:\n{outcome:#?}\n{:?} says:\n{:#?}",
            subject.kind,
            subjects[0].kind,
            outcomes[0]
        );
    }
    Ok(outcomes.swap_remove(0))
}

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
        subject.watchers.push(Watching::open(&subject.clients, create.clone()).await?);
    }
    let index = subjects[0].watchers.len() - 1;
    // A compaction while it catches up would end it in one store and not in the other.
    for subject in subjects.iter() {
        let watcher = &subject.watchers[index];
        if !watcher.waits_for_the_future(generator.current) {
            watcher.caught_up().await.with_context(|| format!("{:?}", subject.kind))?;
        }
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
    let subjects = subjects().await?;
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
    let (operations, seed) = (setting("COMPAT_OPERATIONS", 20_000), setting("COMPAT_SEED", 1));
    let mut subjects = subjects().await?;
    let mut generator = Generator::new(seed);
    let (mut refused, mut watchers) = (0_u64, 0_u64);
    for step in 0..operations {
        let context = || format!("step {step} of COMPAT_SEED={seed}");
        let request = generator.request();
        let outcome = agree(&subjects, &request).await.with_context(context)?;
        refused += u64::from(matches!(outcome, Outcome::Refused(..)));
        if let (Request::Compact(compaction), Outcome::Compact(_)) = (&request, &outcome) {
            generator.compacted = compaction.revision;
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
