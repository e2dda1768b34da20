//! What is committed, applied: to the journal's own state, and to the tails.
//!
//!     committed entries ─► State::apply ─► TailSource::publish ─► Status ─► replies to the proposals
//!
//! In this order, so whoever holds a verdict finds its effects in the state and its entry in the tail. Only
//! committed entries come here, so only they are in a tail (I4).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};

use super::log_store::LogStore;
use super::network::Network;
use super::snapshot::SnapshotStore;
use super::types::{LogId, Membership, RaftEntry, RaftPayload, Snapshot, SnapshotMeta, Types, lsn, term};
use super::{entry, membership};
use crate::client::Status;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::machine;
use crate::planted::Bug;
use crate::record::Entry;
use crate::state::{Applied, State};
use crate::tail::TailSource;

/// Entries applied between two looks at what else there is to do.
const PART_ENTRIES_MAX: usize = 256;

/// How finely it is remembered which positions hold how many bytes.
const SAMPLE_BYTES: u64 = 4 << 20;

/// What changes rarely and others wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Of the last entry applied.
    pub(crate) term: u64,
    /// The first position that must be kept.
    pub(crate) keep_from: Lsn,
}

/// Which positions hold the newest bytes of the journal.
#[derive(Debug, Default)]
struct Volume {
    bytes: u64,
    /// A position and how many bytes there were before it, every `SAMPLE_BYTES`.
    samples: VecDeque<(Lsn, u64)>,
}

impl Volume {
    fn note(&mut self, lsn: Lsn, bytes: u64, retention_bytes: u64) {
        if self.samples.back().is_none_or(|(_, before)| SAMPLE_BYTES <= self.bytes - before) {
            self.samples.push_back((lsn, self.bytes));
        }
        self.bytes += bytes;
        // One sample may lie beyond what is retained: up to there everything may go.
        while self.samples.get(1).is_some_and(|(_, before)| retention_bytes <= self.bytes - before) {
            self.samples.pop_front();
        }
    }

    /// The first of the positions that hold the last `retention_bytes`, or an earlier one.
    fn retained_from(&self) -> Lsn {
        self.samples.front().map_or(Lsn(1), |(lsn, _)| *lsn)
    }
}

struct Inner {
    state: State,
    membership: Membership,
    volume: Volume,
}

/// The state, for everybody who reads it.
pub(crate) struct Machine {
    inner: Mutex<Inner>,
    retention_bytes: u64,
    tail: TailSource,
    log: LogStore,
    status: watch::Sender<Status>,
    progress: watch::Sender<Progress>,
    network: Network,
}

impl Machine {
    /// Looks at the state as of the last entry applied.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.inner.lock().state)
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn status(&self) -> &watch::Sender<Status> {
        &self.status
    }

    pub(crate) fn note_turn(&self, pending: usize, took: Duration) {
        self.log.note_turn(pending, took);
    }

    /// Whether the disk has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.log.has_failed()
    }

    /// The log, as far as its disk is concerned.
    pub(crate) fn log(&self) -> &LogStore {
        &self.log
    }

    /// The log has been trimmed.
    pub(crate) fn trimmed(&self) {
        self.status.send_modify(|status| self.measure(status));
    }

    fn measure(&self, status: &mut Status) {
        self.log.measure(status);
        // Behind a snapshot of another node's, nothing before it counts, also where it is not purged yet.
        status.first = status.first.max(self.tail.first());
    }

    /// Applies entries to the state. Answers what came of each.
    fn apply(&self, entries: &[(RaftEntry, Option<ApplyResponder<Types>>)]) -> Vec<Applied> {
        let mut inner = self.inner.lock();
        let applied = entries.iter().map(|(entry, _)| inner.apply(entry, self.retention_bytes)).collect();
        let members = entries.iter().any(|(entry, _)| matches!(entry.payload, RaftPayload::Membership(_)));
        self.show(&inner, members);
        applied
    }

    /// Tells those who wait how far it is, and who is in the cluster where that may have changed.
    fn show(&self, inner: &Inner, members: bool) {
        let state = &inner.state;
        let trim_point = state.marks().trim_point().unwrap_or(Lsn::ZERO);
        let keep_from = trim_point.next().min(inner.volume.retained_from());
        let keep_from = if Bug::TrimTooFar.is_planted() { state.applied() } else { keep_from };
        let progress = Progress { term: state.term(), keep_from };
        if members {
            self.network.learn(&inner.membership);
        }
        self.progress.send_if_modified(|shown| std::mem::replace(shown, progress) != progress);
        self.status.send_modify(|status| {
            status.applied = state.applied();
            status.revision = state.revision();
            status.compacted = state.compacted();
            status.alarms.clear();
            status.alarms.extend(state.alarms());
            status.routes.clone_from(state.routes());
            if members {
                status.members = membership::members(inner.membership.membership());
            }
            self.measure(status);
        });
    }
}

