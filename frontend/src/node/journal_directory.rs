//! The directory of the journal: in the data directory, or where `--wal-dir` says. Each of two directories then tells of
//! the other, so that a journal is never begun anew beside the one that is meant.
//!
//!     DATA/journal-directory    "mainstem journal 0123456789abcdef in /fast/disk"
//!     WAL/data-directory        "mainstem journal 0123456789abcdef of /var/lib/mainstem"
//!
//! The number is random, made at the first start. It is what counts: both directories may be moved.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::{Config, Storage};

/// File in the data directory that tells where the journal is.
const JOURNAL: &str = "journal-directory";
/// File in the journal's directory that tells whose it is.
const DATA: &str = "data-directory";
/// File that every directory of a journal has from its first start on.
const CLUSTER: &str = "cluster";
/// Upper bound on a file that tells of the other directory.
const BYTES_MAX: u64 = 16 << 10;
const PREFIX: &str = "mainstem journal ";

/// What a directory tells of the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tie {
    number: u64,
    other: String,
}

/// The directory of a journal, found and not touched yet.
#[derive(Debug)]
pub(super) struct JournalDirectory {
    data: PathBuf,
    path: PathBuf,
    /// Number that ties it to the data directory. `None`: it is in the data directory.
    number: Option<u64>,
}

/// Returns where the journal is. `None`: nowhere, as it is kept in memory.
///
/// # Errors
/// `JournalDirectory`: it does not belong to the data directory. `Directory`: one of the two cannot be read.
pub(super) fn find(config: &Config) -> Result<Option<JournalDirectory>, StartError> {
    let Storage::Directory(data) = &config.storage else { return Ok(None) };
    let inside = data.join("journal");
    let refused = |why: String| Err(StartError::JournalDirectory(why));
    let known = read(&data.join(JOURNAL)).map_err(failed(data))?;
    let Some(wal) = &config.wal_dir else {
        return match known {
            None => Ok(Some(JournalDirectory { data: data.clone(), path: inside, number: None })),
            Some(Tie { other, .. }) => refused(format!(
                "the journal of the data directory {} is in {other}: start with --wal-dir={other}",
                data.display()
            )),
        };
    };
    // Told as it is, so that it is found from wherever the process is started.
    let wal = std::path::absolute(wal).map_err(failed(wal))?;
    if has_etcds_log(&wal) {
        return refused(format!(
            "--wal-dir={} holds etcd's write-ahead log, which this release does not read: name another directory, and keep \
             etcd running on that one",
            wal.display()
        ));
    }
    let found = read(&wal.join(DATA)).map_err(failed(&wal))?;
    let has_begun = wal.join(CLUSTER).exists();
    let here = absolute(data);
    let number = match (known, found) {
        (Some(known), Some(found)) if known.number == found.number => found.number,
        (Some(known), _) => {
            return refused(format!(
                "--wal-dir={} does not hold the journal of the data directory {}: that was in {}. Name the directory that has \
                 it, or move all its files to this one",
                wal.display(),
                data.display(),
                known.other
            ));
        }
        (None, Some(found)) if found.other != here => {
            return refused(format!(
                "--wal-dir={} holds the journal of another data directory, {}: name a directory of its own for each member, \
                 or correct --data-dir",
                wal.display(),
                found.other
            ));
        }
        (None, _) if inside.join(CLUSTER).exists() => {
            return refused(format!(
                "the journal of the data directory {} is in {}: leave --wal-dir out; to move it, stop, move all files of that \
                 directory to {}, and start with --wal-dir again",
                data.display(),
                inside.display(),
                wal.display()
            ));
        }
        // A start that was interrupted between the two.
        (None, Some(found)) => found.number,
        (None, None) if has_begun && !data.join(super::identity::FILE).exists() => {
            return refused(format!(
                "--wal-dir={} holds a journal, and the data directory {} is new: name the data directory of that journal, or \
                 another --wal-dir to begin an empty store",
                wal.display(),
                data.display()
            ));
        }
        (None, None) => rand::random(),
    };
    Ok(Some(JournalDirectory { data: data.clone(), path: wal, number: Some(number) }))
}

impl JournalDirectory {
    /// Ties it to the data directory. Durable when it returns.
    ///
    /// # Errors
    /// `Directory`: one of the two cannot be written to.
    pub(super) fn tie(self) -> Result<PathBuf, StartError> {
        let JournalDirectory { data, path, number } = self;
        let Some(number) = number else { return Ok(path) };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed(&path))?;
        write(&path, DATA, "of", &Tie { number, other: absolute(&data) }).map_err(failed(&path))?;
        write(&data, JOURNAL, "in", &Tie { number, other: path.display().to_string() })
            .map_err(failed(&data))?;
        Ok(path)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::Directory { path, error }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn has_etcds_log(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.into_iter().any(|file| Path::new(&file.file_name()).extension().is_some_and(|end| end == "wal"))
}

fn read(path: &Path) -> io::Result<Option<Tie>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let damaged = || io::Error::other(format!("{} is damaged: put it back from a backup", path.display()));
    parse(&String::from_utf8_lossy(&bytes)).map(Some).ok_or_else(damaged)
}

