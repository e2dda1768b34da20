//! Where snapshots lie so that they are not lost with this process.

use std::sync::Arc;

use super::journal_nodes::JournalNodes;
use super::store::Store;
use super::{Folder, Header};
use crate::error::Error;

/// Who must hold what is marked.
#[derive(Clone)]
pub(crate) enum Depot {
    Nodes(JournalNodes),
    Store(Store),
}

impl Depot {
    /// Sees to it that these pieces of the folder are there, or later ones.
    ///
    /// # Errors
    /// `Io`: they are not, and why.
    pub(crate) async fn hold(&self, folder: &Arc<Folder>, pieces: &[Header]) -> Result<(), Error> {
        match self {
            Depot::Nodes(nodes) => nodes.hold(folder, pieces).await,
            Depot::Store(store) => store.hold(folder, pieces).await,
        }
    }
}
