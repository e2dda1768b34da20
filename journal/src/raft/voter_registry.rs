//! The registry of voters at one node: by which data directory each is known, and what it has promised.
//!
//!     first message of a voter ─► its storage id is recorded ─► on disk ─► what it votes or acknowledges counts
//!     start                    ─► the others tell what they know of this node
//!                                     another storage id      it has lost its disk: it is refused
//!                                     more than it has        its disk is an older one: it does not vote until it has caught up
//!
//! Everything here is a lower bound: what no reachable node knows is not missed (ADR 26).

mod file;
mod table;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::raft::{Message, VoterRecord as Told};
use tokio::sync::watch;

use super::promise::{DurablePromise, Promise};
use super::types::LogId;
use super::types::term;
use crate::error::Error;
use crate::machine;
use crate::planted::Bug;

pub(super) use table::Finding;
pub(crate) use table::StorageId;
use table::Table;

/// How this node stands with the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Set once the others were asked what they know of this node. Before that it neither votes nor asks for votes.
    pub(crate) is_introduced: bool,
    /// What it has promised and does not have: it does not vote.
    pub(crate) missing: Option<Promise>,
    /// Another data directory is known for it.
    pub(crate) replaced_by: Option<StorageId>,
    /// Number of the other voters that have promised something to the cluster.
    pub(crate) bootstrapped: usize,
}

struct Content {
    table: Table,
    /// The table as it is on disk.
    saved: Table,
}

impl Content {
    /// Returns true where the storage id of the node is on disk, and that it has promised something if it has. How much it
    /// has promised follows later.
    fn is_saved(&self, id: u64) -> bool {
        let [now, saved] = [&self.table, &self.saved].map(|table| table.voters.get(&id));
        now.zip(saved).is_some_and(|(now, saved)| {
            now.storage == saved.storage && (now.promise.is_empty() || !saved.promise.is_empty())
        })
    }
}

/// Clones are the same registry.
#[derive(Clone)]
pub(crate) struct VoterRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    node: u64,
    /// `None`: of a journal without a disk.
    directory: Option<PathBuf>,
    own: DurablePromise,
    content: Mutex<Content>,
    standing: watch::Sender<Standing>,
    /// Held by the one that writes the file.
    writing: Mutex<()>,
}

