//! Whoever may have what is missing here.

use std::sync::Arc;

use super::Folder;
use super::peer::{Peer, Refusal};
use super::piece::Piece;
use super::store::Store;

/// A member, or the place where all of them leave their snapshots.
pub(crate) enum Lender {
    Member(Peer),
    Store(Store),
}

impl Lender {
    pub(crate) fn url(&self) -> &str {
        match self {
            Lender::Member(peer) => &peer.url,
            Lender::Store(store) => store.url(),
        }
    }

    /// Brings pieces of one position into the folder.
    pub(crate) async fn fetch(&self, folder: &Arc<Folder>, pieces: Vec<Piece>) -> Result<(), Refusal> {
        match self {
            Lender::Member(peer) => peer.fetch(folder, pieces).await,
            Lender::Store(store) => store.fetch(folder, pieces).await,
        }
    }
}
