//! The set of segments: the next one made ready ahead, the oldest made into the next.
//!
//!     spare-1.new ──fill, sync, rename──► spare-1 ──header, state, rename──► 00000007.segment ──purge──► spare-2 ──► ...
//!
//! A spare is a file of zeros or of stale blocks, of full size and on disk: writing over it changes no metadata.
//! A helper thread keeps one ready, after a restart one that was there before; what is recycled is taken first.
//!
//! A file is called a spare only once its bytes and its size are on disk. A start that finds a file of full size knows
//! nothing of that: the process before may have been killed between fill and sync. So it goes by the name.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};
use std::thread::JoinHandle;

use crate::error::Error;
use crate::log_device::{LogDevice, LogFile};
use crate::segment::{self, Header, Segment};

/// Recycled files that are kept. More are removed.
const SPARES_MAX: usize = 2;

/// Prefix of a spare's name.
const SPARE: &str = "spare-";
/// Suffix of the name of a file that becomes a spare once it is filled and synced.
const UNFINISHED: &str = ".new";

/// A file that waits to become a segment.
struct Spare {
    name: String,
    file: Box<dyn LogFile>,
}

/// Makes segments and takes them back.
pub(crate) struct Segments {
    device: Arc<dyn LogDevice>,
    segment_bytes: u64,
    spares: Vec<Spare>,
    /// Numbers the spares' names.
    named: Arc<AtomicU64>,
    helper: Option<Helper>,
    /// What segments and spares take.
    disk_bytes: Arc<AtomicU64>,
}

impl Segments {
    /// Takes over the spares that are there. A file that was still being made is removed.
    pub(crate) fn new(device: Arc<dyn LogDevice>, segment_bytes: u64) -> Result<Segments, Error> {
        let mut segments = Segments {
            device,
            segment_bytes,
            spares: Vec::new(),
            named: Arc::default(),
            helper: None,
            disk_bytes: Arc::default(),
        };
        segments.adopt().map_err(|error| segments.failed("read the spare segments", &error))?;
        Ok(segments)
    }

    fn adopt(&mut self) -> io::Result<()> {
        let device = Arc::clone(&self.device);
        for name in device.list()? {
            let Some(digits) = name.strip_prefix(SPARE) else { continue };
            if digits.ends_with(UNFINISHED) {
                device.remove(&name)?;
                continue;
            }
            self.named.fetch_max(digits.parse().unwrap_or(0), Ordering::Relaxed);
            let file = device.open(&name)?;
            self.keep(Spare { name, file })?;
        }
        Ok(())
    }

    /// Starts to make spares ahead, on a thread of its own.
    pub(crate) fn make_ahead(&mut self) -> Result<(), Error> {
        let stock = Stock {
            device: Arc::clone(&self.device),
            bytes: self.segment_bytes,
            named: Arc::clone(&self.named),
            disk_bytes: Arc::clone(&self.disk_bytes),
            left: self.spares.pop(),
        };
        self.helper = Some(Helper::start(stock).map_err(|error| self.failed("start a thread for", &error))?);
        Ok(())
    }

    /// The size of a segment that has room for `needed` bytes: its own, if that is more than the usual.
    pub(crate) fn bytes_for(&self, needed: usize) -> u64 {
        self.segment_bytes.max(needed as u64)
    }

    /// A new segment that begins with `start`. When this returns, all of it is durable, also its name.
    pub(crate) fn create(&mut self, header: Header, start: &[u8]) -> Result<Arc<Segment>, Error> {
        let name = segment::name(header.segment);
        let spare = self.take(header.bytes).map_err(|error| self.failed("make room for", &error))?;
        let place = |error: io::Error| self.failed("start", &error);
        spare.file.write_durable(0, start).map_err(place)?;
        self.device.rename(&spare.name, &name).map_err(place)?;
        self.device.sync_directory().map_err(place)?;
        self.count(header.bytes);
        Ok(Arc::new(Segment::new(header, format!("{}/{name}", self.device.place()), spare.file)))
    }

    fn take(&mut self, bytes: u64) -> io::Result<Spare> {
        if bytes != self.segment_bytes {
            return create(&*self.device, &self.named, bytes);
        }
        // The helper may have failed long ago, on a disk that has room again.
        let made = || self.helper.as_ref()?.ready.recv().ok()?.ok();
        match self.spares.pop().or_else(made) {
            Some(spare) => {
                self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
                Ok(spare)
            }
            None => create(&*self.device, &self.named, bytes),
        }
    }

