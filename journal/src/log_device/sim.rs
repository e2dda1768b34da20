//! A disk in memory, which fails as it is told to.
//!
//! A crash stops it in the middle of its nth operation: of a write any sectors arrive, in any order; of the names
//! given since the last `sync_directory` any survive. Of a write that fails, the machine may go on to see what has not
//! arrived, as long as it has power. Which ones, a seed decides, so that every run can be repeated. Without faults it is
//! the disk of the ephemeral mode.

mod bits;
mod written;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::bits::Bits;
use self::written::Written;
use super::{LogDevice, LogFile, Mapping};

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when. Operations are counted from 0: each create, write, rename, remove and sync.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub seed: u64,
    /// The machine stops in this operation.
    pub crash_at: Option<u64>,
    /// This operation reports an error, having done part of its work. The next one succeeds.
    pub fail_at: Option<u64>,
    /// The disk holds no more than this.
    pub bytes_max: Option<u64>,
}

/// A disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Sim(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    faults: Faults,
    operations: u64,
    crashed: bool,
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
    bytes: u64,
    written: Mutex<Written>,
}

/// How an operation goes.
enum Fate {
    Done,
    /// As far as these random bits say.
    Partly(Bits, io::Error),
    Refused(io::Error),
}

impl Disk {
    fn operate(&mut self) -> Fate {
        let operation = self.operations;
        self.operations += 1;
        if self.crashed {
            return Fate::Refused(io::Error::other("the machine has stopped"));
        }
        let bits = Bits(self.faults.seed ^ operation.wrapping_mul(0xa076_1d64_78bd_642f));
        if self.faults.crash_at == Some(operation) {
            self.crashed = true;
            return Fate::Partly(bits, io::Error::other("the machine has stopped"));
        }
        if self.faults.fail_at == Some(operation) {
            return Fate::Partly(bits, io::Error::from_raw_os_error(5));
        }
        Fate::Done
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let error = match self.operate() {
            Fate::Refused(error) => return Err(error),
            Fate::Partly(mut bits, error) => {
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
        let content = |bytes| Arc::new(Content { bytes, written: Mutex::default() });
        match disk.operate() {
            Fate::Refused(error) => Err(error),
            Fate::Partly(mut bits, error) => {
                let part = Change::Create(name.into(), content(bits.next() % bytes));
                apply(&mut disk.names, &part);
                disk.changes.push(part);
                Err(error)
            }
            Fate::Done => {
                let content = content(bytes);
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
            Fate::Refused(error) | Fate::Partly(_, error) => Err(error),
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
            Fate::Partly(mut bits, error) => {
                let sectors = (offset..).step_by(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES));
                let arrived = sectors.map(|sector| (bits.coin(), sector)).collect::<Vec<_>>();
                let cached = bits.coin();
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

    fn map(&self) -> io::Result<Option<Mapping>> {
        Ok(None)
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
        let content =
            Arc::new(Content { bytes: bytes.len() as u64, written: Mutex::new(Written::of(bytes)) });
        let mut disk = self.0.lock();
        disk.names.insert(name.into(), Arc::clone(&content));
        disk.durable.insert(name.into(), content);
    }
}

/// What a simulation does to it.
impl Sim {
    /// From now on this goes wrong.
    pub fn suffer(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// From now on a write takes so long; `None`: it hangs.
    pub fn slow(&self, write_takes: Option<Duration>) {
        let mut disk = self.0.lock();
        disk.stands_still = write_takes.is_none();
        disk.write_takes = write_takes.unwrap_or_default();
    }

    /// What a write takes now; `None` while it hangs.
    pub(crate) fn write_takes(&self) -> Option<Duration> {
        let disk = self.0.lock();
        (!disk.stands_still).then_some(disk.write_takes)
    }

    /// Changes a bit of what was written and not just now, if the seed hits one. Whoever reads it finds another.
    pub fn rot(&self, seed: u64) {
        let mut bits = Bits(seed);
        let disk = self.0.lock();
        let files = disk.names.len().max(1) as u64;
        let nth = usize::try_from(bits.next() % files).unwrap_or(0);
        if let Some(content) = disk.names.values().nth(nth) {
            content.written.lock().rot(bits.next(), bits.next());
        }
    }

    /// Whether a bit is not what was written.
    #[must_use]
    pub fn is_rotten(&self) -> bool {
        self.0.lock().names.values().any(|content| content.written.lock().is_rotten())
    }

    /// Every bit is again what was written.
    pub fn mend(&self) {
        self.0.lock().names.values().for_each(|content| content.written.lock().mend());
    }

    /// Whether the machine has stopped in one of its operations.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// How much it has been asked to do so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Stops the machine now, if it has not stopped, and answers the disk as the next start finds it.
    #[must_use]
    pub fn restart(&self, faults: Faults) -> Sim {
        let mut disk = self.0.lock();
        disk.crashed = true;
        let mut bits = Bits(disk.faults.seed ^ disk.operations ^ 0xd15c);
        let mut names = disk.durable.clone();
        for change in &disk.changes {
            if bits.coin() {
                apply(&mut names, change);
            }
        }
        let copy = |content: &Arc<Content>| {
            let mut written = content.written.lock().clone();
            written.lose_cache();
            Arc::new(Content { bytes: content.bytes, written: Mutex::new(written) })
        };
        let names: BTreeMap<_, _> =
            names.iter().map(|(name, content)| (name.clone(), copy(content))).collect();
        let durable = names.clone();
        let (write_takes, stands_still) = (disk.write_takes, disk.stands_still);
        Sim(Arc::new(Mutex::new(Disk {
            faults,
            names,
            durable,
            write_takes,
            stands_still,
            ..Disk::default()
        })))
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
