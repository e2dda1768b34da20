//! Getting partitions back from files, also where keys are split otherwise than when they were written.
//!
//!     written    [ ───── 0 ───── )[ ── 1 ── )[ ───── 2 ─────
//!     wanted     [ ── 0 ── )[ ───────── 1 ────────── )[ 2 ──      1 is merged from all three, by (revision, sub)

use std::fs::File;
use std::path::PathBuf;

use journal::{Lsn, Revision};

use super::cover::Cover;
use super::folder::verify;
use super::reader::Reader;
use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::Version;
use crate::partition_id::PartitionRange;

/// A file of a set, as far as it says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
}

impl Held {
    /// Reads all of it and finds nothing wrong.
    pub(crate) fn verify(&self) -> Result<(Header, Summary), Error> {
        verify(&self.path, self.header.range.id)
    }
}

/// What there is at one position of the journal, by the numbers of its files.
pub(crate) struct Set {
    pub(super) files: Vec<Held>,
}

impl Set {
    /// # Errors
    /// `Corrupt` unless the files are of one position. `Io` where they are another cluster's: those are not damaged,
    /// they are in the wrong place.
    pub(super) fn new(files: Vec<Held>, cluster: u64) -> Result<Set, Error> {
        let Some(Held { header: first, .. }) = files.first() else {
            return Err(Error::Corrupt("there is nothing in it".into()));
        };
        let of = |header: &Header| (header.lsn, header.revision, header.compacted);
        for Held { header, .. } in &files {
            if header.cluster != cluster {
                let other = header.cluster;
                return Err(Error::Io(format!(
                    "it is of cluster {other:016x}, and this is cluster {cluster:016x}: move it away, or use another \
                     directory (--snapshot-dir)"
                )));
            }
            if of(header) != of(first) || !header.range.holds_any() {
                return Err(Error::Corrupt("its partitions do not fit together".into()));
            }
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

    /// Whether each key of `range` is in it.
    pub(crate) fn holds(&self, range: &PartitionRange) -> bool {
        Cover::of(self.files.iter().map(|held| &held.header)).holds(range)
    }

    /// The versions that it has of keys in `range`, in the order of (revision, sub).
    pub(crate) fn versions(&self, range: &PartitionRange) -> Result<Versions, Error> {
        let parts = Cover::of(self.files.iter().map(|held| &held.header)).newest(range);
        let parts = parts.into_iter().filter_map(|(part, at)| Some((part, &self.files[at?])));
        Versions::of(parts)
    }

    fn header(&self) -> &Header {
        &self.files.first().expect("a set has a file").header
    }
}

/// The versions of a range of keys, out of as many files of one position as that takes.
pub(crate) struct Versions {
    sources: Vec<Source>,
}

struct Source {
    path: PathBuf,
    reader: Reader<File>,
    /// The keys to take from it.
    range: PartitionRange,
    head: Option<Version>,
}

impl Versions {
    /// Of these keys out of these files.
    pub(crate) fn of<'a>(
        parts: impl IntoIterator<Item = (PartitionRange, &'a Held)>,
    ) -> Result<Versions, Error> {
        let sources =
            parts.into_iter().map(|(range, held)| Source::open(range, held)).collect::<Result<_, _>>()?;
        Ok(Versions { sources })
    }

    /// The next version of a key in the range. What it yields counts only if it comes to its end.
    pub(crate) fn next(&mut self) -> Result<Option<Version>, Error> {
        let ahead = |source: &&mut Source| source.head.as_ref().map(Version::position);
        let first = self.sources.iter_mut().filter(|source| source.head.is_some()).min_by_key(ahead);
        Ok(first.map(Source::take).transpose()?.flatten())
    }
}

impl Source {
    fn open(range: PartitionRange, Held { path, header }: &Held) -> Result<Source, Error> {
        let name = |error| named(path, error);
        let file = File::open(path).map_err(|error| name(Error::io(&error)))?;
        let reader = Reader::open(file, header.range.id).map_err(name)?;
        let mut source = Source { path: path.clone(), reader, range, head: None };
        source.take()?;
        Ok(source)
    }

    /// Goes on to its next version, and answers the one before. It is read to its end also where nothing of it is
    /// wanted: what it holds is to be compared with what it says.
    fn take(&mut self) -> Result<Option<Version>, Error> {
        loop {
            let next = self.reader.next().map_err(|error| named(&self.path, error))?;
            if next.as_ref().is_none_or(|version| self.range.contains(&version.kv.key)) {
                return Ok(std::mem::replace(&mut self.head, next));
            }
        }
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
