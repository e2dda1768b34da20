//! Messages between frontends and journal nodes: delayed, lost, duplicated, in any order, some of them very late. An
//! append is not duplicated: a connection carries it once, and none is sent again.

use std::rc::Rc;

use super::mix::Mix;
use super::record::{Append, Fate, LeaseId, Lsn, NodeId, Origin, Revision, Verdict};
use super::rng::Rng;

/// What a leader is asked that it must still be leader for.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Fate(Origin),
    Barrier,
    KeepAlive(LeaseId),
}

#[derive(Clone, Debug)]
pub(crate) enum News {
    Verdict {
        attempt: usize,
        verdict: Verdict,
    },
    Fate(Fate),
    Barrier {
        lsn: Lsn,
        revision: Revision,
    },
    /// Whether there is such a lease.
    Kept(bool),
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Append {
        node: NodeId,
        append: Rc<Append>,
    },
    /// `number` tells an answer to this question from one to an earlier one.
    Ask {
        node: NodeId,
        operation: usize,
        number: usize,
        question: Question,
    },
    Tell {
        operation: usize,
        number: usize,
        news: News,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    on_the_way: Vec<Message>,
    late: Vec<Message>,
}

impl Network {
    pub(crate) fn send(&mut self, message: Message) {
        self.on_the_way.push(message);
    }

    /// Whatever arrives next, if anything does.
    pub(crate) fn deliver(&mut self, rng: &mut Rng, mix: &Mix) -> Option<Message> {
        if !self.late.is_empty() && rng.percent(mix.late_arrives) {
            let index = rng.below(self.late.len());
            return Some(self.late.swap_remove(index));
        }
        if self.on_the_way.is_empty() {
            return None;
        }
        let index = rng.below(self.on_the_way.len());
        let message = self.on_the_way.swap_remove(index);
        if rng.percent(mix.duplicated) && !matches!(message, Message::Append { .. }) {
            self.late.push(message.clone());
        }
        if rng.percent(mix.lost) {
            return None;
        }
        if rng.percent(mix.late) {
            self.late.push(message);
            return None;
        }
        Some(message)
    }
}