fn parse(text: &str) -> Option<Tie> {
    let (number, rest) = text.strip_prefix(PREFIX)?.split_once(' ')?;
    let other = rest.strip_suffix('\n')?;
    let other = other.strip_prefix("of ").or_else(|| other.strip_prefix("in "))?.to_owned();
    Some(Tie { number: u64::from_str_radix(number, 16).ok()?, other })
}

/// Written aside and renamed, so that it is there as a whole or not at all. Durable when it returns.
fn write(directory: &Path, name: &str, relation: &str, tie: &Tie) -> io::Result<()> {
    if read(&directory.join(name))?.as_ref() == Some(tie) {
        return Ok(());
    }
    let new = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(format!("{PREFIX}{:016x} {relation} {}\n", tie.number, tie.other).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Scratch {
            Scratch(tempfile::tempdir().expect("a scratch directory"))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn of(&self, data: &str, wal: Option<&str>) -> Result<PathBuf, String> {
            let wal_dir = wal.map(|wal| self.path(wal));
            let config = Config { wal_dir, ..Config::in_directory(self.path(data)) };
            let found = find(&config).map_err(|error| error.to_string())?.expect("there is a disk");
            std::fs::create_dir_all(self.path(data)).expect("there is room");
            found.tie().map_err(|error| error.to_string())
        }

        /// The journal has begun there.
        fn begin(&self, directory: &str) {
            std::fs::create_dir_all(self.path(directory)).expect("there is room");
            std::fs::write(self.path(directory).join(CLUSTER), "").expect("there is room");
        }

        fn refused(&self, data: &str, wal: Option<&str>, part: &str) {
            let why = self.of(data, wal).expect_err(part);
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_journal_elsewhere_is_found_again_and_never_begun_twice() {
        let scratch = Scratch::new();
        assert_eq!(scratch.of("data", Some("wal")), Ok(scratch.path("wal")));
        scratch.begin("wal");
        assert_eq!(scratch.of("data", Some("wal")), Ok(scratch.path("wal")));
        let next = format!("start with --wal-dir={}", scratch.path("wal").display());
        scratch.refused("data", None, &next);
        scratch.refused("data", Some("other"), "does not hold the journal of the data directory");
        assert!(!scratch.path("other").exists(), "nothing is touched");
        scratch.refused("others", Some("wal"), "holds the journal of another data directory");
        assert_eq!(scratch.of("others", Some("other")), Ok(scratch.path("other")));
        scratch.refused("others", Some("wal"), "does not hold the journal of the data directory");
    }

    #[test]
    fn both_directories_may_be_moved() {
        let scratch = Scratch::new();
        scratch.of("data", Some("wal")).expect("it is new");
        scratch.begin("wal");
        std::fs::rename(scratch.path("wal"), scratch.path("wal2")).expect("it moves");
        std::fs::rename(scratch.path("data"), scratch.path("data2")).expect("it moves");
        scratch.refused("data2", Some("wal"), "that was in");
        assert_eq!(scratch.of("data2", Some("wal2")), Ok(scratch.path("wal2")));
        scratch.refused("data2", None, "wal2");
    }

    #[test]
    fn a_journal_in_the_data_directory_is_moved_by_hand() {
        let scratch = Scratch::new();
        scratch.begin("data/journal");
        std::fs::write(scratch.path("data").join("identity"), "").expect("there is room");
        assert_eq!(scratch.of("data", None), Ok(scratch.path("data/journal")));
        scratch.refused("data", Some("wal"), "leave --wal-dir out; to move it, stop, move all files");
        std::fs::rename(scratch.path("data/journal"), scratch.path("wal")).expect("it moves");
        assert_eq!(scratch.of("data", Some("wal")), Ok(scratch.path("wal")));
        scratch.refused("data", None, "start with --wal-dir=");
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let scratch = Scratch::new();
        scratch.begin("wal");
        scratch.refused("data", Some("wal"), "holds a journal, and the data directory");
        std::fs::create_dir(scratch.path("etcds")).expect("there is room");
        std::fs::write(scratch.path("etcds/0000000000000000-0000000000000000.wal"), "")
            .expect("there is room");
        scratch.refused("data", Some("etcds"), "holds etcd's write-ahead log");
        scratch.of("data", Some("own")).expect("it is new");
        std::fs::write(scratch.path("data").join(JOURNAL), "mainstem jour").expect("there is room");
        scratch.refused("data", Some("own"), "is damaged");
    }
}