impl VoterRegistry {
    /// Opens the registry of a data directory, or marks a directory that has none with the storage id `new`. Durable when
    /// it returns.
    ///
    /// # Errors
    /// `Io` and `Corrupt`: the file cannot be read, or written.
    pub(crate) fn open(
        node: u64,
        directory: Option<PathBuf>,
        new: StorageId,
    ) -> Result<VoterRegistry, Error> {
        let table = match &directory {
            None => None,
            Some(path) => {
                let place = path.join(file::NAME);
                file::read(path).map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => Error::Corrupt(format!(
                        "{} is damaged: put it back from a copy of this data directory, or put a new member in the place \
                         of this one: mainstem member replace",
                        place.display()
                    )),
                    _ => Error::io(format!("cannot read {}", place.display()), &error),
                })?
            }
        };
        let is_new = table.is_none();
        let table = table.unwrap_or_else(|| Table { storage: new.max(1), ..Table::default() });
        if let Some(path) = directory.as_ref().filter(|_| is_new) {
            let failed = |error| Error::io(format!("cannot write to {}", path.display()), &error);
            file::write(path, &table).map_err(failed)?;
        }
        let standing = Standing { missing: table.missing, ..Standing::default() };
        let content = Mutex::new(Content { saved: table.clone(), table });
        let (own, standing) = (DurablePromise::default(), watch::Sender::new(standing));
        let shared = Shared { node, directory, own, content, standing, writing: Mutex::default() };
        Ok(VoterRegistry { shared: Arc::new(shared) })
    }

    /// The promise of this node, which the log raises.
    pub(crate) fn own(&self) -> DurablePromise {
        self.shared.own.clone()
    }

    pub(crate) fn storage(&self) -> StorageId {
        self.shared.content.lock().table.storage
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    pub(crate) fn standing_now(&self) -> Standing {
        *self.shared.standing.borrow()
    }

    /// Returns true where this node may vote, and ask for votes.
    pub(crate) fn may_vote(&self) -> bool {
        let standing = self.standing_now();
        standing.is_introduced && standing.missing.is_none()
    }

    /// The others were asked, as far as they can be reached.
    pub(crate) fn introduced(&self) {
        self.shared.standing.send_modify(|standing| standing.is_introduced = true);
    }

    /// The other voters that have promised something, in the order of their ids.
    pub(crate) fn bootstrapped(&self) -> Vec<u64> {
        self.shared.content.lock().table.bootstrapped().collect()
    }

    /// Returns true where the storage id of the node is on disk here.
    pub(super) fn has_recorded(&self, id: u64) -> bool {
        self.shared.content.lock().is_saved(id)
    }

    /// Writes into a message what the receiver compares with its own registry.
    pub(super) fn sign(&self, to: u64, message: &mut Message) {
        self.shared.content.lock().table.sign(to, self.shared.own.now(), message);
    }

    /// What a message tells of all voters.
    pub(super) fn told(&self) -> Vec<Told> {
        self.shared.content.lock().table.told()
    }

    /// Compares a message with the registry, before its body is read.
    ///
    /// # Errors
    /// Why the body must not be read.
    pub(super) fn examine(&self, message: &Message) -> Result<(), Finding> {
        if Bug::VoteOnAnyDisk.is_planted() {
            return Ok(());
        }
        let Shared { node, own, content, standing, .. } = &*self.shared;
        let mut content = content.lock();
        let found = content.table.examine(*node, own.now(), message);
        let missing = content.table.missing;
        let bootstrapped = content.table.bootstrapped().count();
        standing.send_if_modified(|standing| {
            let before = *standing;
            (standing.missing, standing.bootstrapped) = (missing, bootstrapped);
            if let Err(Finding::Replaced { known }) = found {
                standing.replaced_by = Some(known);
            }
            *standing != before
        });
        found?;
        if message.storage != 0 && !content.is_saved(message.from) {
            return Err(Finding::NotRecorded);
        }
        Ok(())
    }

    /// Records the sender of a message. Durable when it returns.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) async fn record(&self, message: &Message) -> io::Result<()> {
        self.shared.content.lock().table.record(message);
        self.save().await
    }

    /// A leader has spoken, and this node has its log up to `matching` on disk. Returns true where it votes again.
    pub(super) fn catch_up(&self, term_told: u64, committed: Option<LogId>, matching: Option<LogId>) -> bool {
        let place = |id: LogId| (term(&id), id.index());
        let mut content = self.shared.content.lock();
        let has_all = content.table.catch_up(term_told, committed.map(place), matching.map(place));
        if has_all {
            self.shared.standing.send_modify(|standing| standing.missing = None);
        }
        has_all
    }

    /// Forgets a member that was removed: its id is not used again.
    pub(super) fn forget(&self, id: u64) {
        self.shared.content.lock().table.voters.remove(&id);
    }

    /// Writes down what has changed. Durable when it returns.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) async fn save(&self) -> io::Result<()> {
        if self.shared.directory.is_none() {
            let mut content = self.shared.content.lock();
            content.saved = content.table.clone();
            return Ok(());
        }
        let shared = self.shared.clone();
        machine::spawn_blocking(move || shared.save()).await.map_err(io::Error::other)?
    }
}

impl Shared {
    fn save(&self) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        let (table, saved) = {
            let content = self.content.lock();
            (content.table.clone(), content.saved == content.table)
        };
        if let Some(directory) = self.directory.as_ref().filter(|_| !saved) {
            file::write(directory, &table)?;
            self.content.lock().saved = table;
        }
        Ok(())
    }
}