impl Inner {
    fn apply(&mut self, entry: &RaftEntry, retention_bytes: u64) -> Applied {
        let (at, term) = (lsn(&entry.log_id), term(&entry.log_id));
        self.volume.note(at, entry::weight(entry) as u64 / 2, retention_bytes);
        match &entry.payload {
            RaftPayload::Normal(payload) => return self.state.apply(at, term, &payload.batch),
            RaftPayload::Blank => {}
            RaftPayload::Membership(voters) => {
                self.membership = Membership::new(Some(entry.log_id), voters.clone());
            }
        }
        self.state.skip(at, term);
        Applied::Void
    }

    fn last(&self) -> Option<LogId> {
        let index = self.state.applied().0.checked_sub(1)?;
        Some(LogId::new_term_index(self.state.term(), index))
    }

    fn snapshot(&self) -> Snapshot {
        let meta = SnapshotMeta { last_log_id: self.last(), last_membership: self.membership.clone() };
        Snapshot { meta, snapshot: Bytes::from(self.state.encode()) }
    }
}

/// Where a restarted node begins: before everything, or at its snapshot.
pub(crate) struct Restored {
    state: State,
    membership: Membership,
}

impl Restored {
    /// # Errors
    /// `Corrupt` and `Io`, as of the snapshot.
    pub(crate) fn load(snapshots: &SnapshotStore) -> Result<Restored, Error> {
        match snapshots.load()? {
            None => Ok(Restored { state: State::default(), membership: Membership::default() }),
            Some(snapshot) => {
                let state = State::decode(snapshot.snapshot)?;
                Ok(Restored { state, membership: snapshot.meta.last_membership })
            }
        }
    }

    /// The first position that is not in it.
    pub(crate) fn tail(&self) -> Lsn {
        self.state.applied().next()
    }
}

/// The state machine as Raft drives it.
pub(crate) struct StateMachine {
    machine: Arc<Machine>,
    snapshots: SnapshotStore,
}

impl StateMachine {
    pub(crate) fn new(
        restored: Restored,
        snapshots: SnapshotStore,
        tail: TailSource,
        log: LogStore,
        status: watch::Sender<Status>,
        retention_bytes: u64,
        network: Network,
    ) -> StateMachine {
        assert_eq!(tail.tail(), restored.tail(), "tails go on where the snapshot ends");
        let Restored { state, membership } = restored;
        let inner = Inner { state, membership, volume: Volume::default() };
        let progress = watch::Sender::default();
        let machine =
            Machine { inner: Mutex::new(inner), retention_bytes, tail, log, status, progress, network };
        machine.show(&machine.inner.lock(), true);
        StateMachine { machine: Arc::new(machine), snapshots }
    }

    pub(crate) fn machine(&self) -> Arc<Machine> {
        self.machine.clone()
    }

