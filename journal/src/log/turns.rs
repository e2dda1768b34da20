//! The log's worker on a simulated machine, where it has no thread: it writes when the disk's time has passed.
//!
//!     queued ──► the disk takes its time ──► all that has queued by then is written at once

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::queue::Shared;
use super::worker::Worker;
use super::{Log, Settings, Writes};
use crate::clock::Clock;
use crate::config::Storage;
use crate::data_directory::DataDirectory;
use crate::error::Error;
use crate::log_device::sim::Sim;
use crate::machine::Machine;

/// How often a disk that hangs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Log {
    /// Of `directory` there is the name alone, which is locked.
    pub(super) fn simulated(
        machine: Machine,
        cluster: u64,
        clock: Arc<dyn Clock>,
        directory: DataDirectory,
    ) -> Result<Log, Error> {
        let Machine { disk, segment_bytes } = machine;
        let settings = Settings { segment_bytes, ..Settings::of(&Storage::Memory) };
        let (log, worker) = Log::parts(Arc::new(disk.clone()), cluster, settings, clock.clone())?;
        let turns = Turns::start(worker, directory, disk, clock);
        *log.running.writes.lock() = Some(Writes::InTurns(turns));
        Ok(log)
    }
}

/// The worker, for as long as nobody has closed the log.
#[derive(Clone)]
pub(super) struct Turns(Arc<Mutex<Option<(Worker, DataDirectory)>>>);

impl Turns {
    /// On the current runtime.
    pub(super) fn start(worker: Worker, directory: DataDirectory, disk: Sim, clock: Arc<dyn Clock>) -> Turns {
        let shared = worker.shared.clone();
        let turns = Turns(Arc::new(Mutex::new(Some((worker, directory)))));
        tokio::spawn(turns.clone().run(shared, disk, clock));
        turns
    }

    async fn run(self, shared: Arc<Shared>, disk: Sim, clock: Arc<dyn Clock>) {
        while shared.work_comes().await {
            let mut takes = disk.write_takes();
            while takes.is_none() {
                clock.until(clock.now() + LOOK_EVERY).await;
                takes = disk.write_takes();
            }
            clock.until(clock.now() + takes.unwrap_or_default()).await;
            let mut worker = self.0.lock();
            let Some((worker, _)) = &mut *worker else { return };
            if let Some(batch) = shared.take() {
                worker.turn(batch);
            }
        }
        self.close();
    }

    /// Writes what was asked for, and lets go of the directory.
    pub(super) fn close(&self) {
        if let Some((mut worker, _directory)) = self.0.lock().take() {
            worker.run();
        }
    }
}
