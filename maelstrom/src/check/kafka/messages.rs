//! What stands at which offset, by those who sent it and those who read it.

use std::collections::BTreeMap;

use super::super::Findings;
use super::super::history::Phase;
use super::{Answer, Call, Operation};

/// By key and offset: the message, and an operation that says so. By key and message: who sent it.
pub(super) struct Messages<'a> {
    placed: BTreeMap<&'a str, BTreeMap<i64, (i64, &'a Operation)>>,
    sent: BTreeMap<(&'a str, i64), &'a Operation>,
}

impl<'a> Messages<'a> {
    /// Reports whatever contradicts: two messages at one offset, one message at two, and those that nobody sent.
    pub(super) fn of(history: &'a [Operation], findings: &mut Findings) -> Self {
        let mut sent = BTreeMap::new();
        for operation in history {
            if let Call::Send { key, message } = &operation.call {
                let twice = sent.insert((key.as_str(), *message), operation);
                assert!(twice.is_none(), "the generator sent {message} to {key} twice");
            }
        }
        let mut messages = Self { placed: BTreeMap::new(), sent };
        for operation in history {
            match (&operation.call, operation.answer()) {
                (Call::Send { key, message }, Some(Answer::Offset(offset))) => {
                    messages.place(key, *offset, *message, operation, findings);
                }
                (_, Some(Answer::Messages(polled))) => {
                    for (key, list) in polled {
                        for (offset, message) in list {
                            messages.check_origin(key, *message, operation, findings);
                            messages.place(key, *offset, *message, operation, findings);
                        }
                    }
                }
                _ => {}
            }
        }
        messages.check_places(findings);
        messages
    }

    fn place(&mut self, key: &'a str, offset: i64, message: i64, by: &'a Operation, findings: &mut Findings) {
        let (held, first) = *self.placed.entry(key).or_default().entry(offset).or_insert((message, by));
        if held != message {
            let what = format!("offset {offset} of key {key} is {held} and {message}:");
            findings.found("offset with two messages", vec![what, first.to_string(), by.to_string()]);
        }
    }

    fn check_origin(&self, key: &'a str, message: i64, poll: &Operation, findings: &mut Findings) {
        let send = self.sent.get(&(key, message));
        let name = match send {
            Some(send) if send.failed() => "message whose send failed",
            Some(send) if !poll.is_before(send) => return,
            Some(_) | None => "message that nobody sent",
        };
        let mut story = vec![format!("{message} of key {key} was read by"), poll.to_string()];
        story.extend(send.map(ToString::to_string));
        findings.found(name, story);
    }

    fn check_places(&self, findings: &mut Findings) {
        for (key, placed) in &self.placed {
            let mut first: BTreeMap<i64, (i64, &Operation)> = BTreeMap::new();
            for (offset, (message, by)) in placed {
                if let Some((other, told)) = first.insert(*message, (*offset, by)) {
                    let what = format!("message {message} of key {key} is at {other} and {offset}:");
                    findings.found("message with two offsets", vec![what, told.to_string(), by.to_string()]);
                }
            }
        }
    }

    pub(super) fn check_polls(&self, history: &[Operation], findings: &mut Findings) {
        for poll in history {
            let (Call::Poll { from }, Some(Answer::Messages(polled))) = (&poll.call, poll.answer()) else {
                continue;
            };
            for (key, list) in polled {
                let Some(start) = from.get(key) else {
                    let story = vec![format!("key {key} was not asked for:"), poll.to_string()];
                    findings.found("message of another key", story);
                    continue;
                };
                let rising = list.windows(2).all(|pair| pair[0].0 < pair[1].0);
                if !rising || list.first().is_some_and(|(offset, _)| offset < start) {
                    let story =
                        vec![format!("offsets of key {key} do not rise from {start}:"), poll.to_string()];
                    findings.found("poll out of order", story);
                }
            }
            for (key, start) in from {
                self.check_skipped(poll, key, *start, polled.get(key).map_or(&[], Vec::as_slice), findings);
            }
        }
    }

    /// All that is known to be between where the poll began and the last that it read. A poll after the faults that reads
    /// nothing says that there is no more.
    fn check_skipped(
        &self,
        poll: &Operation,
        key: &str,
        start: i64,
        list: &[(i64, i64)],
        findings: &mut Findings,
    ) {
        let Some(placed) = self.placed.get(key) else { return };
        let end = list.last().map(|(offset, _)| *offset);
        let known = placed.range(start..).take_while(|(offset, _)| end.is_none_or(|end| **offset < end));
        for (offset, (message, by)) in known {
            let missed = match end {
                Some(_) => !list.iter().any(|(read, _)| read == offset),
                None => poll.phase == Phase::Final && by.is_before(poll),
            };
            if missed {
                let story = vec![
                    format!("{message} is at offset {offset} of key {key} by"),
                    by.to_string(),
                    "and a poll went past it:".to_owned(),
                    poll.to_string(),
                ];
                findings.found("lost message", story);
            }
        }
    }
}

/// What a client sends to a key one after the other has rising offsets.
pub(super) fn check_senders(history: &[Operation], findings: &mut Findings) {
    let mut newest: BTreeMap<(u32, &str), (i64, &Operation)> = BTreeMap::new();
    let mut sends: Vec<&Operation> = history.iter().collect();
    sends.sort_by_key(|operation| operation.invoked);
    for send in sends {
        let (Call::Send { key, .. }, Some(Answer::Offset(offset))) = (&send.call, send.answer()) else {
            continue;
        };
        if let Some((before, earlier)) = newest.insert((send.client, key), (*offset, send))
            && before >= *offset
        {
            let what = format!("offsets of key {key} go back from {before} to {offset} for one sender:");
            findings.found("offset went back", vec![what, earlier.to_string(), send.to_string()]);
        }
    }
}
