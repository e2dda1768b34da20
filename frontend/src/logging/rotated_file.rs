//! A log file that is put aside when it is full.
//!
//!     etcd.log                              the current one
//!     etcd-2026-11-21T03-24-28.344.log      a full one, by the moment at which it was put aside
//!     etcd-2026-11-21T03-24-28.344.log.gz   the same, compressed

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::TimeZone;

use super::LogRotation;
use super::compressor::Compressor;
use super::record;

pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: LogRotation,
    file: File,
    bytes: u64,
    /// When a file was put aside the last time, since the epoch.
    last: Duration,
    /// Thread that compresses full files, where that is wanted.
    compressor: Option<Compressor>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl RotatedFile {
    pub(super) fn open(path: &Path, rotation: LogRotation) -> io::Result<RotatedFile> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        let mut rotated = RotatedFile {
            path: path.to_owned(),
            rotation,
            file,
            bytes,
            last: Duration::ZERO,
            compressor: None,
        };
        if rotation.compresses {
            rotated.compressor = Some(Compressor::start()?);
        }
        // Full files of an earlier process may be too old by now, or not compressed yet.
        rotated.forget()?;
        Ok(rotated)
    }

    /// Writes a line, into a new file where it does not fit any more.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.bytes > 0 && self.bytes + bytes > self.rotation.file_bytes_max {
            // A file that cannot be put aside grows on, until it would be full once more: no line is lost.
            let _ = self.rotate();
            self.bytes = 0;
        }
        self.file.write_all(line)?;
        self.bytes += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Later than the last one, so that the order of the names is that of the files.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut moment = now.max(self.last + Duration::from_millis(1));
        while self.full(moment).exists() {
            moment += Duration::from_millis(1);
        }
        std::fs::rename(&self.path, self.full(moment))?;
        self.last = moment;
        self.file = open(&self.path)?;
        self.forget()
    }

    /// The name of a file that was put aside at a moment.
    fn full(&self, moment: Duration) -> PathBuf {
        let time = if self.rotation.is_local { local_time(moment) } else { record::time(moment) };
        // 2026-11-21T03:24:28.344996Z, without what file systems do not like.
        let time = time.replace(':', "-");
        let (stem, end) = self.name();
        self.path.with_file_name(format!("{stem}-{}{end}", &time[..MOMENT]))
    }

    /// The name up to its extension, and that, with its dot.
    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let end = text(self.path.extension());
        (text(self.path.file_stem()), if end.is_empty() { end } else { format!(".{end}") })
    }

    /// Removes full files that are too many or too old, and has the others compressed where that is wanted.
    fn forget(&self) -> io::Result<()> {
        let (stem, end) = self.name();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut full: Vec<PathBuf> = std::fs::read_dir(folder.unwrap_or(Path::new(".")))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_full(path, &stem, &end))
            .collect();
        full.sort_unstable();
        let files_max = self.rotation.files_max.and_then(|most| usize::try_from(most).ok());
        let too_many = full.len() - full.len().min(files_max.unwrap_or(usize::MAX));
        for (number, path) in full.iter().enumerate() {
            let is_old = || {
                let age =
                    path.metadata().and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
                self.rotation.age_max.is_some_and(|most| age.is_some_and(|age| age > most))
            };
            if number < too_many || is_old() {
                std::fs::remove_file(path)?;
            } else if let Some(compressor) = self.compressor.as_ref().filter(|_| !is_compressed(path)) {
                compressor.compress(path.clone());
            }
        }
        Ok(())
    }
}

/// As long as 2026-11-21T03-24-28.344 is.
const MOMENT: usize = 23;

/// Returns the local time of a moment in the form of `record::time`.
fn local_time(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    let local = chrono::Local.timestamp_opt(seconds, since_epoch.subsec_nanos()).single();
    local.map_or_else(|| record::time(since_epoch), |local| local.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Whether a file was put aside by a rotation: others whose names begin alike are left alone.
fn is_full(path: &Path, stem: &str, end: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let moment = name.strip_suffix(".gz").filter(|_| end != ".gz").unwrap_or(&name);
    let moment = moment
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(end));
    moment.is_some_and(|moment| {
        moment.len() == MOMENT && moment.bytes().all(|byte| byte.is_ascii_digit() || b"-T.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("it is there");
        let names =
            entries.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    fn rotation(files_max: Option<u64>, age_max: Option<Duration>) -> LogRotation {
        LogRotation { file_bytes_max: 10, files_max, age_max, is_local: false, compresses: false }
    }

    #[test]
    fn full_files_are_compressed_and_those_of_an_earlier_process_as_well() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("etcd.log");
        let left = folder.path().join("etcd-2026-11-21T03-24-28.344.log");
        std::fs::write(&left, "left\n").expect("there is room");
        let rotation = LogRotation { compresses: true, is_local: true, ..rotation(Some(2), None) };
        let mut file = RotatedFile::open(&path, rotation).expect("there is room");
        for number in 0..2 {
            file.write(format!("line {number}\n").as_bytes()).expect("there is room");
        }
        // Its thread ends with it.
        drop(file);
        let text = |name: &str| {
            let file = File::open(folder.path().join(name)).expect("it is there");
            std::io::read_to_string(flate2::read::GzDecoder::new(file)).expect("it is whole")
        };
        let names = names(folder.path());
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(
            (names[0].as_str(), names[2].as_str()),
            ("etcd-2026-11-21T03-24-28.344.log.gz", "etcd.log")
        );
        assert_eq!((text(&names[0]), text(&names[1])), ("left\n".into(), "line 0\n".into()));
        let mut file = RotatedFile::open(&path, rotation).expect("there is room");
        file.write(b"1234567890").expect("there is room");
        drop(file);
        assert_eq!(names_of_full(folder.path()).len(), 2, "compressed ones count");
    }

    fn names_of_full(folder: &Path) -> Vec<String> {
        names(folder).into_iter().filter(|name| name.contains('T')).collect()
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_stay() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("etcd.log");
        std::fs::write(folder.path().join("etcd-notes.log"), "mine").expect("there is room");
        let rotation = rotation(Some(2), None);
        let mut file = RotatedFile::open(&path, rotation).expect("there is room");
        for number in 0..5 {
            file.write(format!("line {number}\n").as_bytes()).expect("there is room");
        }
        let names = names(folder.path());
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"etcd-notes.log".to_owned()), "{names:?}");
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it is there");
        let full: Vec<String> =
            names.iter().filter(|name| name.contains('T')).map(|name| text(name)).collect();
        assert_eq!((full, text("etcd.log")), (vec!["line 2\n".into(), "line 3\n".into()], "line 4\n".into()));
    }

    #[test]
    fn what_was_there_counts() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("log");
        std::fs::write(&path, "123456789").expect("there is room");
        let rotation = rotation(None, Some(Duration::ZERO));
        let mut file = RotatedFile::open(&path, rotation).expect("there is room");
        file.write(b"12").expect("there is room");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"12");
        assert_eq!(names(folder.path()), ["log"], "what is older than nothing goes");
    }
}
