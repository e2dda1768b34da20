//! Why a node could not start, told to whoever started it: what happened, why, and what to do next.

use std::io::ErrorKind;
use std::path::PathBuf;

use journal::advice;

/// What to do about data that contradicts itself.
const RESTORE: &str = "what was acknowledged may be missing, so nothing is served: look at the disk, and put \
                       back the data directory from a backup";

/// Each is one sentence for a person.
#[derive(Debug)]
pub enum StartError {
    Listen {
        url: String,
        error: std::io::Error,
    },
    Directory {
        path: PathBuf,
        error: std::io::Error,
    },
    /// The data directory holds etcd's data.
    EtcdData {
        path: PathBuf,
        found: PathBuf,
    },
    /// The file that names the node is damaged.
    Identity {
        path: PathBuf,
    },
    /// The directory of the journal and the data directory do not belong together.
    JournalDirectory(String),
    /// None of these answers.
    NoJournal {
        endpoints: Vec<String>,
    },
    /// It has no place in the cluster that it was told of.
    Cluster(String),
    /// Certificates, keys or authorities cannot be used.
    Tls(journal::Error),
    Journal(journal::Error),
    Memstore(memstore::Error),
    Threads(std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Listen { url, error } => match error.kind() {
                ErrorKind::AddrInUse => write!(
                    f,
                    "cannot listen on {url}: another program uses that port; stop it, or choose another address"
                ),
                ErrorKind::AddrNotAvailable => {
                    write!(
                        f,
                        "cannot listen on {url}: this machine does not have that address; choose one that it has, or 0.0.0.0 for all"
                    )
                }
                ErrorKind::PermissionDenied => {
                    write!(f, "cannot listen on {url}: ports below 1024 need privileges; choose a higher one")
                }
                _ => write!(f, "cannot listen on {url}: {error}; choose another address"),
            },
            StartError::Directory { path, error } => write!(
                f,
                "cannot use the data directory {}: {error}; {} (--data-dir)",
                path.display(),
                advice(error)
            ),
            StartError::EtcdData { path, found } => write!(
                f,
                "the data directory {} holds etcd's data ({}), which this release does not read, and a store that \
                 begins there would be empty: an import comes with a later release; until then keep running etcd on \
                 it, or name another directory by --data-dir to begin an empty store",
                path.display(),
                found.display()
            ),
            StartError::Identity { path } => write!(
                f,
                "{} is damaged: restore it from a backup of the data directory, or write the line \
                 \"mainstem cluster ID member ID\" into it: the cluster's id is in the journal's file \"cluster\", the member's was logged at each start",
                path.display()
            ),
            StartError::Journal(error @ journal::Error::Corrupt(_)) => {
                write!(f, "the journal cannot start: {error}; {RESTORE}")
            }
            StartError::Cluster(why) | StartError::JournalDirectory(why) => write!(f, "{why}"),
            StartError::NoJournal { endpoints } => write!(
                f,
                "no journal node answers at {}: check --journal-endpoints, which takes peer URLs, and that \
                 `mainstem journal` runs there",
                endpoints.join(", ")
            ),
            StartError::Tls(why) => write!(f, "{why}"),
            StartError::Journal(error) => write!(f, "the journal cannot start: {error}"),
            StartError::Memstore(error @ memstore::Error::Corrupt(_)) => {
                write!(f, "the state cannot be read back: {error}; {RESTORE}")
            }
            StartError::Memstore(error) => write!(f, "the state cannot be read back: {error}"),
            StartError::Threads(error) => {
                write!(f, "no more threads can be started: {error}; raise the limit of this user's processes")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<journal::Error> for StartError {
    fn from(error: journal::Error) -> StartError {
        StartError::Journal(error)
    }
}

impl From<memstore::Error> for StartError {
    fn from(error: memstore::Error) -> StartError {
        StartError::Memstore(error)
    }
}
