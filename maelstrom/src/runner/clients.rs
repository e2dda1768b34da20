//! The clients: each has one request open at a time, and is replaced by a new one when it never learns the outcome.

use serde_json::{Map, Value};

use super::message::{self, Reply};
use super::workload::Workload;
use crate::check::history::{Moment, Operation, Outcome, Phase};

/// How often a read after the faults is tried.
const FINAL_TRIES_MAX: u32 = 10;

/// An operation with its place and, after the faults, how often it was tried.
type Called<W> = (<W as Workload>::Call, u32);
type Done<W> = Operation<<W as Workload>::Call, <W as Workload>::Answer>;

pub struct Clients<W: Workload> {
    slots: Vec<Slot<W>>,
    /// Whoever has a lower number exists, or did.
    next: u32,
}

/// A place for clients, one after the other, always at the same node.
struct Slot<W: Workload> {
    client: u32,
    messages: u64,
    open: Option<Open<W>>,
    /// To be tried again.
    again: Option<Called<W>>,
}

struct Open<W: Workload> {
    call: W::Call,
    message: u64,
    invoked: Moment,
    deadline: Moment,
    phase: Phase,
    tries: u32,
}

/// What a node is asked.
pub struct Request {
    pub client: u32,
    pub body: Value,
}

impl<W: Workload> Clients<W> {
    pub fn new(count: usize) -> Self {
        let mut clients = Self { slots: Vec::new(), next: 0 };
        for _ in 0..count {
            let client = clients.hire();
            clients.slots.push(Slot { client, messages: 0, open: None, again: None });
        }
        clients
    }

    /// The number of a client that there was none of before.
    pub fn hire(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// It exists, or did.
    pub fn was_hired(&self, client: u32) -> bool {
        client < self.next
    }

    /// Those that have nothing open.
    pub fn free(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.open.is_none()).map(|(index, _)| index)
    }

    pub fn all_are_free(&self) -> bool {
        self.slots.iter().all(|slot| slot.open.is_none())
    }

    pub fn take_again(&mut self, slot: usize) -> Option<(W::Call, u32)> {
        self.slots[slot].again.take()
    }

    pub fn invoke(
        &mut self,
        slot: usize,
        (call, tries): (W::Call, u32),
        phase: Phase,
        (now, deadline): (Moment, Moment),
    ) -> Request {
        let slot = &mut self.slots[slot];
        slot.messages += 1;
        let mut body = W::request(&call);
        body["type"] = W::kind(&call).into();
        body["msg_id"] = slot.messages.into();
        slot.open = Some(Open { call, message: slot.messages, invoked: now, deadline, phase, tries });
        Request { client: slot.client, body }
    }

    /// An answer has arrived. `None` if its client is gone by now; it learned nothing of it.
    pub fn answer(
        &mut self,
        client: u32,
        body: Map<String, Value>,
        now: Moment,
    ) -> Result<Option<(usize, Done<W>)>, String> {
        let Some(index) = self.slots.iter().position(|slot| slot.client == client) else { return Ok(None) };
        let Some(open) = &self.slots[index].open else {
            return Err(format!("c{client} has no request open: it was answered twice, or never asked"));
        };
        let expected = format!("{}_ok", W::kind(&open.call));
        let outcome = match message::reply(body, open.message, &expected)? {
            Reply::Ok(mut fields) => {
                let answer = W::answer(&open.call, &mut fields)?;
                fields.end()?;
                Outcome::Ok { at: now, answer }
            }
            Reply::Error { code } if message::is_definite(code) => Outcome::Fail { at: now, code },
            Reply::Error { code } => Outcome::Info { why: format!("error {code}") },
        };
        Ok(self.end(index, outcome).map(|done| (index, done)))
    }

    /// Gives up what is past its deadline.
    pub fn expire(&mut self, now: Moment) -> Vec<(usize, Done<W>)> {
        let late = |slot: &Slot<W>| slot.open.as_ref().is_some_and(|open| open.deadline <= now);
        let expired: Vec<usize> =
            self.slots.iter().enumerate().filter(|(_, slot)| late(slot)).map(|(index, _)| index).collect();
        let expired = expired.into_iter().filter_map(|index| {
            let done = self.end(index, Outcome::Info { why: "no answer in time".to_owned() })?;
            Some((index, done))
        });
        expired.collect()
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        self.slots.iter().filter_map(|slot| Some(slot.open.as_ref()?.deadline)).min()
    }

    fn end(&mut self, index: usize, outcome: Outcome<W::Answer>) -> Option<Done<W>> {
        let successor = matches!(outcome, Outcome::Info { .. }).then(|| self.hire());
        let slot = &mut self.slots[index];
        let open = slot.open.take()?;
        let client = slot.client;
        if let Some(successor) = successor {
            slot.client = successor;
            slot.messages = 0;
        }
        // That something does not exist or is something else is an answer, too.
        let answered = matches!(outcome, Outcome::Ok { .. } | Outcome::Fail { code: 20..=22, .. });
        if open.phase == Phase::Final && !answered && open.tries < FINAL_TRIES_MAX {
            slot.again = Some((open.call.clone(), open.tries + 1));
        }
        Some(Operation { client, call: open.call, invoked: open.invoked, outcome, phase: open.phase })
    }
}
