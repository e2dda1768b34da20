//! Getting partitions back from a set, also where keys are split otherwise than when it was written.
//!
//!     written    [ ───── 0 ───── )[ ── 1 ── )[ ───── 2 ─────
//!     wanted     [ ── 0 ── )[ ───────── 1 ────────── )[ 2 ──      1 is merged from all three, by (revision, sub)

use std::fs::File;
use std::path::PathBuf;

use journal::{Lsn, Revision};

use super::Header;
use super::reader::Reader;
use crate::error::Error;
use crate::key_value::Version;
use crate::partition_id::PartitionRange;

/// Every partition at one position of the journal.
pub(crate) struct Set {
    pub(super) files: Vec<(PathBuf, Header)>,
}

impl Set {
    /// # Errors
    /// `Corrupt` unless the files are of one position and hold all keys, each once. `Io` where they are another
    /// cluster's: those are not damaged, they are in the wrong place.
    pub(super) fn new(files: Vec<(PathBuf, Header)>, cluster: u64) -> Result<Set, Error> {
        let mut end = Some(bytes::Bytes::new());
        let of = |header: &Header| (header.lsn, header.revision, header.compacted);
        for (_, header) in &files {
            if header.cluster != cluster {
                let other = header.cluster;
                return Err(Error::Io(format!(
                    "it is of cluster {other:016x}, and this is cluster {cluster:016x}: move it away, or use another \
                     directory (--snapshot-dir)"
                )));
            }
            if of(header) != of(&files[0].1) || Some(&header.range.start) != end.as_ref() {
                return Err(Error::Corrupt("its partitions do not fit together".into()));
            }
            end.clone_from(&header.range.end);
        }
        if end.is_some() {
            return Err(Error::Corrupt("it does not hold all partitions".into()));
        }
        Ok(Set { files })
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.header().lsn
    }

    pub(crate) fn revision(&self) -> Revision {
        self.header().revision
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.header().compacted
    }

    /// The versions of the keys in `range`, in the order of (revision, sub).
    pub(crate) fn versions(&self, range: &PartitionRange) -> Result<Versions, Error> {
        let shares = |other: &PartitionRange| {
            let begins = |one: &PartitionRange, two: &PartitionRange| {
                two.end.as_ref().is_none_or(|end| one.start < *end)
            };
            begins(range, other) && begins(other, range)
        };
        let files = self.files.iter().filter(|(_, header)| shares(&header.range));
        let sources = files.map(|(path, header)| Source::open(path, header)).collect::<Result<_, _>>()?;
        Ok(Versions { sources, range: range.clone() })
    }

    fn header(&self) -> &Header {
        &self.files.first().expect("some partition holds the least key").1
    }
}

/// The versions of a range of keys, out of as many snapshots as that takes.
pub(crate) struct Versions {
    sources: Vec<Source>,
    range: PartitionRange,
}

struct Source {
    path: PathBuf,
    reader: Reader<File>,
    head: Option<Version>,
}

impl Versions {
    /// The next version of a key in the range. What it yields counts only if it comes to its end.
    pub(crate) fn next(&mut self) -> Result<Option<Version>, Error> {
        loop {
            let ahead = |source: &&mut Source| source.head.as_ref().map(Version::position);
            let first = self.sources.iter_mut().filter(|source| source.head.is_some()).min_by_key(ahead);
            let Some(version) = first.map(Source::take).transpose()?.flatten() else { return Ok(None) };
            if self.range.contains(&version.kv.key) {
                return Ok(Some(version));
            }
        }
    }
}

impl Source {
    fn open(path: &PathBuf, header: &Header) -> Result<Source, Error> {
        let name = |error| named(path, error);
        let file = File::open(path).map_err(|error| name(Error::io(&error)))?;
        let mut reader = Reader::open(file, header.range.id).map_err(name)?;
        let head = reader.next().map_err(name)?;
        Ok(Source { path: path.clone(), reader, head })
    }

    fn take(&mut self) -> Result<Option<Version>, Error> {
        let next = self.reader.next().map_err(|error| named(&self.path, error))?;
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// The error with the file that it is about.
pub(super) fn named(path: &std::path::Path, error: Error) -> Error {
    let path = path.display();
    match error {
        Error::Corrupt(reason) => Error::Corrupt(format!("{path}: {reason}")),
        Error::Io(reason) => Error::Io(format!("{path}: {reason}")),
        other => other,
    }
}
