//! What a log is asked, step by step, and everything that it ever was.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::disk::{Asked, Disk, Point, Progress, Traced};
use super::found;
use crate::block::PAGE_BYTES;
use crate::clock::ManualClock;
use crate::error::Error;
use crate::log::crash_tests::Seen;
use crate::log::worker::Worker;
use crate::log::{Done, Log, LogEntry, Settings};
use crate::log_device::LogDevice;

/// Header, state, and three pages more: two steps fill a segment.
pub(super) const SETTINGS: Settings = Settings {
    segment_bytes: 5 * PAGE_BYTES as u64,
    recent_bytes_max: 2_000,
    make_ahead: false,
    queue_items_max: 4_096,
};
pub(super) const CLUSTER: u64 = 7;

/// Each is one group commit, which is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A block of one page.
    Small,
    /// A block of two pages.
    Large,
    /// Three blocks in one write.
    Three,
    Truncate,
    /// Everything but the last entry; segments are recycled.
    Purge,
    /// Stops in good order and starts again.
    Reopen,
    /// Is stopped in a write of three blocks, of which all but the first are on disk, and starts again.
    Kill,
}

pub(super) const STEPS: [Step; 7] = {
    use Step::{Kill, Large, Purge, Reopen, Small, Three, Truncate};
    [Small, Large, Three, Truncate, Purge, Reopen, Kill]
};

pub(super) struct Life {
    traced: Traced,
    progress: Arc<Progress>,
    running: Option<(Log, Worker)>,
    /// After each thing asked for, and after each start that found less.
    pub(super) history: Vec<Seen>,
    /// Where it can be stopped: all of its past.
    pub(super) points: Vec<Point>,
    /// Of these, how many another life has shown.
    pub(super) known: usize,
    term: u64,
}

impl Life {
    /// A new log.
    pub(super) fn new() -> Life {
        let progress = Arc::new(Progress::default());
        let traced = Traced::new(Disk::default(), Arc::clone(&progress));
        let history = vec![Seen::default()];
        let mut life =
            Life { traced, progress, running: None, history, points: Vec::new(), known: 0, term: 1 };
        life.start();
        life
    }

    pub(super) fn disk(&self) -> Disk {
        self.traced.disk()
    }

    fn now(&self) -> Seen {
        self.history.last().expect("it begins with the empty log").clone()
    }

    fn start(&mut self) {
        let (log, worker) = open(Arc::new(self.traced.clone())).expect("nothing is damaged");
        assert_eq!(Seen::of(&log), self.now());
        self.running = Some((log, worker));
        self.points.extend(self.traced.take_points());
        self.term += 1;
    }

    pub(super) fn apply(&mut self, step: Step) {
        match step {
            Step::Small => self.append(&[900]),
            Step::Large => self.append(&[5_000]),
            Step::Three => self.three(),
            Step::Truncate => self.truncate(),
            Step::Purge => self.purge(),
            Step::Reopen => return self.reopen(),
            Step::Kill => {
                self.three();
                return self.kill();
            }
        }
        self.turn();
        self.points.extend(self.traced.take_points());
    }

    fn log(&self) -> &Log {
        &self.running.as_ref().expect("it runs").0
    }

    /// Remembers what is asked for, and answers what to call when it is durable.
    fn asked(&mut self, then: Seen) -> Done {
        self.history.push(then);
        let place = self.history.len() - 1;
        self.progress.asked.store(place, Ordering::Relaxed);
        let progress = Arc::clone(&self.progress);
        Box::new(move |outcome| {
            outcome.expect("the disk does not fail");
            progress.acknowledged.fetch_max(place, Ordering::Relaxed);
        })
    }

    fn append(&mut self, sizes: &[usize]) {
        for &size in sizes {
            let mut then = self.now();
            let (index, term) = (then.next(), self.term);
            let payload = Bytes::from(vec![(index + term).to_le_bytes()[0] | 0x80; size]);
            let entry = LogEntry { index, term, kind: 1, payload };
            then.entries.insert(index, entry.clone());
            let done = self.asked(then);
            self.log().append(vec![entry], done);
        }
    }

    /// Entries on both sides of a vote: blocks of their own.
    fn three(&mut self) {
        self.append(&[600]);
        let vote = Bytes::from(vec![self.history.len().to_le_bytes()[0]; 20]);
        let done = self.asked(Seen { vote: Some(vote.clone()), ..self.now() });
        self.log().save_vote(vote, done);
        self.append(&[700]);
    }

    fn truncate(&mut self) {
        let mut then = self.now();
        let Some((from, _)) = then.entries.pop_last() else { return };
        self.term += 1;
        let done = self.asked(then);
        self.log().truncate(from, done);
    }

    fn purge(&mut self) {
        let now = self.now();
        let Some((&upto, entry)) = now.entries.iter().rev().nth(1) else { return };
        let term = entry.term;
        let entries = now.entries.clone().split_off(&(upto + 1));
        let done = self.asked(Seen { entries, purged: Some((upto, term)), ..now });
        self.log().purge(upto, term, done);
    }

    fn turn(&mut self) {
        let (log, worker) = self.running.as_mut().expect("it runs");
        // There was nothing to truncate or to purge.
        if worker.shared.oldest().is_none() {
            return;
        }
        let batch = worker.shared.take().expect("steps are queued");
        worker.turn(batch);
        assert!(!worker.shared.failed());
        let seen = Seen::of(log);
        assert_eq!(seen, self.now());
        assert_eq!(self.progress.now(), (self.history.len() - 1, self.history.len() - 1));
    }

    fn reopen(&mut self) {
        let (log, mut worker) = self.running.take().expect("it runs");
        log.close();
        worker.run();
        assert!(!worker.shared.failed());
        drop((log, worker));
        self.points.extend(self.traced.take_points());
        self.start();
    }

    fn kill(&mut self) {
        self.turn();
        self.running = None;
        let mut points = self.traced.take_points();
        let last_write = points.iter().rposition(|point| matches!(point.asked_for, Asked::Write { .. }));
        let stopped = points.split_off(last_write.expect("it has written")).swap_remove(0);
        self.points.extend(points);
        let Point { before, asked_for: Asked::Write { file, offset, bytes }, acknowledged, asked } = stopped
        else {
            panic!("it was a write")
        };
        let mut content = before.files[file].to_vec();
        content[offset + PAGE_BYTES..offset + bytes.len()].copy_from_slice(&bytes[PAGE_BYTES..]);
        let disk = before.with_file(file, content).settled(before.names.clone());
        let place = found(&disk, &self.history[..=asked], acknowledged).expect("a crash is no damage");
        // What was not found never was.
        self.history.push(self.history[place].clone());
        self.progress.acknowledged.store(self.history.len() - 1, Ordering::Relaxed);
        self.progress.asked.store(self.history.len() - 1, Ordering::Relaxed);
        self.traced = Traced::new(disk, Arc::clone(&self.progress));
        self.start();
    }
}

pub(super) fn open(device: Arc<dyn LogDevice>) -> Result<(Log, Worker), Error> {
    Log::parts(device, CLUSTER, SETTINGS, Arc::new(ManualClock::default()))
}
