//! The snapshot store in a local folder.
//!
//!     write to partial/ ─► sync files ─► read back ─► sync partial/ ─► rename to the position ─► sync the folder
//!
//! A crash before the rename leaves `partial/`, which the next start removes; one after it leaves a whole set. Where
//! other keys have a snapshot of that position already, the files are renamed into it one by one: each is of use alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use journal::Lsn;
use tokio::sync::{Mutex, MutexGuard};

use super::cover::Cover;
use super::reader::Reader;
use super::restore::{Held, Set, named};
use super::writer::Writer;
use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::Version;
use crate::partition_id::{PartitionId, PartitionRange};

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
    /// Held by whoever names or removes what has a name.
    naming: parking_lot::Mutex<()>,
}

/// Takes the versions of a partition, in the order of (revision, sub).
pub(crate) type Sink<'a> = dyn FnMut(&Version) -> Result<(), Error> + 'a;

impl Folder {
    /// Makes the folder where there is none, and forgets what a crash left half-written. What has a name afterwards has it
    /// on disk, whoever gave it.
    pub(crate) fn open(path: &Path, cluster: u64) -> Result<Folder, Error> {
        let folder = Folder::at(path, cluster);
        fs::create_dir_all(path).map_err(|error| io_error(path, &error))?;
        sync_directory(path)?;
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
        let (number, asking, naming) = Default::default();
        Folder { path: path.to_owned(), cluster, number, asking, naming }
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
        names(&self.path)
    }

    /// Opens a set. Its versions are checked as they are read.
    pub(crate) fn set(&self, lsn: Lsn) -> Result<Set, Error> {
        let directory = self.set_path(lsn);
        let set = self.set_in(&directory)?;
        if set.lsn() != lsn {
            let found = set.lsn();
            return Err(Error::Corrupt(format!("{}: it holds position {found}", directory.display())));
        }
        Ok(set)
    }

    fn set_in(&self, directory: &Path) -> Result<Set, Error> {
        let mut ids: Vec<_> = names(directory)?.iter().filter_map(|name| id(name)).collect();
        ids.sort_unstable();
        let open = |id: PartitionId| {
            let path = directory.join(file_name(id));
            let file = File::open(&path).map_err(|error| io_error(&path, &error))?;
            let header = Reader::open(file, id).map_err(|error| named(&path, error))?.header().clone();
            Ok(Held { path, header })
        };
        let files = ids.into_iter().map(open).collect::<Result<_, Error>>()?;
        Set::new(files, self.cluster).map_err(|error| named(directory, error))
    }

    /// The files of all sets that can be used, the newest first.
    pub(crate) fn held(&self) -> Result<Vec<Held>, Error> {
        let mut held = Vec::new();
        for lsn in self.sets()? {
            match self.set(lsn) {
                Ok(set) => held.extend(set.files),
                // It may also have been removed just now.
                Err(error) => tracing::debug!(position = lsn.0, %error, "a snapshot is not counted"),
            }
        }
        Ok(held)
    }

    /// Reads a whole set and finds nothing wrong. Answers what its files hold.
    #[cfg(test)]
    pub(crate) fn verify(&self, lsn: Lsn) -> Result<Vec<(Header, Summary)>, Error> {
        self.set(lsn)?.files.iter().map(Held::verify).collect()
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
        let _alone = self.naming.lock();
        let (path, damaged) = (self.set_path(lsn), self.path.join(DAMAGED));
        if !path.exists() {
            // Somebody else who came across it was faster.
            return Ok(());
        }
        self.remove(&damaged)?;
        fs::rename(&path, &damaged).map_err(|error| io_error(&path, &error))?;
        sync_directory(&self.path)
    }

    /// Removes what is not needed so that of each key of `ranges` the newest two snapshots are there.
    pub(crate) fn forget(&self, ranges: &[PartitionRange]) -> Result<(), Error> {
        let _alone = self.naming.lock();
        let (mut held, mut over) = (Vec::new(), Vec::new());
        for lsn in self.sets()? {
            match self.set(lsn) {
                Ok(set) => held.extend(set.files),
                Err(Error::Corrupt(_)) => over.push(lsn),
                Err(error) => return Err(error),
            }
        }
        let superfluous = Cover::of(held.iter().map(|held| &held.header)).superfluous(ranges);
        let kept = (0..held.len()).filter(|at| !superfluous.contains(at)).map(|at| held[at].header.lsn);
        let kept: BTreeSet<Lsn> = kept.collect();
        // Those that are damaged, once all that is kept is newer.
        over.retain(|lsn| Some(lsn) < kept.first());
        for Held { path, header } in superfluous.into_iter().map(|at| &held[at]) {
            match kept.contains(&header.lsn) {
                true => fs::remove_file(path).map_err(|error| io_error(path, &error))?,
                false => over.push(header.lsn),
            }
        }
        over.into_iter().try_for_each(|lsn| self.remove(&self.set_path(lsn)))
    }

    /// How far all keys reach, also should the newest snapshot of some be damaged: the journal is needed from there on.
    /// `None` while there is a key without two.
    pub(crate) fn reach(&self) -> Result<Option<Lsn>, Error> {
        Ok(Cover::of(self.held()?.iter().map(|held| &held.header)).reach())
    }

    pub(super) fn name(&self, partial: &Path, lsn: Lsn) -> Result<(), Error> {
        let _alone = self.naming.lock();
        let path = self.set_path(lsn);
        match path.exists().then(|| self.set(lsn)) {
            Some(Ok(there)) => self.join(partial, &there)?,
            None | Some(Err(Error::Corrupt(_))) => {
                self.remove(&path)?;
                fs::rename(partial, &path).map_err(|error| io_error(&path, &error))?;
            }
            Some(Err(error)) => return Err(error),
        }
        sync_directory(&self.path)
    }

    /// Adds files to a set, each in the place of one with the same keys if there is one.
    fn join(&self, partial: &Path, there: &Set) -> Result<(), Error> {
        let path = self.set_path(there.lsn());
        let mut free = there.files.iter().map(|held| held.header.range.id.0 + 1).max().unwrap_or_default();
        let comes = self.set_in(partial)?;
        if (comes.revision(), comes.compacted()) != (there.revision(), there.compacted()) {
            let position = there.lsn();
            return Err(Error::Corrupt(format!("two snapshots of position {position} do not fit together")));
        }
        for Held { path: from, header } in comes.files {
            let same = there.files.iter().find(|held| held.header.range.same_keys(&header.range));
            let to = same.map_or_else(|| path.join(file_name(PartitionId(free))), |held| held.path.clone());
            free += u64::from(same.is_none());
            fs::rename(&from, &to).map_err(|error| io_error(&to, &error))?;
        }
        sync_directory(&path)?;
        self.remove(partial)
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

/// The number of a file with this name, if it has one that such files have.
fn id(name: &str) -> Option<PartitionId> {
    let id = PartitionId(name.strip_suffix(".partition")?.parse().ok()?);
    // One below the greatest leaves a number for the next.
    (file_name(id) == name && id.0 < u64::MAX).then_some(id)
}

fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(path).map_err(|error| io_error(path, &error))?;
    let name = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
        Err(error) => Err(io_error(path, &error)),
    };
    entries.map(name).collect()
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
