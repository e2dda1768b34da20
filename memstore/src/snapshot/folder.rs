//! The snapshot store in a local folder.
//!
//!     write to partial/ ─► sync files ─► read back ─► sync partial/ ─► rename to the position ─► sync the folder
//!
//! A crash before the rename leaves `partial/`, which the next start removes; one after it leaves a whole set.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use journal::Lsn;
use tokio::sync::{Mutex, MutexGuard};

use super::reader::Reader;
use super::restore::{Set, named};
use super::writer::Writer;
use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::Version;
use crate::partition_id::PartitionId;

/// Sets kept. The older one is for when the newest is damaged.
const SETS_KEPT: usize = 2;
const PARTIAL: &str = "partial";
/// What comes from another member, and a number.
const FETCHED: &str = "fetched-";
/// The last set that was found damaged, for a person to look at.
const DAMAGED: &str = "damaged";

/// Where sets are kept.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(super) path: PathBuf,
    pub(super) cluster: u64,
    /// Of the next set that comes from another member.
    number: AtomicU64,
    /// Held by whoever asks others for sets, so that no set comes twice.
    asking: Mutex<()>,
}

/// Takes the versions of a partition, in the order of (revision, sub).
pub(crate) type Sink<'a> = dyn FnMut(&Version) -> Result<(), Error> + 'a;

impl Folder {
    /// Makes the folder where there is none, and forgets what a crash left half-written.
    pub(crate) fn open(path: &Path, cluster: u64) -> Result<Folder, Error> {
        let folder = Folder::at(path, cluster);
        fs::create_dir_all(path).map_err(|error| io_error(path, &error))?;
        folder.remove(&folder.path.join(PARTIAL))?;
        folder
            .names()?
            .iter()
            .filter(|name| name.starts_with(FETCHED))
            .try_for_each(|name| folder.remove(&path.join(name)))?;
        Ok(folder)
    }

    /// The folder as those look at it who only read.
    pub(crate) fn at(path: &Path, cluster: u64) -> Folder {
        Folder { path: path.to_owned(), cluster, number: AtomicU64::default(), asking: Mutex::default() }
    }

    /// The positions of the sets, newest first.
    pub(crate) fn sets(&self) -> Result<Vec<Lsn>, Error> {
        let names = self.names()?;
        let sets = names.iter().filter(|name| name.len() == 20).filter_map(|name| name.parse().ok());
        let mut sets: Vec<Lsn> = sets.map(Lsn).collect();
        sets.sort_unstable_by(|one, other| other.cmp(one));
        Ok(sets)
    }

    /// Waits until nobody else asks others for sets.
    pub(crate) async fn asking(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// A place for what comes from another member, which nobody else has.
    pub(super) fn place(&self) -> PathBuf {
        self.path.join(format!("{FETCHED}{}", self.number.fetch_add(1, Ordering::Relaxed)))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.path).map_err(|error| io_error(&self.path, &error))?;
        let name = |entry: io::Result<fs::DirEntry>| match entry {
            Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => Err(io_error(&self.path, &error)),
        };
        entries.map(name).collect()
    }

