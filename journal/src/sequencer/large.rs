//! An append with many keys, in steps.
//!
//!     reads checked ──► writes weighed ──► judged ──► writes noted ──► in its place
//!           └──────────────────┴─────────────┴─► refused: let go of in steps, too
//!
//! The end of a lease with 100,000 keys reads and writes each of them. The thread does other things between two steps, but
//! no other append is looked at before the last one. So nothing that was checked can have changed meanwhile, and an append has
//! its place as if it had come all at once.

use std::ops::Range;
use std::time::Duration;

use super::judge::{Judgement, weighed};
use super::{Answer, Sequencer};
use crate::codec;
use crate::conflicts::Freshness;
use crate::record::Append;
use crate::state::State;

/// Append between two steps.
pub(super) struct Large<W> {
    append: Append,
    pub(super) waiter: W,
    stage: Stage,
}

/// What the next step does. `next` is the first read or write that it looks at.
enum Stage {
    Check { next: usize, found: Freshness },
    Weigh { next: usize, key_bytes: usize, bytes: usize },
    Note { next: usize, bytes: usize },
    LetGo(Judgement),
}

/// What came of a step.
enum Stepped {
    On(Stage),
    Done(Judgement),
}

impl<W> Sequencer<W> {
    /// Returns whether the last append needs another step.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.large.is_some()
    }

    pub(super) fn begin(&mut self, append: Append, waiter: W, state: &State) -> Answer<W> {
        let stage = match self.unwelcome(&append, state) {
            Some(refused) => Stage::LetGo(refused),
            None => Stage::Check { next: 0, found: Freshness::Fresh },
        };
        self.large = Some(Large { append, waiter, stage });
        Answer::Unfinished
    }

    /// Takes the next step of the append that is unfinished. `state` has everything that `committed` was told of.
    ///
    /// # Panics
    /// When none is.
    pub(crate) fn go_on(&mut self, state: &State, now: Duration) -> Answer<W> {
        let Large { mut append, waiter, stage } = self.large.take().expect("an append is unfinished");
        match self.step(&mut append, stage, state, now) {
            Stepped::Done(judgement) => self.settle(append, waiter, judgement),
            Stepped::On(stage) => {
                self.large = Some(Large { append, waiter, stage });
                Answer::Unfinished
            }
        }
    }

    fn step(&mut self, append: &mut Append, stage: Stage, state: &State, now: Duration) -> Stepped {
        match stage {
            Stage::Check { next, found } => self.check(append, next, found, now),
            Stage::Weigh { next, key_bytes, bytes } => {
                let part = self.part(next, append.writes.len());
                let previous = next.checked_sub(1).map_or(&[][..], |before| append.writes[before].key());
                let writes = &append.writes[part.clone()];
                let key_bytes = key_bytes + writes.iter().map(|write| write.key().len()).sum::<usize>();
                let bytes = bytes + codec::writes_bytes(previous, writes);
                if part.end < append.writes.len() {
                    return Stepped::On(Stage::Weigh { next: part.end, key_bytes, bytes });
                }
                let refusal = self.unfounded(append, state);
                Stepped::On(match refusal.unwrap_or_else(|| weighed(key_bytes, bytes, &self.limits)) {
                    Judgement::Fresh { bytes } => Stage::Note { next: 0, bytes },
                    refused => Stage::LetGo(refused),
                })
            }
            Stage::Note { next, bytes } => {
                let part = self.part(next, append.writes.len());
                if !part.is_empty() {
                    self.window.note_part(&append.writes[part.clone()], self.last.next());
                }
                append.reads.truncate(append.reads.len().saturating_sub(self.limits.step_keys));
                if part.end < append.writes.len() || !append.reads.is_empty() {
                    return Stepped::On(Stage::Note { next: part.end, bytes });
                }
                Stepped::Done(Judgement::Fresh { bytes })
            }
            Stage::LetGo(judgement) => {
                let step = self.limits.step_keys;
                append.reads.truncate(append.reads.len().saturating_sub(step));
                append.writes.truncate(append.writes.len().saturating_sub(step));
                if append.reads.is_empty() && append.writes.is_empty() {
                    return Stepped::Done(judgement);
                }
                Stepped::On(Stage::LetGo(judgement))
            }
        }
    }

    /// Checks reads until they and what their ranges were compared with are as many as a step may have.
    fn check(&mut self, append: &Append, mut next: usize, mut found: Freshness, now: Duration) -> Stepped {
        let (mut looked, scanned) = (0, self.window.scanned());
        let step = self.limits.step_keys as u64;
        while let Some(read) = append.reads.get(next)
            && looked + (self.window.scanned() - scanned) < step
        {
            if let Some(refused) = self.ahead(std::slice::from_ref(read)) {
                return Stepped::On(Stage::LetGo(refused));
            }
            found = found.or_worse(self.window.check_read(read));
            (next, looked) = (next + 1, looked + 1);
        }
        self.keys += looked;
        if next < append.reads.len() {
            return Stepped::On(Stage::Check { next, found });
        }
        Stepped::On(match self.changed(append, found, now) {
            Some(refused) => Stage::LetGo(refused),
            None => Stage::Weigh { next: 0, key_bytes: 0, bytes: codec::effects_bytes(append) },
        })
    }

    /// Places of the writes that the step from `next` on looks at.
    fn part(&mut self, next: usize, length: usize) -> Range<usize> {
        let end = length.min(next + self.limits.step_keys);
        self.keys += (end - next) as u64;
        next..end
    }
}
