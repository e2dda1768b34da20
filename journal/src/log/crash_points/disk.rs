//! A disk that remembers what it was asked, so that it can be stopped anywhere afterwards.
//!
//!     asked     create  write  rename  sync  write  write ...
//!     a point                          ^ the disk as it was, what was asked of it, and what had been promised

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::log_device::{LogDevice, LogFile};

/// Places in the history of a log.
#[derive(Default)]
pub(super) struct Progress {
    /// What was told to be durable.
    pub(super) acknowledged: AtomicUsize,
    pub(super) asked: AtomicUsize,
}

impl Progress {
    pub(super) fn now(&self) -> (usize, usize) {
        (self.acknowledged.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed))
    }
}

/// Names and files. A file's name may be another one after a crash, until the directory is synced.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pub(super) changes: Vec<Change>,
    pub(super) files: Vec<Arc<Vec<u8>>>,
}

#[derive(Clone)]
pub(super) enum Change {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Disk {
    /// The names after a crash in which those changes survived whose bit is set.
    pub(super) fn names_after(&self, survivors: usize) -> BTreeMap<String, usize> {
        let mut names = self.durable.clone();
        for (place, change) in self.changes.iter().enumerate() {
            if survivors >> place & 1 == 1 {
                apply(&mut names, change);
            }
        }
        names
    }

    /// As a start finds it, everything on it durable.
    pub(super) fn settled(&self, names: BTreeMap<String, usize>) -> Disk {
        Disk { durable: names.clone(), names, changes: Vec::new(), files: self.files.clone() }
    }

    pub(super) fn with_file(&self, file: usize, bytes: Vec<u8>) -> Disk {
        let mut disk = self.clone();
        disk.files[file] = Arc::new(bytes);
        disk
    }

    /// Those with a name, and what is in them.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&str, &Arc<Vec<u8>>)> {
        self.names.iter().map(|(name, &file)| (name.as_str(), &self.files[file]))
    }

    pub(super) fn create(&mut self, name: &str, content: Vec<u8>) -> usize {
        self.files.push(Arc::new(content));
        let file = self.files.len() - 1;
        self.change(Change::Create(name.into(), file));
        file
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Create(name, file) => drop(names.insert(name.clone(), *file)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

#[derive(Clone)]
pub(super) enum Asked {
    Create { name: String, bytes: usize },
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Rename(String, String),
    Remove(String),
    Sync,
}

/// A moment at which the machine can stop.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) before: Disk,
    pub(super) asked_for: Asked,
    /// Places in the history: what is found must be one of them, or one between.
    pub(super) acknowledged: usize,
    pub(super) asked: usize,
}

/// The device. Clones are the same disk.
#[derive(Clone)]
pub(super) struct Traced {
    inner: Arc<Mutex<Inner>>,
    progress: Arc<Progress>,
}

struct Inner {
    disk: Disk,
    points: Vec<Point>,
}

impl Traced {
    pub(super) fn new(disk: Disk, progress: Arc<Progress>) -> Traced {
        Traced { inner: Arc::new(Mutex::new(Inner { disk, points: Vec::new() })), progress }
    }

    pub(super) fn disk(&self) -> Disk {
        self.inner.lock().disk.clone()
    }

    /// What was asked since the last time.
    pub(super) fn take_points(&self) -> Vec<Point> {
        std::mem::take(&mut self.inner.lock().points)
    }

    fn ask(&self, asked_for: Asked, carry_out: impl FnOnce(&mut Disk)) {
        let mut inner = self.inner.lock();
        let (acknowledged, asked) = self.progress.now();
        let before = inner.disk.clone();
        inner.points.push(Point { before, asked_for, acknowledged, asked });
        carry_out(&mut inner.disk);
    }
}

impl LogDevice for Traced {
    fn place(&self) -> String {
        "memory".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner.lock().disk.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let bytes = usize::try_from(bytes).expect("a segment is small");
        let mut file = 0;
        self.ask(Asked::Create { name: name.into(), bytes }, |disk| {
            file = disk.create(name, vec![0; bytes]);
        });
        Ok(Box::new(TracedFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let file = *self.inner.lock().disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(TracedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let change = Change::Rename(from.into(), to.into());
        self.ask(Asked::Rename(from.into(), to.into()), |disk| disk.change(change));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.ask(Asked::Remove(name.into()), |disk| disk.change(Change::Remove(name.into())));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.ask(Asked::Sync, |disk| *disk = disk.settled(disk.names.clone()));
        Ok(())
    }
}

struct TracedFile {
    disk: Traced,
    file: usize,
}

impl LogFile for TracedFile {
    fn bytes(&self) -> u64 {
        self.disk.inner.lock().disk.files[self.file].len() as u64
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (file, offset) = (self.file, usize::try_from(offset).expect("a segment is small"));
        self.disk.ask(Asked::Write { file, offset, bytes: bytes.into() }, |disk| {
            Arc::make_mut(&mut disk.files[file])[offset..offset + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("a segment is small");
        let content = Arc::clone(&self.disk.inner.lock().disk.files[self.file]);
        let there = content.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(there);
        Ok(())
    }
}
