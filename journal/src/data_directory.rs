//! The directory of a journal: whose it is, and that one process at a time uses it.
//!
//!     lock       locked as long as the process runs, whose number it holds: "4711"
//!     cluster    "mainstem journal of cluster 00000000000000c0"
//!
//! Whoever holds the value holds the lock.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

const PREFIX: &str = "mainstem journal of cluster ";
/// No identity is longer; what is, is not ours.
const IDENTITY_BYTES_MAX: u64 = 128;
/// No process has a longer number.
const DIGITS_MAX: u64 = 10;

/// A locked directory of the right cluster.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Closing it lets go of the lock.
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory where there is none, for nobody else to read.
    ///
    /// # Errors
    /// `Io` where it is in use, of another cluster, or not ours to use.
    pub(crate) fn open(path: &Path, cluster: u64) -> Result<DataDirectory, Error> {
        let failed = |error: io::Error| {
            Error::io(format!("cannot use {} as a data directory", path.display()), &error)
        };
        make(path).map_err(failed)?;
        let lock = lock(path).map_err(failed)?.ok_or_else(|| in_use(path))?;
        match identity(path).map_err(failed)? {
            None => identify(path, cluster).map_err(failed)?,
            Some(text) if parse(&text) == Some(cluster) => {}
            Some(text) => return Err(other(path, &text, cluster)),
        }
        Ok(DataDirectory { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the directory and those above it. Their names must be durable, too, before anything in them counts.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
    let file = options.open(path.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            sign(&file);
            Ok(Some(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says who holds the lock. That is only for people: on a full disk the lock counts without it.
fn sign(mut file: &File) {
    let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
}

fn in_use(path: &Path) -> Error {
    let mut text = String::new();
    let read = File::open(path.join("lock")).and_then(|file| file.take(DIGITS_MAX).read_to_string(&mut text));
    let holder = read.ok().and_then(|_| text.parse::<u32>().ok());
    let holder = holder.map_or("another process".to_owned(), |id| format!("another process, {id}"));
    Error::Io(format!(
        "the data directory {} is in use by {holder}: stop it, or use another directory (--data-dir)",
        path.display()
    ))
}

fn identity(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path.join("cluster")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Written aside and renamed, so that it is there as a whole or not at all.
fn identify(path: &Path, cluster: u64) -> io::Result<()> {
    let new = path.join("cluster.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(format!("{PREFIX}{cluster:016x}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path.join("cluster"))?;
    File::open(path)?.sync_all()
}

fn parse(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix(PREFIX)?.strip_suffix('\n')?, 16).ok()
}

fn other(path: &Path, text: &str, cluster: u64) -> Error {
    let path = path.display();
    match parse(text) {
        Some(found) => Error::Io(format!(
            "the data directory {path} belongs to cluster {found:016x}, and this is cluster {cluster:016x}: put \
             back the one that belongs here, or use another directory (--data-dir)"
        )),
        None => Error::Io(format!(
            "{path}/cluster is damaged: it names no cluster; if this is the journal of cluster {cluster:016x}, \
             remove that file, and the next start writes it anew"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::os::unix::fs::PermissionsExt as _;

    fn check(path: &Path, cluster: u64, expected: Expect) {
        let error = DataDirectory::open(path, cluster).expect_err("refused").to_string();
        expected.assert_eq(&error.replace(&path.display().to_string(), "DIR"));
    }

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a scratch directory")
    }

    #[test]
    fn a_new_directory_is_for_its_owner_only() {
        let scratch = scratch();
        let path = scratch.path().join("a/b");
        DataDirectory::open(&path, 7).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        DataDirectory::open(&path, 7).unwrap();
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let scratch = scratch();
        let _held = DataDirectory::open(scratch.path(), 7).unwrap();
        let refusal = DataDirectory::open(scratch.path(), 7).expect_err("refused").to_string();
        let holder = format!("is in use by another process, {}: stop it", std::process::id());
        assert!(refusal.contains(&holder), "{refusal}");
        std::fs::write(scratch.path().join("lock"), "who?").unwrap();
        check(
            scratch.path(),
            7,
            expect![
                "the data directory DIR is in use by another process: stop it, or use another directory (--data-dir)"
            ],
        );
    }

    #[test]
    fn a_directory_of_another_cluster_is_refused() {
        let scratch = scratch();
        drop(DataDirectory::open(scratch.path(), 7).unwrap());
        check(
            scratch.path(),
            8,
            expect![
                "the data directory DIR belongs to cluster 0000000000000007, and this is cluster 0000000000000008: put back the one that belongs here, or use another directory (--data-dir)"
            ],
        );
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let scratch = scratch();
        std::fs::write(scratch.path().join("cluster"), vec![b'x'; 10_000]).unwrap();
        check(
            scratch.path(),
            8,
            expect![
                "DIR/cluster is damaged: it names no cluster; if this is the journal of cluster 0000000000000008, remove that file, and the next start writes it anew"
            ],
        );
    }

    #[test]
    fn what_is_not_a_directory_is_refused() {
        let scratch = scratch();
        let path = scratch.path().join("file");
        std::fs::write(&path, "").unwrap();
        check(
            &path,
            8,
            expect![
                "cannot use DIR as a data directory: File exists (os error 17); move away what is there, or use another directory"
            ],
        );
    }
}
