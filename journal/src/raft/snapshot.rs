//! The state machine's snapshot: one small file, replaced whole.
//!
//!     magic "mstmjsn1" | crc32 of what follows | last applied: term, index | membership's entry: term, index + 1
//!     | length, membership | state ...                              numbers are u64, little endian; the crc a u32
//!
//! It is written beside the old one, made durable and then renamed, so there is always a whole one. It must be
//! durable before the entries it stands for are purged.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::membership;
use super::types::{LogId, Membership, Snapshot, SnapshotMeta, term};
use crate::error::Error;

pub(super) const MAGIC: &[u8; 8] = b"mstmjsn1";
const NAME: &str = "state.snapshot";
const NAME_WHILE_WRITTEN: &str = "state.snapshot.new";

/// Where the snapshot is kept.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotStore {
    Directory(PathBuf),
    /// Of a journal without a disk, or of a test's.
    Memory(Arc<Mutex<Option<Bytes>>>),
}

impl SnapshotStore {
    /// Replaces the snapshot; durable when it returns.
    pub(super) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let bytes = encode(snapshot);
        match self {
            SnapshotStore::Directory(directory) => replace(directory, &bytes),
            SnapshotStore::Memory(kept) => {
                *kept.lock() = Some(Bytes::from(bytes));
                Ok(())
            }
        }
    }

    /// # Errors
    /// `Corrupt` where there is one and it is damaged: the entries it stands for are gone.
    pub(super) fn load(&self) -> Result<Option<Snapshot>, Error> {
        let place = match self {
            SnapshotStore::Directory(directory) => directory.join(NAME).display().to_string(),
            SnapshotStore::Memory(_) => NAME.to_owned(),
        };
        let failed = |error: io::Error| Error::io(format!("cannot read {place}"), &error);
        let Some(bytes) = self.read().map_err(failed)? else { return Ok(None) };
        let damaged = || Error::Corrupt(format!("{place} is damaged: its checksum is wrong"));
        decode(&bytes).map(Some).ok_or_else(damaged)
    }

    fn read(&self) -> io::Result<Option<Bytes>> {
        match self {
            SnapshotStore::Directory(directory) => match std::fs::read(directory.join(NAME)) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            SnapshotStore::Memory(kept) => Ok(kept.lock().clone()),
        }
    }
}

fn replace(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(NAME_WHILE_WRITTEN);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(NAME))?;
    File::open(directory)?.sync_all()
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
        let nodes = BTreeMap::from([(1, Peer::default()), (2, Peer { votes: true, ..Peer::default() })]);
        let voters = membership::Voters::new(vec![[1, 2].into()], nodes).unwrap();
        let last_membership = Membership::new(Some(LogId::new_term_index(0, 0)), voters);
        let meta = SnapshotMeta { last_log_id: Some(LogId::new_term_index(3, 17)), last_membership };
        Snapshot { meta, snapshot: Bytes::from_static(b"state") }
    }

    #[test]
    fn the_last_snapshot_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = SnapshotStore::Directory(directory.path().to_owned());
        assert!(store.load().unwrap().is_none());
        for _ in 0..2 {
            store.save(&snapshot()).unwrap();
        }
        let read = store.load().unwrap().unwrap();
        assert_eq!((read.meta, read.snapshot), (snapshot().meta, snapshot().snapshot));
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
            let store = SnapshotStore::Memory(Arc::new(Mutex::new(Some(Bytes::from(damaged)))));
            assert!(matches!(store.load(), Err(Error::Corrupt(_))), "flipped at {at}");
        }
    }
}
