//! Data directories of etcd, which this program does not read.
//!
//! Starting in one would begin an empty store beside the data that the operator means, and clients would take the
//! empty store for theirs.

use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::{Config, Storage};

/// Paths that every data directory of etcd 3 has, from its first start on. The last one is for a data directory that
/// is named one folder too deep.
const MARKS: [&str; 3] = ["member/snap/db", "member/wal", "snap/db"];

/// Refuses a data directory that holds etcd's data and none of ours, whatever the process's roles are.
///
/// # Errors
/// `EtcdData`: the directory, and what was found in it.
pub(super) fn refuse(config: &Config) -> Result<(), StartError> {
    let Storage::Directory(path) = &config.storage else { return Ok(()) };
    match mark(path) {
        Some(found) if !path.join(super::identity::FILE).exists() => {
            Err(StartError::EtcdData { path: path.clone(), found })
        }
        _ => Ok(()),
    }
}

/// What shows that `directory` is etcd's.
fn mark(directory: &Path) -> Option<PathBuf> {
    MARKS.iter().map(|mark| directory.join(mark)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(mark: &str) -> String {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join(mark);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("there is room");
        std::fs::write(&path, "etcd").expect("there is room");
        let error = refuse(&Config::in_directory(scratch.path())).expect_err(mark).to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        error
    }

    #[test]
    fn every_form_of_etcds_data_is_refused_with_the_way_on() {
        for mark in MARKS {
            let error = refused(mark);
            assert!(error.contains("keep running etcd on it, or name another directory"), "{error}");
        }
    }

    #[test]
    fn an_empty_directory_and_one_of_ours_are_taken() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let config = Config::in_directory(scratch.path());
        refuse(&config).expect("it is empty");
        refuse(&Config::ephemeral()).expect("there is none");
        // A release before this check began beside etcd's data: what it has kept since is not given up.
        std::fs::create_dir_all(scratch.path().join("member/wal")).expect("there is room");
        std::fs::write(scratch.path().join(super::super::identity::FILE), "mainstem").expect("there is room");
        refuse(&config).expect("it is ours");
    }
}
