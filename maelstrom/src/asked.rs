//! Questions between nodes, each answered once though messages are doubled: whoever is asked remembers what it was asked,
//! and is asked by the name of its life, since one that was killed remembers nothing.
//!
//!     asks   ── question 1, life ? ──► answers: "my life is x"        nothing was done
//!     asks   ── question 2, life x ──► answers
//!                └─ doubled ─────────► nothing: it was asked that

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::message::Message;

/// Questions that wait for answers. When there are more, those of clients that wait no longer are given up, and then all.
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
    by_question: HashMap<String, (Message, Instant)>,
    /// Of other nodes, as they have told.
    lives: HashMap<String, String>,
}

impl Waiting {
    /// Takes down a question, whose client waits until `deadline`. Returns by which life the other is to be asked.
    pub(crate) fn asks(
        &mut self,
        question: String,
        other: &str,
        request: Message,
        deadline: Instant,
    ) -> String {
        if WAITING_MAX <= self.by_question.len() {
            self.by_question.retain(|_, (_, deadline)| Instant::now() < *deadline);
        }
        if WAITING_MAX <= self.by_question.len() {
            self.by_question.clear();
        }
        self.by_question.insert(question, (request, deadline));
        self.lives.get(other).cloned().unwrap_or_default()
    }

    pub(crate) fn lives(&mut self, other: &str, life: &str) {
        self.lives.insert(other.to_owned(), life.to_owned());
    }

    /// The request of a question that is answered, or refused, and until when its client waits. `None` the second time,
    /// and where the client's time is over.
    pub(crate) fn answered(&mut self, question: &str) -> Option<(Message, Instant)> {
        self.by_question.remove(question).filter(|(_, deadline)| Instant::now() < *deadline)
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
        let deadline = Instant::now() + std::time::Duration::from_secs(3_600);
        assert_eq!(waiting.asks("a".to_owned(), "n5", request(), deadline), "");
        waiting.lives("n5", "x");
        assert_eq!(waiting.asks("b".to_owned(), "n5", request(), deadline), "x");
        assert_eq!(waiting.answered("a"), Some((request(), deadline)));
        assert_eq!(waiting.answered("a"), None);
    }

    #[test]
    fn a_client_whose_time_is_over_is_told_nothing() {
        let mut waiting = Waiting::default();
        let request = Message { src: "c1".to_owned(), dest: "n0".to_owned(), body: Body::new() };
        waiting.asks("a".to_owned(), "n5", request, Instant::now());
        assert_eq!(waiting.answered("a"), None);
    }
}
