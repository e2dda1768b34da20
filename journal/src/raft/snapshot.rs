//! The state machine's snapshot: one small file, replaced whole.
//!
//!     magic "mstmjsn1" | crc32 of what follows | last applied: term, index | membership's entry: term, index + 1
//!     | length, membership | state ...                              numbers are u64, little endian; the crc a u32
//!
//! It is written beside the old one, made durable and then renamed, so there is always a whole one. It must be
//! durable before the entries it stands for are purged.
//!
//!     own build  at 10 ── written ─────────────────────── is older: removed
//!     received   at 20 ──────── written ── gets the name            the log is purged up to 20
//!
//! A node's own snapshot and one that it receives can be written at the same time, and either may be the last to end.
//! Each has a temporary file of its own, and gets the name only where it is newer than the one that has it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::membership;
use super::types::{LogId, Membership, Snapshot, SnapshotMeta, term};
use crate::error::Error;

pub(super) const MAGIC: &[u8; 8] = b"mstmjsn1";
const NAME: &str = "state.snapshot";
/// Prefix of the temporary names. Earlier versions wrote to this name alone.
const TEMPORARY: &str = "state.snapshot.new";

/// Place of the snapshot. Clones are the same place.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    medium: Medium,
    /// Position of the snapshot that has the name. Held while another one gets it.
    newest: Mutex<Option<LogId>>,
    /// Numbers the temporary files.
    temporaries: AtomicU64,
}

#[derive(Debug)]
enum Medium {
    Directory(PathBuf),
    /// Of a journal without a disk, or of a test.
    Memory(Mutex<Option<Bytes>>),
}

/// A snapshot that is durable and does not have its name yet.
struct Written {
    last: Option<LogId>,
    content: Content,
}

enum Content {
    File(PathBuf),
    Bytes(Bytes),
}

impl SnapshotStore {
    /// The snapshot of a directory that nobody else uses. Removes what earlier saves have left in it.
    ///
    /// # Errors
    /// `Io`: the directory cannot be read, or a file in it cannot be removed.
    pub(crate) fn in_directory(path: &Path) -> Result<SnapshotStore, Error> {
        let failed = |error: io::Error| {
            Error::io(format!("cannot remove temporary files from {}", path.display()), &error)
        };
        remove_temporaries(path).map_err(failed)?;
        Ok(SnapshotStore::on(Medium::Directory(path.to_owned())))
    }

    pub(crate) fn in_memory() -> SnapshotStore {
        SnapshotStore::on(Medium::Memory(Mutex::default()))
    }

    fn on(medium: Medium) -> SnapshotStore {
        let (newest, temporaries) = Default::default();
        SnapshotStore { shared: Arc::new(Shared { medium, newest, temporaries }) }
    }

    /// Replaces the snapshot unless the one that is kept is as new; durable when it returns.
    pub(super) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let written = self.write(snapshot)?;
        self.name(written)
    }

    fn write(&self, snapshot: &Snapshot) -> io::Result<Written> {
        let bytes = encode(snapshot);
        let content = match &self.shared.medium {
            Medium::Memory(_) => Content::Bytes(Bytes::from(bytes)),
            Medium::Directory(directory) => {
                let number = self.shared.temporaries.fetch_add(1, Ordering::Relaxed);
                let path = directory.join(format!("{TEMPORARY}.{number}"));
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                Content::File(path)
            }
        };
        Ok(Written { last: snapshot.meta.last_log_id, content })
    }

    fn name(&self, Written { last, content }: Written) -> io::Result<()> {
        let mut newest = self.shared.newest.lock();
        let is_newer = *newest < last;
        match (&self.shared.medium, content) {
            (Medium::Directory(directory), Content::File(path)) if is_newer => {
                std::fs::rename(path, directory.join(NAME))?;
                File::open(directory)?.sync_all()?;
            }
            (Medium::Memory(kept), Content::Bytes(bytes)) if is_newer => *kept.lock() = Some(bytes),
            (_, Content::File(path)) => std::fs::remove_file(path)?,
            (_, Content::Bytes(_)) => {}
        }
        *newest = (*newest).max(last);
        Ok(())
    }

    /// # Errors
    /// `Corrupt` where there is one and it is damaged: the entries it stands for are gone.
    pub(super) fn load(&self) -> Result<Option<Snapshot>, Error> {
        let place = match &self.shared.medium {
            Medium::Directory(directory) => directory.join(NAME).display().to_string(),
            Medium::Memory(_) => NAME.to_owned(),
        };
        let failed = |error: io::Error| Error::io(format!("cannot read {place}"), &error);
        let Some(bytes) = self.read().map_err(failed)? else { return Ok(None) };
        let damaged = || Error::Corrupt(format!("{place} is damaged: its checksum is wrong"));
        let snapshot = decode(&bytes).ok_or_else(damaged)?;
        let mut newest = self.shared.newest.lock();
        *newest = (*newest).max(snapshot.meta.last_log_id);
        Ok(Some(snapshot))
    }

    fn read(&self) -> io::Result<Option<Bytes>> {
        match &self.shared.medium {
            Medium::Directory(directory) => match std::fs::read(directory.join(NAME)) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Medium::Memory(kept) => Ok(kept.lock().clone()),
        }
    }
}

