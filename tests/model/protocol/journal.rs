//! What happens at journal nodes: appends and questions arrive, batches are proposed and replicated, what has
//! committed is applied and told.

use std::rc::Rc;

use super::broken::Broken;
use super::lessor::Renewal;
use super::network::{Message, News, Question};
use super::node::{Unconfirmed, Waiting};
use super::record::{Append, Entry, Fate, NodeId, Origin, Verdict};
use super::request::Request;
use super::sequencer::Answer;
use super::state::Known;
use super::story::tell;
use super::world::World;

impl World {
    pub(crate) fn receive_append(&mut self, id: NodeId, append: &Append) {
        let now = self.now;
        let node = &mut self.nodes[id];
        if !node.is_up {
            return;
        }
        let local = node.clock.local(now);
        let Some(sequencer) = &mut node.sequencer else {
            return self.tell_verdict(append.origin, Verdict::NotLeader);
        };
        let (term, origin) = (sequencer.term, append.origin);
        let answer = sequencer.append(append, &node.state, local, now);
        tell!(
            self,
            "node {id} in term {term} takes request {} attempt {}: {answer:?}",
            origin.seq,
            origin.attempt
        );
        match answer {
            Answer::Later => {}
            Answer::Now(verdict) => self.tell_verdict(origin, verdict),
            Answer::OnceConfirmed(verdict) => {
                let commit = self.rafts[id].commit;
                let waiting = Waiting::Refusal { origin, verdict };
                let unconfirmed = Unconfirmed::new(waiting, term, commit, local, now);
                self.nodes[id].unconfirmed.push(unconfirmed);
            }
        }
    }

    fn tell_verdict(&mut self, origin: Origin, verdict: Verdict) {
        let operation = self.by_seq[origin.seq];
        let news = News::Verdict { attempt: origin.attempt, verdict };
        self.network.send(Message::Tell { operation, number: 0, news });
    }

    pub(crate) fn receive_question(
        &mut self,
        id: NodeId,
        operation: usize,
        number: usize,
        question: Question,
    ) {
        let (node, raft) = (&self.nodes[id], &self.rafts[id]);
        let Some(term) = raft.leads().filter(|_| node.is_up) else { return };
        let is_ready = node.sequencer.as_ref().is_some_and(|sequencer| sequencer.term == term);
        let early = self.broken == Some(Broken::FateBeforeOwnEntry) && matches!(question, Question::Fate(_));
        if !is_ready && !early {
            return;
        }
        let local = node.clock.local(self.now);
        let at_once = match question {
            Question::Fate(_) => Broken::FateUnconfirmed,
            Question::Barrier => Broken::BarrierUnconfirmed,
            Question::KeepAlive(_) => Broken::KeptUnconfirmed,
        };
        let waiting = Waiting::Question { operation, number, question };
        let unconfirmed = Unconfirmed::new(waiting, term, raft.commit, local, self.now);
        if self.broken == Some(at_once) {
            self.confirmed(id, unconfirmed);
        } else {
            self.nodes[id].unconfirmed.push(unconfirmed);
        }
    }

    /// This node still led after the question came. It goes on waiting for what had committed then to be applied.
    fn confirmed(&mut self, id: NodeId, unconfirmed: Unconfirmed) {
        let node = &mut self.nodes[id];
        match &unconfirmed.waiting {
            Waiting::Refusal { origin, verdict } => self.tell_verdict(*origin, verdict.clone()),
            Waiting::Question { .. } if node.state.lsn < unconfirmed.commit => {
                node.unconfirmed.push(unconfirmed)
            }
            Waiting::Question { operation, number, question } => {
                let news = match question {
                    Question::Barrier => {
                        Some(News::Barrier { lsn: node.state.lsn, revision: node.state.revision })
                    }
                    Question::Fate(origin) => Some(News::Fate(match &node.sequencer {
                        Some(sequencer) => sequencer.fate(*origin, &node.state),
                        None => fate_of_state(node.state.known(*origin, None)),
                    })),
                    Question::KeepAlive(lease) => {
                        let sequencer = node.sequencer.as_mut();
                        let renewal =
                            sequencer.map(|sequencer| sequencer.lessor.renew(*lease, unconfirmed.local));
                        match renewal {
                            Some(Renewal::Renewed) => {
                                self.checker.kept_alive(*lease, unconfirmed.now);
                                Some(News::Kept(true))
                            }
                            Some(Renewal::NotFound) => Some(News::Kept(false)),
                            // It is told that it is gone once it is.
                            Some(Renewal::Ended) | None => None,
                        }
                    }
                };
                if let Some(news) = news {
                    self.network.send(Message::Tell { operation: *operation, number: *number, news });
                }
            }
        }
    }

