//! The task beside Raft that everybody's questions go through: it waits for one event and applies it.
//!
//!     commands ──►┐                       ┌──► proposals (at most K on the way)
//!     landings ──►│   one event at a time │
//!     leadership ─►   ─► apply ───────────┼──► answers
//!     confirmed ─►│                       │
//!     alarm ─────►┘                       └──► one confirmation of leadership for all who wait for one
//!
//! A term is sequenced by one `Sequencer` at a time, from the moment the term's own first entry is applied and
//! nothing that this node had proposed before is still on its way (I5), until anything says that leadership may
//! be lost. Whatever waits then learns that nobody knows.

mod leases;
mod questions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::client::{Call, Command, Expired};
use crate::clock::{Clock, Wait};
use crate::confirmation::{Confirmation, Question};
use crate::error::Error;
use crate::raft::state_machine::{Machine, Progress};
use crate::raft::{Cluster, Fence, Landing, Leadership};
use crate::record::LeaseId;
use crate::remote::Lines;
use crate::sequencer::{Answer, Limits, Sequencer};
use crate::state::Applied;
use crate::verdict::Verdict;

/// Commands applied before the batches they make are proposed.
const COMMANDS_AT_ONCE: usize = 1_024;

/// Keys that the appends of one turn look at and write, about, before what else has happened is looked at. One append
/// may have more.
const KEYS_AT_ONCE: u64 = 1 << 16;

/// Whom a verdict goes to.
pub(crate) enum Waiter {
    Append(oneshot::Sender<Verdict>),
    /// A keep-alive that something had to be journaled for.
    KeepAlive(LeaseId, oneshot::Sender<Result<Option<i64>, Error>>),
}

/// How the task is told to end.
pub(crate) struct Closing {
    pub(crate) token: CancellationToken,
    /// How long it then waits for what is on its way.
    pub(crate) patience: Duration,
}

/// What the task waits for.
enum Event {
    Commands,
    Landed(Landing),
    Leadership(Result<(), Error>),
    Progress,
    Confirmed(Result<(), Error>),
    Alarm,
    /// The disk has caught up.
    Room,
    Closing,
    /// What was to land in time has not.
    GivenUp,
}

pub(crate) struct SequencerTask {
    cluster: Cluster,
    machine: Arc<Machine>,
    progress: watch::Receiver<Progress>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    commands: mpsc::Receiver<Call>,
    /// Commands that wait for their turn, the next one last.
    taken: Vec<Call>,
    landed: mpsc::UnboundedSender<Landing>,
    /// Not bounded by itself: nothing is sent but what became of proposals, and of those `batches_max` are on
    /// their way per term that this node has led and not heard the end of.
    landings: mpsc::UnboundedReceiver<Landing>,
    leadership: Leadership,
    sequencer: Option<Sequencer<Waiter>>,
    /// Of the sequencer's proposals.
    fence: Fence,
    /// Proposals whose landing has not come yet, of this term and of earlier ones.
    on_their_way: usize,
    confirmation: Confirmation,
    /// Who waits for leases to end. Each is a call of `Journal::expired`; those given up are dropped when next
    /// one is looked for.
    takers: VecDeque<oneshot::Sender<Result<Vec<Expired>, Error>>>,
    alarm: Option<(Duration, Wait)>,
    /// To the other nodes, where there are any.
    lines: Option<Lines>,
    closing: Closing,
    give_up: Option<Wait>,
    /// The disk is behind: nothing is proposed until it has caught up.
    held_back: bool,
}

impl SequencerTask {
    pub(crate) fn new(
        cluster: Cluster,
        machine: Arc<Machine>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        commands: mpsc::Receiver<Call>,
        lines: Option<Lines>,
        closing: Closing,
    ) -> SequencerTask {
        let (landed, landings) = mpsc::unbounded_channel();
        SequencerTask {
            progress: machine.progress(),
            cluster,
            machine,
            clock,
            limits,
            commands,
            taken: Vec::new(),
            landed,
            landings,
            leadership: Leadership::default(),
            sequencer: None,
            fence: Fence::default(),
            on_their_way: 0,
            confirmation: Confirmation::default(),
            takers: VecDeque::new(),
            alarm: None,
            lines,
            closing,
            give_up: None,
            held_back: false,
        }
    }

    /// Runs until it is told to close, and everything that was on its way has landed.
    pub(crate) async fn run(mut self) {
        self.look_who_leads();
        loop {
            let event = self.next_event().await;
            let began = self.clock.now();
            if !self.apply(event) {
                break;
            }
            self.propose().await;
            self.confirm();
            self.set_alarm();
            let pending = self.sequencer.as_ref().map_or(0, Sequencer::waiting);
            self.machine.note_turn(pending, self.clock.now().saturating_sub(began));
        }
        self.stop();
    }