    /// Makes spares of segments that hold nothing any more. What somebody still reads is removed instead: its
    /// content stays as it is until the last reader lets go.
    pub(crate) fn recycle(&mut self, segments: Vec<Arc<Segment>>) -> Result<(), Error> {
        for segment in segments {
            let (name, path) = (segment::name(segment.header.segment), segment.path.clone());
            self.disk_bytes.fetch_sub(segment.header.bytes, Ordering::Relaxed);
            let file = Arc::into_inner(segment).map(Segment::into_file);
            self.retire(&name, file).map_err(|error| Error::io(format!("cannot recycle {path}"), &error))?;
        }
        Ok(())
    }

    fn retire(&mut self, name: &str, file: Option<Box<dyn LogFile>>) -> io::Result<()> {
        let Some(file) = file else { return self.device.remove(name) };
        let spare = Spare { name: spare_name(&self.named), file };
        self.device.rename(name, &spare.name)?;
        // Before it is written again: or else a crash could bring the old name back, with new content.
        self.device.sync_directory()?;
        self.keep(spare)
    }

    /// A file that is named as a segment below those in use, left over from a recycling that was cut short.
    pub(crate) fn discard(&mut self, name: &str) -> io::Result<()> {
        self.device.remove(name)
    }

    fn keep(&mut self, spare: Spare) -> io::Result<()> {
        if spare.file.bytes() != self.segment_bytes || SPARES_MAX <= self.spares.len() {
            return self.device.remove(&spare.name);
        }
        self.count(self.segment_bytes);
        self.spares.push(spare);
        Ok(())
    }

    /// Counts a file that was there before.
    pub(crate) fn count(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What segments and spares take; readable from any thread.
    pub(crate) fn disk_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.disk_bytes)
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        let (bytes, place) = (self.segment_bytes, self.device.place());
        Error::io(format!("cannot {what} a journal segment of {bytes} bytes in {place}"), error)
    }
}

fn spare_name(named: &AtomicU64) -> String {
    format!("{SPARE}{}", named.fetch_add(1, Ordering::Relaxed) + 1)
}

fn create(device: &dyn LogDevice, named: &AtomicU64, bytes: u64) -> io::Result<Spare> {
    let name = spare_name(named);
    let unfinished = format!("{name}{UNFINISHED}");
    let file = device.create(&unfinished, bytes)?;
    device.rename(&unfinished, &name)?;
    Ok(Spare { name, file })
}

/// A thread that always has one spare in its hands.
struct Helper {
    /// No room in between: the thread waits until its spare is taken, and then makes the next.
    ready: Receiver<io::Result<Spare>>,
    thread: JoinHandle<()>,
}

/// Where spares come from.
struct Stock {
    device: Arc<dyn LogDevice>,
    bytes: u64,
    named: Arc<AtomicU64>,
    disk_bytes: Arc<AtomicU64>,
    /// One that was there before, and is counted.
    left: Option<Spare>,
}

impl Stock {
    fn next(&mut self) -> io::Result<Spare> {
        if let Some(left) = self.left.take() {
            return Ok(left);
        }
        let spare = create(&*self.device, &self.named, self.bytes)?;
        self.disk_bytes.fetch_add(self.bytes, Ordering::Relaxed);
        Ok(spare)
    }
}

impl Helper {
    fn start(mut stock: Stock) -> io::Result<Helper> {
        let (sender, ready) = sync_channel(0);
        let thread =
            std::thread::Builder::new().name("segments".into()).spawn(move || make(&mut stock, &sender))?;
        Ok(Helper { ready, thread })
    }
}

fn make(stock: &mut Stock, ready: &SyncSender<io::Result<Spare>>) {
    loop {
        let spare = stock.next();
        if let Err(error) = &spare {
            tracing::warn!(%error, place = stock.device.place(), "no room for the next journal segment");
        }
        if ready.send(spare).is_err() {
            return;
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        let Some(Helper { ready, thread }) = self.helper.take() else { return };
        drop(ready);
        // It can only have panicked, and has said so.
        let _ = thread.join();
    }
}
