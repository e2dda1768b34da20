//! Which cluster and which member a data directory is.
//!
//!     identity    "mainstem cluster 00000000000000c0 member 0000000000000007"
//!
//! Chosen at random at the first start, and the same for ever: clients check the cluster's id in every answer.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::StartError;
use crate::config::Storage;

const FILE: &str = "identity";
/// No identity is longer; what is, is damaged.
const BYTES_MAX: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u64,
    pub(super) member: u64,
    /// Whether it was chosen just now.
    pub(super) is_new: bool,
}

impl Identity {
    pub(super) fn of(storage: &Storage) -> Result<Identity, StartError> {
        let Storage::Directory(path) = storage else { return Ok(Identity::random()) };
        let failed = |error| StartError::Directory { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        if read(path).map_err(failed)?.is_none() {
            write(path, Identity::random()).map_err(failed)?;
            // Another process may have been quicker: then what it wrote counts.
            let identity = Identity::of(storage)?;
            return Ok(Identity { is_new: true, ..identity });
        }
        let text = read(path).map_err(failed)?.unwrap_or_default();
        parse(&text).ok_or_else(|| StartError::Identity { path: path.join(FILE) })
    }

    fn random() -> Identity {
        // 0 means "none" to clients.
        let id = || rand::random::<u64>().max(1);
        Identity { cluster: id(), member: id(), is_new: true }
    }
}

fn read(directory: &Path) -> io::Result<Option<String>> {
    let file = match File::open(directory.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Written aside and linked, so that it is there as a whole or not at all, and never replaces another.
fn write(directory: &Path, identity: Identity) -> io::Result<()> {
    let aside = directory.join(format!("{FILE}.{:016x}", identity.member));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let Identity { cluster, member, .. } = identity;
    file.write_all(format!("mainstem cluster {cluster:016x} member {member:016x}\n").as_bytes())?;
    file.sync_all()?;
    match std::fs::hard_link(&aside, directory.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::remove_file(&aside)?;
    File::open(directory)?.sync_all()
}

fn parse(text: &str) -> Option<Identity> {
    let rest = text.strip_prefix("mainstem cluster ")?.strip_suffix('\n')?;
    let (cluster, member) = rest.split_once(" member ")?;
    let id = |text: &str| u64::from_str_radix(text, 16).ok().filter(|id| *id != 0);
    Some(Identity { cluster: id(cluster)?, member: id(member)?, is_new: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Storage) {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let storage = Storage::Directory(scratch.path().join("data"));
        (scratch, storage)
    }

    #[test]
    fn it_is_chosen_once() {
        let (_scratch, storage) = scratch();
        let first = Identity::of(&storage).expect("it is chosen");
        let second = Identity::of(&storage).expect("it is there");
        assert!(first.is_new && !second.is_new);
        assert_eq!((first.cluster, first.member), (second.cluster, second.member));
        assert_ne!(first.cluster, Identity::random().cluster);
    }

    #[test]
    fn damage_is_refused_and_not_chosen_anew() {
        let (scratch, storage) = scratch();
        Identity::of(&storage).expect("it is chosen");
        for text in ["", "mainstem cluster 0 member 1\n", "mainstem cluster 1 member 1", "xxxx"] {
            std::fs::write(scratch.path().join("data").join(FILE), text).expect("there is room");
            let error = Identity::of(&storage).expect_err("it is damaged");
            assert!(error.to_string().contains("identity is damaged"), "{error}");
        }
    }

    #[test]
    fn what_is_no_directory_is_refused_with_its_name() {
        let (scratch, storage) = scratch();
        std::fs::write(scratch.path().join("data"), "").expect("there is room");
        let error = Identity::of(&storage).expect_err("it is a file").to_string();
        assert!(
            error.starts_with("cannot use the data directory ") && error.contains("data: File exists"),
            "{error}"
        );
    }
}
