//! The watchers of one client at one memstore, wherever that is.

use journal::Revision;

use super::stream::LocalStream;
use super::{Update, WatchSpec, WatcherKey};
use crate::error::Error;
use crate::remote::RemoteStream;

/// Any number of watchers, over any partitions of one memstore.
pub struct WatchStream {
    body: Body,
}

enum Body {
    Here(LocalStream),
    There(Box<RemoteStream>),
}

impl WatchStream {
    pub(crate) fn here(stream: LocalStream) -> WatchStream {
        WatchStream { body: Body::Here(stream) }
    }

    pub(crate) fn there(stream: RemoteStream) -> WatchStream {
        WatchStream { body: Body::There(Box::new(stream)) }
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// `Compacted` when the first revision to tell of is, `WrongPartition` where there is no such partition. A
    /// memstore in another process says so later: `Update::Compacted` and `Update::Moved`.
    pub fn add(&mut self, spec: WatchSpec) -> Result<WatcherKey, Error> {
        match &mut self.body {
            Body::Here(stream) => stream.add(spec),
            Body::There(stream) => Ok(stream.add(spec)),
        }
    }

    /// Ends a watcher. What it was not handed is gone.
    pub fn remove(&mut self, key: WatcherKey) {
        match &mut self.body {
            Body::Here(stream) => stream.remove(key),
            Body::There(stream) => stream.remove(key),
        }
    }

    /// Waits until there is something to tell. May be given up and called again; nothing is lost.
    pub async fn next(&mut self) -> Update {
        match &mut self.body {
            Body::Here(stream) => stream.next().await,
            Body::There(stream) => stream.next().await,
        }
    }

    /// Lets `next` answer `Told`, once, when the watcher was told of everything up to `revision`, also if that is
    /// nothing. Answered by `Events` that reach as far, too; a later call takes an earlier one's place.
    ///
    /// Whoever merges watchers of several partitions, or owes a client its progress, asks those that lag.
    pub fn ask(&mut self, key: WatcherKey, revision: Revision) {
        match &mut self.body {
            Body::Here(stream) => stream.ask(key, revision),
            Body::There(stream) => stream.ask(key, revision),
        }
    }

    /// Up to where every watcher was told but those that are answered with it. `None`: no watcher has caught up, or
    /// they are in another process.
    pub(crate) fn quiet(&self) -> Option<(Revision, Vec<WatcherKey>)> {
        match &self.body {
            Body::Here(stream) => stream.quiet(),
            Body::There(_) => None,
        }
    }

    /// Every event up to and including this revision that the watcher wants was handed out by `next`.
    /// `Revision::ZERO` of a watcher that is gone. Of one in another process, as far as that has said so.
    #[must_use]
    pub fn told(&self, key: WatcherKey) -> Revision {
        match &self.body {
            Body::Here(stream) => stream.told(key),
            Body::There(stream) => stream.told(key),
        }
    }
}