fn remove_temporaries(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let last = snapshot.meta.last_log_id.expect("a snapshot is of something applied");
    let members = *snapshot.meta.last_membership.log_id();
    let mut body = Vec::new();
    for number in
        [term(&last), last.index(), members.map_or(0, |id| term(&id)), members.map_or(0, |id| id.index() + 1)]
    {
        body.extend_from_slice(&number.to_le_bytes());
    }
    let mut voters = Vec::new();
    membership::encode(snapshot.meta.last_membership.membership(), &mut voters);
    body.extend_from_slice(&(voters.len() as u64).to_le_bytes());
    body.extend_from_slice(&voters);
    body.extend_from_slice(&snapshot.snapshot);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

pub(super) fn decode(bytes: &Bytes) -> Option<Snapshot> {
    let (crc, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let number = |at: usize| body.get(at * 8..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    // Positions count from one, and there is a boundary behind the last.
    let log_id = |term, index: u64| index.checked_add(2).map(|_| LogId::new_term_index(term, index));
    let last = log_id(number(0)?, number(1)?)?;
    let members = match number(3)?.checked_sub(1) {
        Some(index) => Some(log_id(number(2)?, index)?),
        None => None,
    };
    let voters_end = 40_usize.checked_add(usize::try_from(number(4)?).ok()?)?;
    let voters = membership::decode(body.get(40..voters_end)?)?;
    let last_membership = Membership::new(members, voters);
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership };
    Some(Snapshot { meta, snapshot: bytes.slice_ref(&body[voters_end..]) })
}

#[cfg(test)]
mod tests {
    use super::super::peer::Peer;
    use super::*;
    use std::collections::BTreeMap;

    fn snapshot() -> Snapshot {
        snapshot_at(17)
    }

    fn snapshot_at(index: u64) -> Snapshot {
        let nodes = BTreeMap::from([(1, Peer::default()), (2, Peer { votes: true, ..Peer::default() })]);
        let voters = membership::Voters::new(vec![[1, 2].into()], nodes).unwrap();
        let last_membership = Membership::new(Some(LogId::new_term_index(0, 0)), voters);
        let meta = SnapshotMeta { last_log_id: Some(LogId::new_term_index(3, index)), last_membership };
        Snapshot { meta, snapshot: Bytes::from_static(b"state") }
    }

    #[test]
    fn the_last_snapshot_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = SnapshotStore::in_directory(directory.path()).unwrap();
        assert!(store.load().unwrap().is_none());
        for _ in 0..2 {
            store.save(&snapshot()).unwrap();
        }
        let read = store.load().unwrap().unwrap();
        assert_eq!((read.meta, read.snapshot), (snapshot().meta, snapshot().snapshot));
    }

    fn position(store: &SnapshotStore) -> u64 {
        store.load().unwrap().unwrap().meta.last_log_id.unwrap().index()
    }

    #[test]
    fn an_older_snapshot_that_is_written_last_replaces_no_newer_one() {
        let directory = tempfile::tempdir().unwrap();
        for store in [SnapshotStore::in_directory(directory.path()).unwrap(), SnapshotStore::in_memory()] {
            let older = store.write(&snapshot_at(10)).unwrap();
            store.save(&snapshot_at(20)).unwrap();
            store.name(older).unwrap();
            assert_eq!(position(&store), 20);
        }
        let store = SnapshotStore::in_directory(directory.path()).unwrap();
        assert_eq!(position(&store), 20);
        store.save(&snapshot_at(15)).unwrap();
        assert_eq!(position(&store), 20, "after a restart, too");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn two_snapshots_that_are_written_at_once_do_not_mix() {
        let directory = tempfile::tempdir().unwrap();
        let store = SnapshotStore::in_directory(directory.path()).unwrap();
        let (older, newer) = (store.write(&snapshot_at(10)).unwrap(), store.write(&snapshot_at(20)).unwrap());
        store.name(older).unwrap();
        assert_eq!(position(&store), 10);
        store.name(newer).unwrap();
        assert_eq!(position(&store), 20);
    }

    #[test]
    fn a_start_removes_temporary_files() {
        let directory = tempfile::tempdir().unwrap();
        for name in [TEMPORARY, "state.snapshot.new.7", NAME, "cluster.new"] {
            std::fs::write(directory.path().join(name), "left").unwrap();
        }
        SnapshotStore::in_directory(directory.path()).unwrap();
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["cluster.new", NAME]);
    }

    #[test]
    fn a_snapshot_behind_the_last_position_is_refused() {
        let body = &encode(&snapshot())[MAGIC.len() + 4..];
        let read = |place: usize, number: u64| {
            let mut body = body.to_vec();
            body[place * 8..][..8].copy_from_slice(&number.to_le_bytes());
            decode(&Bytes::from([&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat()))
        };
        for (place, last) in [(1, u64::MAX - 2), (3, u64::MAX - 1)] {
            assert!(read(place, last).is_some());
            assert!(read(place, last + 1).is_none());
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let whole = encode(&snapshot());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let store = SnapshotStore::on(Medium::Memory(Mutex::new(Some(Bytes::from(damaged)))));
            assert!(matches!(store.load(), Err(Error::Corrupt(_))), "flipped at {at}");
        }
    }
}