    async fn next_event(&mut self) -> Event {
        let closing = self.give_up.is_some();
        // A queue that is closed and empty would be ready for ever, and keep whoever is behind it from being asked.
        let unfinished = self.is_unfinished();
        let may_be_asked = !closing || unfinished || !self.commands.is_empty() || !self.taken.is_empty();
        tokio::select! {
            biased;
            landed = self.landings.recv() => Event::Landed(landed.expect("a sender is held here")),
            changed = self.cluster.leadership_changed() => Event::Leadership(changed),
            _ = self.progress.changed() => Event::Progress,
            confirmed = self.confirmation.wait() => Event::Confirmed(confirmed),
            count = take(&mut self.commands, &mut self.taken, unfinished), if may_be_asked => {
                if count == 0 && !unfinished && !closing { Event::Closing } else { Event::Commands }
            }
            () = ring(&mut self.alarm) => Event::Alarm,
            () = self.machine.log().catches_up(), if self.held_back => Event::Room,
            () = self.closing.token.cancelled(), if !closing => Event::Closing,
            () = wait(&mut self.give_up) => Event::GivenUp,
        }
    }

    /// Answers whether to go on.
    fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Commands => self.take_commands(),
            Event::Landed(landing) => self.land(landing),
            Event::Leadership(Err(_)) | Event::GivenUp => return false,
            Event::Leadership(Ok(())) | Event::Progress => self.look_who_leads(),
            Event::Confirmed(confirmed) => self.confirmed(confirmed),
            Event::Alarm => self.alarm = None,
            Event::Room => self.held_back = false,
            Event::Closing => {
                self.commands.close();
                self.give_up = Some(self.clock.until(self.clock.now() + self.closing.patience));
            }
        }
        let idle = self.commands.is_empty()
            && self.taken.is_empty()
            && !self.is_unfinished()
            && self.on_their_way == 0;
        !(self.give_up.is_some() && idle)
    }

    fn look_who_leads(&mut self) {
        self.leadership = self.cluster.leadership();
        self.machine.status().send_if_modified(|status| {
            let shown = (self.leadership.leader, self.leadership.term);
            let changed = (status.leader, status.term) != shown;
            (status.leader, status.term) = shown;
            changed
        });
        if let Some(lines) = &mut self.lines {
            lines.keep(self.leadership.leader);
        }
        let term = self.leadership.leads.then_some(self.leadership.term);
        if self.sequencer.as_ref().is_some_and(|sequencer| Some(sequencer.term()) != term) {
            self.stop();
        }
        // Raft still leads for a moment after its disk has failed.
        if let Some(term) = term.filter(|_| self.sequencer.is_none() && !self.machine.has_failed()) {
            self.start(term);
        }
    }

    fn start(&mut self, term: u64) {
        let now = self.clock.now();
        let ready = |state: &crate::state::State| state.term() == term && self.on_their_way == 0;
        self.sequencer =
            self.machine.read(|state| ready(state).then(|| Sequencer::start(term, state, self.limits, now)));
        if self.sequencer.is_some() {
            self.fence = Fence::default();
            tracing::info!(term, "this node leads the journal");
        }
    }

    fn stop(&mut self) {
        let Some(sequencer) = self.sequencer.take() else { return };
        tracing::info!(term = sequencer.term(), "this node no longer leads the journal");
        for (waiter, verdict) in sequencer.lost() {
            self.tell(waiter, verdict);
        }
        let error = Error::NotLeader { hint: self.leadership.leader };
        for question in self.confirmation.abandon() {
            self.refuse(question, error.clone());
        }
        // Whoever leads next hands them out.
        for taker in self.takers.drain(..) {
            drop(taker.send(Err(error.clone())));
        }
    }

    fn take_commands(&mut self) {
        let (machine, now) = (self.machine.clone(), self.clock.now());
        if self.is_unfinished() {
            let sequencer = self.sequencer.as_mut().expect("looked at just before");
            let answer = machine.read(|state| sequencer.go_on(state, now));
            self.answered(answer);
        }
        let worked = |sequencer: &Option<Sequencer<Waiter>>| sequencer.as_ref().map_or(0, Sequencer::work);
        let before = worked(&self.sequencer);
        while !self.is_unfinished() && worked(&self.sequencer).saturating_sub(before) < KEYS_AT_ONCE {
            let Some(Call { command, passed_on }) = self.taken.pop() else { break };
            if self.sequencer.is_none() {
                self.pass_on(command, passed_on);
                continue;
            }
            match command {
                Command::Append { append, reply } => {
                    let waiter = Waiter::Append(reply);
                    let sequencer = self.sequencer.as_mut().expect("looked at just before");
                    let answer = machine.read(|state| sequencer.append(append, waiter, state, now));
                    self.answered(answer);
                }
                Command::Fate { origin, reply } => self.ask(Question::Fate(origin, reply)),
                Command::Barrier { reply } => self.ask(Question::Barrier(reply)),
                Command::KeepAlive { lease, reply } => self.ask(Question::KeepAlive(lease, reply)),
                Command::Lease { lease, reply } => self.ask(Question::Lease(lease, reply)),
                Command::Leases { reply } => self.ask(Question::Leases(reply)),
                Command::Expired { reply } => self.takers.push_back(reply),
                // What follows takes as long as the other nodes take, and appends must not wait for it.
                Command::Members { change, reply } => {
                    let cluster = self.cluster.clone();
                    tokio::spawn(async move { reply.send(cluster.change_members(change).await) });
                }
                Command::MoveLeader { to, reply } => {
                    let cluster = self.cluster.clone();
                    tokio::spawn(async move { reply.send(cluster.move_leader(to).await) });
                }
            }
        }
    }

    /// Returns whether an append with many keys is between two of its steps.
    fn is_unfinished(&self) -> bool {
        self.sequencer.as_ref().is_some_and(Sequencer::is_unfinished)
    }

    fn answered(&mut self, answer: Answer<Waiter>) {
        match answer {
            Answer::Later | Answer::Unfinished => {}
            Answer::Now(waiter, verdict) => self.tell(waiter, verdict),
            Answer::OnceConfirmed(waiter, verdict) => self.ask(Question::Refused(waiter, verdict)),
        }
    }

    /// Another node leads: it answers, or, where it cannot be asked, nobody.
    fn pass_on(&mut self, command: Command, passed_on: bool) {
        let hint = self.leadership.leader;
        match (&mut self.lines, hint) {
            (Some(lines), Some(leader)) if !passed_on && !self.leadership.leads => {
                lines.pass_on(leader, &self.machine.status().borrow().members, command);
            }
            _ => command.refuse(Error::NotLeader { hint }),
        }
    }

    async fn propose(&mut self) {
        while let Some(sequencer) = &mut self.sequencer {
            self.held_back = self.machine.log().is_behind();
            if self.held_back {
                return;
            }
            let Some(batch) = sequencer.take_batch(self.clock.wall_clock_ms()) else { return };
            self.on_their_way += 1;
            let proposal = Proposal { landing: None, landed: self.landed.clone() };
            let land = |landing| {
                let mut proposal = proposal;
                proposal.landing = landing;
            };
            self.cluster.propose(batch, &self.fence, land).await;
        }
    }

    fn land(&mut self, landing: Landing) {
        self.on_their_way -= 1;
        let Some(sequencer) = &mut self.sequencer else { return self.look_who_leads() };
        match landing {
            Some((lsn, Applied::Records(_))) => {
                let verdicts = sequencer.committed(lsn, self.clock.now());
                verdicts.into_iter().for_each(|(waiter, verdict)| self.tell(waiter, verdict));
            }
            Some((_, Applied::Void)) | None => {
                self.stop();
                self.look_who_leads();
            }
        }
    }

    fn tell(&mut self, waiter: Waiter, verdict: Verdict) {
        let hint = self.leadership.leader;
        match (waiter, verdict) {
            (Waiter::Append(reply), Verdict::NotLeader { .. }) => {
                drop(reply.send(Verdict::NotLeader { hint }))
            }
            (Waiter::Append(reply), verdict) => drop(reply.send(verdict)),
            (Waiter::KeepAlive(lease, reply), Verdict::Committed { .. }) => {
                self.ask(Question::KeepAlive(lease, reply));
            }
            (Waiter::KeepAlive(_, reply), _) => drop(reply.send(Err(Error::NotLeader { hint }))),
        }
    }
}

/// Tells the task what became of a proposal, also when Raft drops it without a word.
struct Proposal {
    landing: Landing,
    landed: mpsc::UnboundedSender<Landing>,
}

impl Drop for Proposal {
    fn drop(&mut self) {
        // Where the task is gone, so is everybody who waited.
        drop(self.landed.send(self.landing.take()));
    }
}

/// Takes what has arrived, unless some of what was taken before is left or unfinished.
async fn take(commands: &mut mpsc::Receiver<Call>, taken: &mut Vec<Call>, unfinished: bool) -> usize {
    if taken.is_empty() && !unfinished {
        commands.recv_many(taken, COMMANDS_AT_ONCE).await;
        taken.reverse();
    } else {
        // Raft runs on this thread, too.
        tokio::task::yield_now().await;
    }
    taken.len()
}

async fn ring(alarm: &mut Option<(Duration, Wait)>) {
    match alarm {
        Some((_, wait)) => wait.await,
        None => std::future::pending().await,
    }
}

async fn wait(moment: &mut Option<Wait>) {
    match moment {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}
