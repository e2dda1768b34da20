//! A session with real processes and real time.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Trouble;
use super::process::{Event, Processes};
use super::report::Report;
use super::session::Session;
use super::settings::Settings;
use super::workload::{self, Workload};

/// What nodes wrote and nobody has looked at. Full: they wait.
const EVENTS_MAX: usize = 16_384;

/// Looked at in one go, before what is due is done.
const EVENTS_AT_ONCE: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    LinKv,
    TxnListAppend,
    TxnRwRegister,
    GSet,
    PnCounter,
    GCounter,
    Broadcast,
    Kafka,
    UniqueIds,
    Echo,
}

pub fn run(name: Name, settings: Settings) -> Result<Report, Trouble> {
    match name {
        Name::LinKv => run_workload(workload::lin_kv::LinKv::new(settings.concurrency), settings),
        Name::TxnListAppend => run_workload(workload::list_append::ListAppend::default(), settings),
        Name::TxnRwRegister => run_workload(workload::rw_register::RwRegister::default(), settings),
        Name::GSet => run_workload(workload::g_set::GSet::default(), settings),
        Name::PnCounter => run_workload(workload::counter::Counter::of_both_signs(), settings),
        Name::GCounter => run_workload(workload::counter::Counter::growing(), settings),
        Name::Broadcast => run_workload(workload::broadcast::Broadcast::default(), settings),
        Name::Kafka => run_workload(workload::kafka::Kafka::default(), settings),
        Name::UniqueIds => run_workload(workload::unique_ids::UniqueIds, settings),
        Name::Echo => run_workload(workload::echo::Echo, settings),
    }
}

fn run_workload<W: Workload>(workload: W, settings: Settings) -> Result<Report, Trouble> {
    if let Some(logs) = &settings.logs {
        std::fs::create_dir_all(logs).map_err(|error| unwritable(logs, &error))?;
    }
    let (sender, events) = sync_channel(EVENTS_MAX);
    stop_on_signals(sender.clone())?;
    let mut processes = Processes::new(
        settings.bin.clone(),
        settings.arguments.clone(),
        settings.logs.clone(),
        settings.node_count,
        sender,
    );
    let logs = settings.logs.clone();
    let mut session = Session::new(settings, workload);
    let ended = drive(&mut session, &mut processes, &events);
    // Before anything is checked: they need nothing any more.
    drop(processes);
    session.history.sort_by_key(|operation| operation.invoked);
    if let Some(logs) = logs {
        write_history(&session, &logs).map_err(|error| unwritable(&logs, &error))?;
    }
    ended.map(|()| Report::of(&session))
}

fn drive<W: Workload>(
    session: &mut Session<W>,
    processes: &mut Processes,
    events: &Receiver<Event>,
) -> Result<(), Trouble> {
    let began = Instant::now();
    session.begin(began.elapsed(), processes)?;
    while !session.is_over() {
        session.advance(began.elapsed(), processes)?;
        let due = session.wake().unwrap_or(Duration::MAX).saturating_sub(began.elapsed());
        let patience = due.clamp(Duration::from_micros(200), Duration::from_millis(100));
        match events.recv_timeout(patience) {
            Ok(event) => hear(session, processes, event, began)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the processes hold a sender"),
        }
        for event in events.try_iter().take(EVENTS_AT_ONCE) {
            hear(session, processes, event, began)?;
        }
    }
    Ok(())
}

fn hear<W: Workload>(
    session: &mut Session<W>,
    processes: &mut Processes,
    event: Event,
    began: Instant,
) -> Result<(), Trouble> {
    match event {
        Event::Line { node, line } => session.line(began.elapsed(), node, line),
        Event::BadLine { node, why } => Err(Trouble(format!("node n{node}: {why}"))),
        Event::Closed { node, life } => processes.ended_by_itself(node, life).map_or(Ok(()), Err),
        Event::Stop => Err(Trouble("stopped by a signal".to_owned())),
    }
}

/// A runtime of its own, since nothing else here has one. It ends with the program.
fn stop_on_signals(events: SyncSender<Event>) -> Result<(), Trouble> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Trouble(format!("cannot listen to signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let streams =
        runtime.block_on(async { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) });
    let (mut interrupt, mut terminate) = streams.map_err(failed)?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // The run may be over.
        let _ = events.send(Event::Stop);
    });
    Ok(())
}

fn write_history<W: Workload>(session: &Session<W>, logs: &Path) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(logs.join("history.txt"))?);
    session.history.iter().try_for_each(|operation| writeln!(file, "{operation}"))?;
    file.flush()
}

fn unwritable(logs: &Path, error: &std::io::Error) -> Trouble {
    Trouble(format!("cannot write logs to {}: {error}", logs.display()))
}