    fn apply_part(&self, part: &mut Vec<EntryResponder<Types>>) {
        let applied = self.machine.apply(part);
        let entries: Vec<Entry> = part.iter().map(|(entry, _)| entry::committed(entry)).collect();
        self.machine.tail.publish(entries);
        for ((_, responder), applied) in part.drain(..).zip(applied) {
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        let inner = self.machine.inner.lock();
        Ok((inner.last(), inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut part = Vec::new();
        while let Some(entry) = entries.next().await {
            part.push(entry?);
            if part.len() == PART_ENTRIES_MAX {
                self.apply_part(&mut part);
                tokio::task::yield_now().await;
            }
        }
        if !part.is_empty() {
            self.apply_part(&mut part);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let snapshot = self.machine.inner.lock().snapshot();
        SnapshotBuilder { snapshot, snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> Result<(), io::Error> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let state = State::decode(data.clone()).map_err(invalid)?;
        save(self.snapshots.clone(), Snapshot { meta: meta.clone(), snapshot: data }).await?;
        let mut inner = self.machine.inner.lock();
        self.machine.tail.skip_to(state.applied().next());
        *inner = Inner { state, membership: meta.last_membership.clone(), volume: Volume::default() };
        self.machine.show(&inner, true);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.snapshots.load().map_err(io::Error::other)
    }
}

/// A snapshot taken and still to be written.
pub(crate) struct SnapshotBuilder {
    snapshot: Snapshot,
    snapshots: SnapshotStore,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        save(self.snapshots.clone(), self.snapshot.clone()).await?;
        Ok(self.snapshot.clone())
    }
}

/// Beside the runtime's thread, which has more to do than to wait for a disk.
async fn save(snapshots: SnapshotStore, snapshot: Snapshot) -> io::Result<()> {
    machine::spawn_blocking(move || snapshots.save(&snapshot)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::log::Log;
    use crate::machine::Disk;
    use crate::raft::promise::DurablePromise;

    fn state_machine(snapshots: SnapshotStore) -> StateMachine {
        let clock = Arc::new(SystemClock::default());
        let log = Log::on_sim(&Disk::default(), 1 << 20, clock).unwrap();
        let log = LogStore::new(log, DurablePromise::default()).unwrap();
        let restored = Restored::load(&snapshots).unwrap();
        let tail = TailSource::new(Arc::new(log.clone()), restored.tail(), 1 << 20);
        let (status, _) = watch::channel(Status::default());
        StateMachine::new(restored, snapshots, tail, log, status, 1 << 20, Network::Alone)
    }

    /// A leader's snapshot of this position.
    fn received(index: u64) -> (SnapshotMeta, Bytes) {
        let mut state = State::default();
        state.skip(Lsn(index + 1), 3);
        let last_log_id = Some(LogId::new_term_index(3, index));
        (SnapshotMeta { last_log_id, last_membership: Membership::default() }, state.encode().into())
    }

    #[tokio::test]
    async fn a_snapshot_that_was_received_outlives_an_older_one_that_is_still_being_built() {
        let directory = tempfile::tempdir().unwrap();
        for snapshots in [SnapshotStore::in_directory(directory.path()).unwrap(), SnapshotStore::in_memory()]
        {
            let mut machine = state_machine(snapshots.clone());
            let (meta, data) = received(10);
            machine.install_snapshot(&meta, data).await.unwrap();
            let mut older = machine.get_snapshot_builder().await;
            let (meta, data) = received(20);
            machine.install_snapshot(&meta, data).await.unwrap();
            older.build_snapshot().await.unwrap();
            assert_eq!(Restored::load(&snapshots).unwrap().tail(), Lsn(22));
        }
    }

    #[test]
    fn the_newest_bytes_are_retained() {
        let mut volume = Volume::default();
        for lsn in 1..=100 {
            volume.note(Lsn(lsn), SAMPLE_BYTES, 10 * SAMPLE_BYTES);
        }
        assert_eq!(volume.retained_from(), Lsn(91));
    }

    #[test]
    fn what_is_less_than_the_retention_stays() {
        let mut volume = Volume::default();
        (1..=100).for_each(|lsn| volume.note(Lsn(lsn), SAMPLE_BYTES, 200 * SAMPLE_BYTES));
        assert_eq!(volume.retained_from(), Lsn(1));
    }
}
