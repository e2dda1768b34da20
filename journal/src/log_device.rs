//! What the log asks of a disk, and the two bodies that answer.
//!
//!     LogDevice   a directory: list, create (zero-filled), open, rename, remove, sync_directory
//!     LogFile     a file of fixed size: write_durable, read
//!
//! `file` is a real directory, written by one call that returns when the bytes are durable. `sim` is a disk in
//! memory that loses, tears and flips what a real one might, from a seed; without faults it serves the ephemeral
//! mode. A body over io_uring has its place beside them: it needs nothing else of the log.
//!
//! Nothing is mapped into memory: a media error below a mapping is a signal, which names no file and ends the process.

use std::io;

pub(crate) mod file;
pub(crate) mod sim;

/// A directory of the log. Names are plain file names.
pub(crate) trait LogDevice: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file of `bytes` zeros that are on disk, so that overwriting them changes no metadata. Its name may
    /// still be lost.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn LogFile>>;
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Replaces what had the new name. Durable after `sync_directory`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Who has the file open keeps it. Durable after `sync_directory`.
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_directory(&self) -> io::Result<()>;
}

/// A file whose size never changes.
pub(crate) trait LogFile: Send + Sync {
    fn bytes(&self) -> u64;
    /// Returns when the bytes are on disk. After an error nobody knows what is there, and nobody may ask again:
    /// a second sync can succeed without having written anything.
    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}
