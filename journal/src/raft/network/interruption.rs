//! An interruption of the appends to one peer, which never answers them or answers too slowly.
//!
//!     requests   1 2 3 4 5 ...        what a stream has not got an answer to is in use, and is not trimmed
//!     answers    1 ── interrupted     the stream fails; Raft begins another, behind a snapshot if it must

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio_stream::Stream;

use super::{Answers, unreachable};
use crate::raft::types::Types;

type Answer = Result<openraft::raft::StreamAppendResult<Types>, openraft::errors::RPCError<Types>>;

/// Interruptions by peer. Bounded by the number of peers that this node has ever led.
#[derive(Default)]
pub(super) struct Interruptions(Mutex<BTreeMap<u64, Arc<Notify>>>);

impl Interruptions {
    fn of(&self, peer: u64) -> Arc<Notify> {
        self.0.lock().entry(peer).or_default().clone()
    }

    /// Ends the streams to the peer that are open.
    pub(super) fn interrupt(&self, peer: u64) {
        self.of(peer).notify_waiters();
    }

    /// The answers, until the next interruption.
    pub(super) fn watch<'s>(&self, peer: u64, answers: Answers<'s>) -> Answers<'s> {
        let interrupted = Some(Box::pin(self.of(peer).notified_owned()));
        Box::pin(Interruptible { answers, interrupted })
    }
}

struct Interruptible<'s> {
    answers: Answers<'s>,
    /// `None`: it was interrupted.
    interrupted: Option<Pin<Box<OwnedNotified>>>,
}

impl Stream for Interruptible<'_> {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(interrupted) = &mut self.interrupted else { return Poll::Ready(None) };
        if interrupted.as_mut().poll(context).is_ready() {
            self.interrupted = None;
            let error = unreachable("it is too far behind what is to be trimmed");
            return Poll::Ready(Some(Err(error.into())));
        }
        self.answers.as_mut().poll_next(context)
    }
}
