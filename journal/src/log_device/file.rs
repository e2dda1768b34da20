//! A real directory: each write returns when it is durable.
//!
//! `pwritev2` with `RWF_DSYNC` is one system call for write and sync. Kernels and file systems without it get
//! `pwrite` and `fdatasync`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{LogDevice, LogFile};

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 1 << 20;

/// When a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// When it is on disk.
    Always,
    /// When the system has taken it: not durable, whatever the names of the calls say.
    Never,
}

/// The `sync` device.
pub(crate) struct Directory {
    path: PathBuf,
    sync: Sync,
    /// Whether `RWF_DSYNC` works here; found out by the first write.
    one_call: Arc<AtomicBool>,
}

impl Directory {
    /// The directory must be there, and locked by the caller.
    pub(crate) fn new(path: PathBuf, sync: Sync) -> Directory {
        let one_call = Arc::new(AtomicBool::new(cfg!(target_os = "linux") && sync == Sync::Always));
        Directory { path, sync, one_call }
    }

    fn file(&self, file: File) -> io::Result<Box<dyn LogFile>> {
        let bytes = file.metadata()?.len();
        Ok(Box::new(DiskFile { file, bytes, sync: self.sync, one_call: Arc::clone(&self.one_call) }))
    }
}

impl LogDevice for Directory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let path = self.path.join(name);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        match fill(&mut file, bytes).and_then(|()| self.sync.all(&file)) {
            Ok(()) => self.file(file),
            Err(error) => {
                // What was taken is needed elsewhere. The first error is the one that tells why.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.file(OpenOptions::new().read(true).write(true).open(self.path.join(name))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.sync.all(&File::open(&self.path)?)
    }
}

impl Sync {
    fn all(self, file: &File) -> io::Result<()> {
        if self == Sync::Never { Ok(()) } else { file.sync_all() }
    }
}

fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = usize::try_from(left).map_or(ZEROS_BYTES, |left| left.min(ZEROS_BYTES));
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

struct DiskFile {
    file: File,
    bytes: u64,
    sync: Sync,
    one_call: Arc<AtomicBool>,
}

impl LogFile for DiskFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.one_call.load(Ordering::Relaxed) {
            match write_and_sync(&self.file, offset, bytes) {
                // Refused before anything was written, so this is no failed sync.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.one_call.store(false, Ordering::Relaxed);
                }
                outcome => return outcome,
            }
        }
        self.file.write_all_at(bytes, offset)?;
        if self.sync == Sync::Never { Ok(()) } else { self.file.sync_data() }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(target_os = "linux")]
fn write_and_sync(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};
    while !bytes.is_empty() {
        match pwritev2(file, &[io::IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = &bytes[written..];
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn write_and_sync(_file: &File, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_either_way_is_read() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let syncs = [(Sync::Always, cfg!(target_os = "linux")), (Sync::Always, false), (Sync::Never, false)];
        for (sync, one_call) in syncs {
            let device = Directory::new(scratch.path().to_owned(), sync);
            device.one_call.store(one_call, Ordering::Relaxed);
            let file = device.create("file", 8_192).unwrap();
            file.write_durable(4_096, &[7; 100]).unwrap();
            let file = device.open("file").unwrap();
            assert_eq!(file.bytes(), 8_192);
            let mut read = vec![9; 8_192];
            file.read(0, &mut read).unwrap();
            let mut expected = vec![0; 8_192];
            expected[4_096..4_196].fill(7);
            assert_eq!(read, expected);
        }
    }
}