    /// Opens a set. Its versions are checked as they are read.
    pub(crate) fn set(&self, lsn: Lsn) -> Result<Set, Error> {
        let directory = self.set_path(lsn);
        let mut files = Vec::new();
        for id in (0..).map(PartitionId) {
            let path = directory.join(file_name(id));
            match File::open(&path) {
                Ok(file) => {
                    let header =
                        Reader::open(file, id).map_err(|error| named(&path, error))?.header().clone();
                    files.push((path, header));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(io_error(&path, &error)),
            }
        }
        let set = Set::new(files, self.cluster).map_err(|error| named(&directory, error))?;
        if set.lsn() != lsn {
            let found = set.lsn();
            return Err(Error::Corrupt(format!("{}: it holds position {found}", directory.display())));
        }
        Ok(set)
    }

    /// Reads a whole set and finds nothing wrong. Answers what its partitions hold.
    pub(crate) fn verify(&self, lsn: Lsn) -> Result<Vec<(Header, Summary)>, Error> {
        self.set(lsn)?;
        let directory = self.set_path(lsn);
        let paths = (0..).map(|id| (PartitionId(id), directory.join(file_name(PartitionId(id)))));
        paths.take_while(|(_, path)| path.exists()).map(|(id, path)| verify(&path, id)).collect()
    }

    /// Writes a set: for each header, whatever `fill` puts into the sink. Answers what the partitions hold once
    /// that was read back from the disk and has its name.
    pub(crate) fn write(
        &self,
        headers: &[Header],
        mut fill: impl FnMut(&Header, &mut Sink<'_>) -> Result<(), Error>,
    ) -> Result<Vec<(Header, Summary)>, Error> {
        let lsn = headers.first().expect("there is at least one partition").lsn;
        let partial = self.path.join(PARTIAL);
        self.remove(&partial)?;
        fs::create_dir(&partial).map_err(|error| io_error(&partial, &error))?;
        let mut written = Vec::new();
        for header in headers {
            let path = partial.join(file_name(header.range.id));
            let summary = write(&path, header, &mut fill).map_err(|error| named(&path, error))?;
            let read = verify(&path, header.range.id)?;
            if read != (header.clone(), summary) {
                return Err(Error::Corrupt(format!("{}: it reads otherwise than written", path.display())));
            }
            written.push(read);
        }
        sync_directory(&partial)?;
        self.name(&partial, lsn)?;
        Ok(written)
    }

    /// Takes its name from a damaged set, so that it does not count as one of those that are kept.
    pub(crate) fn set_aside(&self, lsn: Lsn) -> Result<(), Error> {
        let (path, damaged) = (self.set_path(lsn), self.path.join(DAMAGED));
        self.remove(&damaged)?;
        fs::rename(&path, &damaged).map_err(|error| io_error(&path, &error))?;
        sync_directory(&self.path)
    }

    /// Removes all but the newest sets. Answers the position of the oldest that is left, if those are all there
    /// shall be: the journal is needed from there on.
    pub(crate) fn keep_newest(&self) -> Result<Option<Lsn>, Error> {
        let sets = self.sets()?;
        for lsn in sets.iter().skip(SETS_KEPT) {
            self.remove(&self.set_path(*lsn))?;
        }
        Ok(sets.get(SETS_KEPT - 1).copied())
    }

    pub(super) fn name(&self, partial: &Path, lsn: Lsn) -> Result<(), Error> {
        let path = self.set_path(lsn);
        // Only a damaged set can be there: a good one is not written again.
        self.remove(&path)?;
        fs::rename(partial, &path).map_err(|error| io_error(&path, &error))?;
        sync_directory(&self.path)
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, &error)),
            _ => Ok(()),
        }
    }

    fn set_path(&self, lsn: Lsn) -> PathBuf {
        self.path.join(format!("{:020}", lsn.0))
    }
}

pub(super) fn file_name(id: PartitionId) -> String {
    format!("{}.partition", id.0)
}

fn write(
    path: &Path,
    header: &Header,
    fill: &mut impl FnMut(&Header, &mut Sink<'_>) -> Result<(), Error>,
) -> Result<Summary, Error> {
    let file = File::create_new(path).map_err(|error| Error::io(&error))?;
    let mut writer = Writer::new(file, header)?;
    fill(header, &mut |version| writer.push(version))?;
    let (file, summary) = writer.finish()?;
    file.sync_all().map_err(|error| Error::io(&error))?;
    Ok(summary)
}

pub(super) fn verify(path: &Path, id: PartitionId) -> Result<(Header, Summary), Error> {
    let file = File::open(path).map_err(|error| io_error(path, &error))?;
    let reader = Reader::open(file, id).map_err(|error| named(path, error))?;
    let header = reader.header().clone();
    Ok((header, reader.verify().map_err(|error| named(path, error))?))
}

pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| io_error(path, &error))
}

pub(super) fn io_error(path: &Path, error: &io::Error) -> Error {
    named(path, Error::io(error))
}
