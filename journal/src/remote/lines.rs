//! The lines of one process to the nodes of its journal: at most one is open, to the leader.

use tokio::sync::{mpsc, watch};

use super::line::Line;
use crate::client::{Command, Status};
use crate::dial::Dialer;
use crate::error::Error;
use crate::member::Member;

/// Questions that wait for one line. When it is full, an append is refused as `Overloaded`, and everything else as
/// if nobody led.
const WAITING_MAX: usize = 8_192;

/// Opens lines, and lets go of those to nodes that no longer lead.
pub(crate) struct Lines {
    dialer: Dialer,
    /// Tells the cluster.
    status: watch::Receiver<Status>,
    open: Option<(u64, mpsc::Sender<Command>)>,
}

impl Lines {
    pub(crate) fn new(dialer: Dialer, status: watch::Receiver<Status>) -> Lines {
        Lines { dialer, status, open: None }
    }

    /// Lets go of every line but that to `leader`. Who waits for an answer there learns that it is lost.
    pub(crate) fn keep(&mut self, leader: Option<u64>) {
        self.open = self.open.take().filter(|(node, _)| Some(*node) == leader);
    }

    /// Asks `leader`, which is one of `members`.
    pub(crate) fn pass_on(&mut self, leader: u64, members: &[Member], command: Command) {
        self.keep(Some(leader));
        let command = match &self.open {
            Some((_, line)) => match line.try_send(command) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(command)) => return command.turn_away(),
                Err(mpsc::error::TrySendError::Closed(command)) => command,
            },
            None => command,
        };
        let Some(line) = self.line(leader, members) else {
            return command.refuse(Error::NotLeader { hint: Some(leader) });
        };
        // A line that was opened just now has room.
        if let Err(error) = line.try_send(command) {
            error.into_inner().refuse(Error::NotLeader { hint: Some(leader) });
        }
        self.open = Some((leader, line));
    }

    fn line(&self, leader: u64, members: &[Member]) -> Option<mpsc::Sender<Command>> {
        let url = members.iter().find(|member| member.id == leader)?.peer_urls.first()?;
        let channel = self.dialer.channel(url).ok()?;
        let cluster = self.status.borrow().cluster;
        let (line, commands) = mpsc::channel(WAITING_MAX);
        tokio::spawn(Line::new(channel, cluster, commands).run());
        Some(line)
    }
}
