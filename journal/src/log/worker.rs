//! The log's one thread: takes what has queued, makes it durable, calls back in order.

use std::sync::Arc;

use super::queue::{Queued, Shared};
use super::to_io;
use super::writer::{Step, Writer, Written};
use crate::error::Error;
use crate::planted::Bug;

/// What the thread owns.
pub(super) struct Worker {
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn run(&mut self) {
        while let Some(batch) = self.shared.take() {
            self.turn(batch);
        }
        if !self.shared.failed()
            && let Err(error) = self.mark()
        {
            self.shared.fail(error);
        }
    }

    /// Makes one batch durable and calls back.
    pub(super) fn turn(&mut self, mut batch: Vec<Queued>) {
        let Some(last) = batch.last().map(|queued| queued.ticket) else { return };
        if Bug::AcknowledgeBeforeSync.is_planted() {
            for queued in &mut batch {
                (std::mem::replace(&mut queued.done, Box::new(drop)))(Ok(()));
            }
        }
        let outcome = match self.shared.error() {
            Some(error) => Err(error),
            None => self.commit(&batch),
        };
        let (result, retired) = match outcome {
            Ok(written) => (Ok(()), self.shared.publish(written, last)),
            Err(error) => (Err(error), Vec::new()),
        };
        for queued in batch {
            (queued.done)(result.clone().map_err(to_io));
        }
        if let Err(error) = self.writer.segments.recycle(retired) {
            self.shared.fail(error);
        }
    }

    fn commit(&mut self, batch: &[Queued]) -> Result<Written, Error> {
        self.writer.committed_end = self.writer.committed_end.max(self.shared.committed_end());
        self.writer.commit(batch.iter().map(|queued| &queued.step)).inspect_err(|error| {
            self.shared.fail(error.clone());
        })
    }

    /// Restates the state, so that everything before it counts as acknowledged.
    pub(super) fn mark(&mut self) -> Result<(), Error> {
        self.writer.committed_end = self.writer.committed_end.max(self.shared.committed_end());
        let written = self.writer.commit(std::iter::once(&Step::Mark))?;
        let ticket = self.shared.last_ticket();
        self.shared.publish(written, ticket);
        Ok(())
    }
}
