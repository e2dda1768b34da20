//! The nodes as a session sees them: which are up, and who has yet to answer `init`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::check::history::Moment;
use crate::runner::Trouble;
use crate::runner::message::{self, End, Reply};

/// What a session wants of its nodes: processes, or something simpler in tests.
pub trait Nodes {
    fn start(&mut self, node: usize) -> Result<(), Trouble>;
    /// Whether the line was taken. It is not if too many wait already.
    fn send(&mut self, node: usize, line: String) -> bool;
    fn kill(&mut self, node: usize);
    fn pause(&mut self, node: usize);
    fn resume(&mut self, node: usize);
}

/// A node answers `init` within this, as upstream asks for.
const INIT_MAX: Duration = Duration::from_secs(10);

const INIT_MESSAGE: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Down,
    /// A client of its own has asked, and waits.
    Starting {
        client: u32,
        deadline: Moment,
    },
    Up,
}

#[derive(Debug)]
pub(super) struct Roster(Vec<State>);

impl Roster {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![State::Down; count])
    }

    pub(super) fn set(&mut self, node: usize, state: State) {
        self.0[node] = state;
    }

    /// The line that a node is started with.
    pub(super) fn init(&mut self, now: Moment, node: usize, client: u32) -> String {
        self.0[node] = State::Starting { client, deadline: now + INIT_MAX };
        let names: Vec<String> = (0..self.0.len()).map(|node| End::Node(node).name()).collect();
        let body = json!({"type": "init", "msg_id": INIT_MESSAGE, "node_id": names[node], "node_ids": names});
        message::line(End::Client(client), End::Node(node), &body)
    }

    /// Whether this is the answer to an `init`.
    pub(super) fn initialized(&mut self, client: u32, body: &Map<String, Value>) -> Result<bool, String> {
        let waits =
            |state: &&mut State| matches!(state, State::Starting { client: asked, .. } if *asked == client);
        let Some(state) = self.0.iter_mut().find(waits) else { return Ok(false) };
        match message::reply(body.clone(), INIT_MESSAGE, "init_ok")? {
            Reply::Ok(fields) => fields.end()?,
            Reply::Error { code } => return Err(format!("it answers `init` with error {code}")),
        }
        *state = State::Up;
        Ok(true)
    }

    pub(super) fn check_deadlines(&self, now: Moment) -> Result<(), Trouble> {
        let late = |state: &State| matches!(state, State::Starting { deadline, .. } if *deadline <= now);
        match self.0.iter().position(late) {
            Some(node) => Err(Trouble(format!("node n{node} did not answer `init` within {INIT_MAX:?}"))),
            None => Ok(()),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let deadlines = self.0.iter().filter_map(|state| match state {
            State::Starting { deadline, .. } => Some(*deadline),
            State::Down | State::Up => None,
        });
        deadlines.min()
    }

    pub(super) fn runs(&self, node: usize) -> bool {
        self.0[node] != State::Down
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.0[node] == State::Up
    }

    pub(super) fn up(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|node| self.is_up(*node)).collect()
    }

    pub(super) fn all_are_up(&self) -> bool {
        self.0.iter().all(|state| *state == State::Up)
    }
}
