//! A disk in memory, which fails as it is told to.
//!
//! A crash stops it in the middle of its nth operation: of a write any sectors arrive, in any order; of the names
//! given since the last `sync_directory` any survive; of a file that was still being made any length is on disk. Of a write
//! that fails, or in which the process is killed, the machine may go on to see what has not arrived, as long as it has power.
//! Which ones, a seed decides, so that every run can be repeated. Without faults it is the disk of the ephemeral mode.

mod bits;
mod faults;
mod machine;
mod written;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use self::faults::Faults;
use self::faults::{Fate, Part};
use self::written::Written;
use super::{LogDevice, LogFile};

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// A disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Sim(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    faults: Faults,
    operations: u64,
    crashed: bool,
    /// The process was killed in one of its operations.
    killed: bool,
    /// As the running machine sees them.
    names: BTreeMap<String, Arc<Content>>,
    /// As they are on disk.
    durable: BTreeMap<String, Arc<Content>>,
    changes: Vec<Change>,
    /// Nothing is written until it is let go.
    hangs: bool,
    let_go: Arc<Condvar>,
    /// What a write takes where it has no thread that could wait, and whether it does not end there.
    write_takes: Duration,
    stands_still: bool,
}

enum Change {
    Create(String, Arc<Content>),
    Rename(String, String),
    Remove(String),
}

/// A file's bytes.
struct Content {
    /// Size of the file as the running machine sees it.
    bytes: u64,
    /// Size of the file after a loss of power. A write makes no more of it durable than it needs for itself.
    durable_bytes: AtomicU64,
    written: Mutex<Written>,
}

impl Content {
    fn new(bytes: u64, durable_bytes: u64, written: Written) -> Arc<Content> {
        Arc::new(Content {
            bytes,
            durable_bytes: AtomicU64::new(durable_bytes),
            written: Mutex::new(written),
        })
    }
}

impl Disk {
    fn change(&mut self, change: Change) -> io::Result<()> {
        let error = match self.operate() {
            Fate::Refused(error) => return Err(error),
            Fate::Partly(Part { mut bits, error, .. }) => {
                if bits.coin() {
                    return Err(error);
                }
                Some(error)
            }
            Fate::Done => None,
        };
        apply(&mut self.names, &change);
        self.changes.push(change);
        error.map_or(Ok(()), Err)
    }

    fn bytes(&self) -> u64 {
        self.names.values().map(|content| content.bytes).sum()
    }
}

fn apply(names: &mut BTreeMap<String, Arc<Content>>, change: &Change) {
    match change {
        Change::Create(name, content) => drop(names.insert(name.clone(), Arc::clone(content))),
        Change::Rename(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

impl Sim {
    /// A write's turn, once the disk does not hang.
    fn operate(&self) -> Fate {
        let mut disk = self.0.lock();
        let let_go = disk.let_go.clone();
        let_go.wait_while(&mut disk, |disk| disk.hangs);
        disk.operate()
    }
}

impl LogDevice for Sim {
    fn place(&self) -> String {
        "memory".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let mut disk = self.0.lock();
        if disk.faults.bytes_max.is_some_and(|max| max < disk.bytes() + bytes) {
            return Err(io::Error::from_raw_os_error(28));
        }
        match disk.operate() {
            Fate::Refused(error) => Err(error),
            Fate::Partly(Part { mut bits, error, .. }) => {
                // All of it may have been filled, and not yet synced.
                let filled = if bits.coin() { bytes } else { bits.next() % bytes };
                let content = Content::new(filled, bits.next() % (filled + 1), Written::default());
                let part = Change::Create(name.into(), content);
                apply(&mut disk.names, &part);
                disk.changes.push(part);
                Err(error)
            }
            Fate::Done => {
                let content = Content::new(bytes, bytes, Written::default());
                let whole = Change::Create(name.into(), Arc::clone(&content));
                apply(&mut disk.names, &whole);
                disk.changes.push(whole);
                drop(disk);
                Ok(Box::new(SimFile { disk: self.clone(), content }))
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let disk = self.0.lock();
        let content = disk.names.get(name).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.lock().change(Change::Rename(from.into(), to.into()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().change(Change::Remove(name.into()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        match disk.operate() {
            Fate::Refused(error) | Fate::Partly(Part { error, .. }) => Err(error),
            Fate::Done => {
                disk.durable = disk.names.clone();
                disk.changes.clear();
                Ok(())
            }
        }
    }
}

struct SimFile {
    disk: Sim,
    content: Arc<Content>,
}

impl LogFile for SimFile {
    fn bytes(&self) -> u64 {
        self.content.bytes
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        assert!((offset + bytes.len()) as u64 <= self.content.bytes, "files keep their size");
        let fate = self.disk.operate();
        let mut written = self.content.written.lock();
        if !matches!(fate, Fate::Refused(_)) {
            written.note(offset..offset + bytes.len());
        }
        match fate {
            Fate::Refused(error) => Err(error),
            Fate::Partly(Part { mut bits, error, is_in_order }) => {
                let mut sectors: Vec<_> =
                    (offset..).step_by(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)).collect();
                if is_in_order {
                    let seen = bits.next() % (sectors.len() as u64 + 1);
                    sectors.truncate(usize::try_from(seen).unwrap_or(usize::MAX));
                }
                let arrived: Vec<_> = sectors.into_iter().map(|sector| (bits.coin(), sector)).collect();
                let cached = bits.coin() || is_in_order;
                for (has_arrived, (place, sector)) in arrived {
                    match has_arrived {
                        true => written.put(place, sector),
                        false if cached => written.cache(place, sector),
                        false => {}
                    }
                }
                Err(error)
            }
            Fate::Done => {
                written.put(offset, bytes);
                let end = (offset + bytes.len()) as u64;
                self.content.durable_bytes.fetch_max(end, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        if self.content.bytes < (offset + buffer.len()) as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let written = self.content.written.lock();
        let there = written.bytes.get(offset..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        buffer[length..].fill(0);
        Ok(())
    }
}

#[cfg(test)]
impl Sim {
    pub(crate) fn with(faults: Faults) -> Sim {
        let sim = Sim::default();
        sim.0.lock().faults = faults;
        sim
    }

    /// From here on whoever writes waits until what this answers is dropped.
    pub(crate) fn hang(&self) -> Hang {
        self.0.lock().hangs = true;
        Hang(self.clone())
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let content = Arc::clone(&self.0.lock().names[name]);
        let mut bytes = content.written.lock().bytes.clone();
        bytes.resize(usize::try_from(content.bytes).unwrap(), 0);
        bytes
    }

    /// Puts other bytes, perhaps fewer or more, in the place of a file.
    pub(crate) fn replace(&self, name: &str, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        let content = Content::new(length, length, Written::of(bytes));
        let mut disk = self.0.lock();
        disk.names.insert(name.into(), Arc::clone(&content));
        disk.durable.insert(name.into(), content);
    }
}

/// A disk hangs as long as it is held.
#[cfg(test)]
pub(crate) struct Hang(Sim);

#[cfg(test)]
impl Drop for Hang {
    fn drop(&mut self) {
        let mut disk = self.0.0.lock();
        disk.hangs = false;
        disk.let_go.notify_all();
    }
}