    /// The sequencer hands a batch to Raft, which takes it some time later.
    pub(crate) fn propose(&mut self, id: NodeId) {
        let records_max = self.mix.records_per_batch;
        let node = &mut self.nodes[id];
        let batch = node.sequencer.as_mut().and_then(|sequencer| sequencer.take_batch(records_max));
        node.outbox.extend(batch);
    }

    pub(crate) fn hand_over(&mut self, id: NodeId) {
        let Some(batch) = self.nodes[id].outbox.pop_front() else { return };
        let raft = &mut self.rafts[id];
        let fenced = |term| term == batch.term || self.broken == Some(Broken::FenceSkipped);
        match raft.leads().filter(|term| fenced(*term)) {
            Some(term) => {
                raft.propose(Entry { term, batch: Some(Rc::new(batch)) });
                let lsn = raft.log.len();
                tell!(self, "node {id} in term {term} proposes {lsn}");
                if self.broken == Some(Broken::ToldBeforeCommitted) {
                    let sequencer = self.nodes[id].sequencer.as_ref();
                    let verdicts = sequencer.map(|sequencer| sequencer.verdicts_of_last_batch(lsn));
                    self.tell_verdicts(verdicts.unwrap_or_default());
                }
            }
            None => self.stop_sequencer(id),
        }
    }

    pub(super) fn tell_verdicts(&mut self, verdicts: Vec<(Origin, Verdict)>) {
        for (origin, verdict) in verdicts {
            self.tell_verdict(origin, verdict);
        }
    }

    pub(super) fn answer_confirmed(&mut self, id: NodeId) {
        let waiting = std::mem::take(&mut self.nodes[id].unconfirmed);
        let term = self.rafts[id].leads();
        let (confirmed, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Unconfirmed::is_confirmed);
        self.nodes[id].unconfirmed = rest;
        for unconfirmed in confirmed {
            self.confirmed(id, unconfirmed);
        }
        if term.is_none() {
            for Unconfirmed { waiting, .. } in std::mem::take(&mut self.nodes[id].unconfirmed) {
                if let Waiting::Refusal { origin, .. } = waiting {
                    self.tell_verdict(origin, Verdict::Unknown);
                }
            }
        }
    }

    pub(crate) fn apply(&mut self, id: NodeId, entries_max: usize) {
        if !self.nodes[id].is_up {
            return;
        }
        for _ in 0..entries_max {
            let (node, raft) = (&mut self.nodes[id], &self.rafts[id]);
            if raft.commit <= node.state.lsn {
                break;
            }
            let entry = Rc::clone(&raft.log[node.state.lsn]);
            node.state.apply(&entry);
            let Some(batch) = &entry.batch else { continue };
            let lsn = node.state.lsn;
            let local = node.clock.local(self.now);
            let sequencer = node.sequencer.as_mut().filter(|sequencer| sequencer.term == batch.term);
            let verdicts = sequencer.map(|sequencer| sequencer.committed(lsn, local));
            self.tell_verdicts(verdicts.unwrap_or_default());
        }
        self.start_sequencer(id);
        self.answer_confirmed(id);
    }

    /// A lease has ended: some frontend is to revoke it.
    pub(crate) fn expire_leases(&mut self, id: NodeId) {
        let local = self.nodes[id].clock.local(self.now);
        let Some(sequencer) = &mut self.nodes[id].sequencer else { return };
        if let Some(lease) = sequencer.lessor.expired(local) {
            let term = sequencer.term;
            self.tally.expirations += 1;
            self.invoke(Request::Expire { lease, term }, false);
        }
    }
}

fn fate_of_state(known: Known) -> Fate {
    match known {
        Known::Committed(outcome) => {
            Fate::Committed { revision: outcome.revision, attempt: outcome.origin.attempt }
        }
        Known::Forgotten => Fate::Expired,
        Known::No => Fate::Never,
    }
}
