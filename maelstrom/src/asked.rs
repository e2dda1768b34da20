//! Questions between nodes, each answered once though messages are doubled: whoever is asked remembers what it was asked,
//! and is asked by the name of its life, since one that was killed remembers nothing.
//!
//!     asks   ── question 1, life ? ──► answers: "my life is x"        nothing was done
//!     asks   ── question 2, life x ──► answers
//!                └─ doubled ─────────► nothing: it was asked that

use std::collections::{HashMap, HashSet, VecDeque};

use crate::message::Message;

/// Questions that wait for answers. When there are more, all of them are given up: their clients have done so.
const WAITING_MAX: usize = 4_096;
/// Questions that are remembered. A message that is doubled comes twice within moments.
const REMEMBERED_MAX: usize = 65_536;

/// What this node was asked.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    known: HashSet<String>,
    in_order: VecDeque<String>,
}

impl Remembered {
    /// Whether it is the first time.
    pub(crate) fn is_new(&mut self, question: &str) -> bool {
        if !self.known.insert(question.to_owned()) {
            return false;
        }
        self.in_order.push_back(question.to_owned());
        if REMEMBERED_MAX < self.in_order.len()
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// What this node has asked others, for its clients.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_question: HashMap<String, Message>,
    /// Of other nodes, as they have told.
    lives: HashMap<String, String>,
}

impl Waiting {
    /// Takes down a question, and answers by which life the other is to be asked.
    pub(crate) fn asks(&mut self, question: String, other: &str, request: Message) -> String {
        if WAITING_MAX <= self.by_question.len() {
            self.by_question.clear();
        }
        self.by_question.insert(question, request);
        self.lives.get(other).cloned().unwrap_or_default()
    }

    pub(crate) fn lives(&mut self, other: &str, life: &str) {
        self.lives.insert(other.to_owned(), life.to_owned());
    }

    /// The request behind a question that is answered, or refused. `None` the second time.
    pub(crate) fn answered(&mut self, question: &str) -> Option<Message> {
        self.by_question.remove(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;

    #[test]
    fn a_question_counts_once_and_so_does_its_answer() {
        let mut remembered = Remembered::default();
        assert!(remembered.is_new("a") && remembered.is_new("b") && !remembered.is_new("a"));
        for number in 0..REMEMBERED_MAX {
            remembered.is_new(&number.to_string());
        }
        assert!(remembered.known.len() <= REMEMBERED_MAX && remembered.in_order.len() <= REMEMBERED_MAX);

        let mut waiting = Waiting::default();
        let request = || Message { src: "c1".to_owned(), dest: "n0".to_owned(), body: Body::new() };
        assert_eq!(waiting.asks("a".to_owned(), "n5", request()), "");
        waiting.lives("n5", "x");
        assert_eq!(waiting.asks("b".to_owned(), "n5", request()), "x");
        assert_eq!(waiting.answered("a"), Some(request()));
        assert_eq!(waiting.answered("a"), None);
    }
}
