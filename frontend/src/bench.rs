//! `mainstem bench`: a load on any store that speaks etcd's API, cheap enough to measure beside that store.

mod client;
mod connection;
mod endpoint;
mod failure;
mod key_space;
mod message;
mod options;
mod pace;
mod report;
mod tally;
#[cfg(test)]
mod tests;
mod transport;
mod watcher;
mod worker;

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Barrier;

use client::{STAMP_BYTES, Work};
use endpoint::Endpoint;
use key_space::KeySpace;
pub use options::Arguments;
use options::Load;
use pace::Pace;
use report::Report;
use tally::Tally;
use worker::{Plan, Worker};

const DURATION_DEFAULT: Duration = Duration::from_secs(10);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Options(String),
    #[error("cannot connect to {endpoint}: {cause}")]
    Connect { endpoint: String, cause: std::io::Error },
    #[error("before the measuring began: {0}")]
    Prepare(String),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("cannot print the report: {0}")]
    Print(std::io::Error),
    #[error("no operation succeeded")]
    NothingSucceeded,
}

/// A thread of the generator: it waits for the pace, and ends with its tally.
struct Thread {
    begin: Sender<Arc<Pace>>,
    handle: JoinHandle<Option<Tally>>,
}

/// Runs the load and prints the report. Returns an error if nothing at all succeeded.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Error> {
    let load = &arguments.load;
    let plan = Arc::new(plan(load)?);
    let threads = start(&plan)?;
    let common = load.common();
    let duration = common.duration.or_else(|| common.total.is_none().then_some(DURATION_DEFAULT));
    let processor_time_before = processor_time();
    let pace = Arc::new(Pace::new(common.rate, duration, common.total));
    let tally = measure(threads, &pace);
    let report = Report {
        load: load.name(),
        elapsed: tally.last.map_or(pace.started().elapsed(), |last| last - pace.started()),
        processor_time: processor_time() - processor_time_before,
        events_expected: tally.written() * u64::try_from(plan.watchers).expect("a count"),
        tally,
    };
    if common.json { report.print_json(out) } else { report.print(out) }.map_err(Error::Print)?;
    if report.tally.operations() == 0 { Err(Error::NothingSucceeded) } else { Ok(()) }
}

fn plan(load: &Load) -> Result<Plan, Error> {
    let common = load.common();
    if let Some(mistake) = load.mistake() {
        return Err(Error::Options(mistake));
    }
    if load.watchers() > 0 && common.value_bytes < STAMP_BYTES {
        let text = format!("to time events, --value-bytes must be at least {STAMP_BYTES}");
        return Err(Error::Options(text));
    }
    let endpoint = |text: &String| Endpoint::parse(text, &common.trust);
    let endpoints: Result<_, _> = common.endpoints.iter().map(endpoint).collect();
    let space = KeySpace::new(common.keys, common.key_bytes).map_err(Error::Options)?;
    let threads = common.threads.min(common.connections);
    let keys = u64::try_from(common.keys).expect("a count");
    Ok(Plan {
        common: common.clone(),
        endpoints: endpoints.map_err(Error::Options)?,
        work: work(load),
        watchers: load.watchers(),
        threads,
        space: Arc::new(space),
        stamps_from: Instant::now(),
        loading: common.load.then(|| Arc::new(Pace::new(0, None, Some(keys)))),
        written: Mutex::new(0),
        done: Barrier::new(threads),
    })
}

fn work(load: &Load) -> Work {
    match load {
        Load::Put { sequential, .. } => Work::Put { sequential: *sequential },
        Load::Watch { .. } => Work::Put { sequential: false },
        Load::Range { serializable, .. } => Work::Get { serializable: *serializable },
        Load::Txn { .. } => Work::Update,
        Load::Mixed { gets_percent, pages_percent, page_keys, .. } => {
            Work::Mixed { gets_percent: *gets_percent, pages_percent: *pages_percent, page_keys: *page_keys }
        }
    }
}

/// Returns when all threads are ready, or the first one has said why it is not.
fn start(plan: &Arc<Plan>) -> Result<Vec<Thread>, Error> {
    let (ready, readiness) = channel();
    let mut threads = Vec::new();
    for number in 0..plan.threads {
        let (begin, beginning) = channel();
        let (plan, ready) = (Arc::clone(plan), ready.clone());
        let handle = std::thread::Builder::new()
            .name(format!("bench-{number}"))
            .spawn(move || drive(plan, number, &ready, &beginning))
            .map_err(Error::Thread)?;
        threads.push(Thread { begin, handle });
    }
    for _ in &threads {
        readiness.recv().expect("every thread says whether it is ready")?;
    }
    Ok(threads)
}

/// A thread of the generator, from its first connection to its last answer.
fn drive(
    plan: Arc<Plan>,
    number: usize,
    ready: &Sender<Result<(), Error>>,
    beginning: &Receiver<Arc<Pace>>,
) -> Option<Tally> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _nobody_waits = ready.send(Err(Error::Thread(error)));
            return None;
        }
    };
    let (worker, outcome) = match runtime.block_on(Worker::prepare(plan, number)) {
        Ok(worker) => (Some(worker), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let _nobody_waits = ready.send(outcome);
    // Without a beginning another thread has failed, and the program ends.
    let pace = beginning.recv().ok()?;
    Some(runtime.block_on(worker?.measure(pace)))
}

fn measure(threads: Vec<Thread>, pace: &Arc<Pace>) -> Tally {
    for thread in &threads {
        thread.begin.send(Arc::clone(pace)).expect("it said that it was ready");
    }
    show_progress(&threads, pace);
    let mut sum = Tally::default();
    for thread in threads {
        let tally = thread.handle.join().expect("a thread of the generator does not panic");
        sum.add(tally.expect("it was ready"));
    }
    sum
}

/// Returns when the threads have ended. Shows nothing unless somebody looks at a terminal.
fn show_progress(threads: &[Thread], pace: &Pace) {
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta}").expect("the template is right");
    let bar = ProgressBar::new(1000).with_style(style);
    while !threads.iter().all(|thread| thread.handle.is_finished()) {
        bar.set_position(pace.progress());
        sleep(PROGRESS_INTERVAL);
    }
    bar.finish_and_clear();
}

/// What this process has used of all cores.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("it does not run backwards")
}
