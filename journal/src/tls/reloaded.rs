//! A value that is made from files, and made again when one of them has changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Error;

type Make<T> = Box<dyn Fn() -> Result<T, Error> + Send + Sync>;

/// The value. To ask for it is one `stat` a file: handshakes cost hundreds of times that.
pub(super) struct Reloaded<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    stamps: Vec<Option<Stamp>>,
    value: Arc<T>,
}

/// Tells a file's content from what it was before. Files are often replaced by renaming, so which file it is counts
/// as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| std::fs::metadata(file).ok().map(|metadata| Stamp::of(&metadata))).collect()
}

impl<T> Reloaded<T> {
    /// # Errors
    /// What is wrong with the files as they are now.
    pub(super) fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Reloaded<T>, Error> {
        // Looked at first: what changes while it is read is read again.
        let stamps = stamps(&files);
        let value = Arc::new(make()?);
        Ok(Reloaded { files, make: Box::new(make), state: Mutex::new(State { stamps, value }) })
    }

    /// The value by what the files say now, or said when they could be read the last time.
    pub(super) fn current(&self) -> Arc<T> {
        let stamps = stamps(&self.files);
        let mut state = self.state.lock();
        if state.stamps != stamps {
            // Also where it fails: it is told once, and tried again when something has changed.
            state.stamps = stamps;
            match (self.make)() {
                Ok(value) => {
                    state.value = Arc::new(value);
                    tracing::info!(files = ?self.files, "certificates were read again: they have changed");
                }
                Err(error) => {
                    tracing::warn!(%error, "changed certificates cannot be used; those from before stay in use");
                }
            }
        }
        state.value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("number");
        let write = |text: &str| {
            // As careful programs do it: never half a file.
            let fresh = folder.path().join("fresh");
            std::fs::write(&fresh, text).expect("there is room");
            std::fs::rename(&fresh, &path).expect("it is there");
        };
        write("1");
        let (file, read) = (path.clone(), Arc::new(Mutex::new(0)));
        let count = read.clone();
        let number = Reloaded::new(vec![path.clone()], move || {
            *count.lock() += 1;
            let text = std::fs::read_to_string(&file).map_err(|error| Error::Io(error.to_string()))?;
            text.parse::<u32>().map_err(|error| Error::Io(error.to_string()))
        });
        let number = number.expect("it is a number");
        assert_eq!((*number.current(), *number.current(), *read.lock()), (1, 1, 1));
        write("22");
        assert_eq!((*number.current(), *number.current(), *read.lock()), (22, 22, 2));
        write("none");
        assert_eq!((*number.current(), *number.current(), *read.lock()), (22, 22, 3));
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(*number.current(), 22);
        write("4");
        assert_eq!(*number.current(), 4);
    }

    #[test]
    fn nothing_begins_with_a_file_that_is_not_there() {
        let missing = Reloaded::new(vec!["/nowhere".into()], || Err::<u32, _>(Error::Closed));
        assert_eq!(missing.err(), Some(Error::Closed));
    }
}
