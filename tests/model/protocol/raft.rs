//! Raft as what it promises: three logs, one leader a term, of which each other may still believe itself one.
//!
//!     leader    [ 1  2  3  4  5 )      commit: what a majority has on disk, once it is of the leader's own term
//!     follower  [ 1  2  3 | x )        a suffix that nobody committed is cut
//!                       ^ durable: what a crash leaves
//!
//! An exchange between leader and follower, and an election, each happen at once; what delays them is that they
//! happen late, or never. Votes and terms are always durable. Both ends of either hear what the other has promised.

use std::rc::Rc;

use super::broken::Broken;
use super::record::{Entry, Lsn, NodeId, Term};

pub(crate) const NODES: usize = 3;
const MAJORITY: usize = 2;

#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) term: Term,
    /// The entry that the reign began with.
    pub(crate) first: Lsn,
    matched: [Lsn; NODES],
}

/// The newest term that a node has voted in, and the end of its durable log: the term of its last entry, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    term: Term,
    end: (Term, Lsn),
}

impl Promise {
    pub(crate) fn join(self, other: Promise) -> Promise {
        Promise { term: self.term.max(other.term), end: self.end.max(other.end) }
    }

    pub(crate) fn covers(self, other: Promise) -> bool {
        other.term <= self.term && other.end <= self.end
    }
}

/// What is on the disk of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    term: Term,
    log: Vec<Rc<Entry>>,
    pub(crate) promise: Promise,
}

#[derive(Debug, Default)]
pub(crate) struct Raft {
    pub(crate) term: Term,
    pub(crate) log: Vec<Rc<Entry>>,
    durable: Lsn,
    pub(crate) commit: Lsn,
    /// What it believes: a later leader may be there.
    pub(crate) reign: Option<Reign>,
    /// Its own promise, also where a later leader has cut its log.
    promise: Promise,
    /// What it has heard of the promises of others.
    pub(crate) heard: [Promise; NODES],
    /// What it had promised, and has not on this disk.
    missing: Option<Promise>,
}

impl Raft {
    pub(crate) fn is_behind(&self) -> bool {
        self.missing.is_some()
    }

    /// A copy of what is on its disk.
    pub(crate) fn disk(&self) -> Disk {
        Disk { term: self.term, log: self.log[..self.durable].to_vec(), promise: self.promised() }
    }

    /// It starts on another disk. What it has heard of others stays: that is not what is looked at here.
    pub(crate) fn replace_disk(&mut self, disk: Disk) {
        self.durable = disk.log.len();
        (self.term, self.log, self.promise) = (disk.term, disk.log, disk.promise);
        (self.commit, self.reign) = (0, None);
    }

    pub(crate) fn miss(&mut self, told: Promise) {
        self.missing = Some(told).filter(|told| !self.promised().covers(*told));
    }

    fn promised(&self) -> Promise {
        let last = self.log[..self.durable].last().map_or(0, |entry| entry.term);
        self.promise.join(Promise { term: self.term, end: (last, self.durable) })
    }

    /// The follower has everything that it had promised, and that was committed.
    fn catch_up(&mut self, term: Term, commit: Lsn, commit_term: Term) {
        let Some(missing) = self.missing else { return };
        let own = self.promised();
        if missing.term <= term && missing.end <= own.end && commit_term == term && commit <= self.durable {
            self.missing = None;
        }
    }

    /// The term under which it leads, as far as it knows.
    pub(crate) fn leads(&self) -> Option<Term> {
        self.reign.as_ref().map(|reign| reign.term)
    }

    pub(crate) fn propose(&mut self, entry: Entry) {
        self.log.push(Rc::new(entry));
    }

    pub(crate) fn flush(&mut self) {
        self.durable = self.log.len();
        self.promise = self.promised();
    }

    /// What is not durable is gone, and so is what only memory knew.
    pub(crate) fn crash(&mut self) {
        self.log.truncate(self.durable);
        self.commit = 0;
        self.reign = None;
    }

    fn acknowledged(&self, broken: Option<Broken>) -> Lsn {
        if broken == Some(Broken::AckedBeforeDurable) { self.log.len() } else { self.durable }
    }

    /// As leader: what a majority has is committed.
    pub(crate) fn advance(&mut self, me: NodeId, broken: Option<Broken>) {
        let own = self.acknowledged(broken);
        let Some(reign) = &mut self.reign else { return };
        reign.matched[me] = own;
        let mut matched = reign.matched;
        matched.sort_unstable();
        let majority = matched[NODES - MAJORITY];
        if self.commit < majority && self.log[majority - 1].term == reign.term {
            self.commit = majority;
        }
    }

    /// Whether the log is at least as good as the other's.
    fn is_as_good_as(&self, other: &Raft) -> bool {
        let rank = |raft: &Raft| (raft.log.last().map_or(0, |entry| entry.term), raft.log.len());
        rank(other) <= rank(self)
    }
}

/// Each of the two hears what the other has promised.
pub(crate) fn hear(rafts: &mut [Raft; NODES], one: NodeId, other: NodeId) {
    for (from, to) in [(one, other), (other, one)] {
        let promised = rafts[from].promised();
        rafts[to].heard[from] = rafts[to].heard[from].join(promised);
    }
}

/// The leader speaks to the follower. Answers whether the follower still takes it for the leader.
pub(crate) fn exchange(
    nodes: [&mut Raft; 2],
    follower_id: NodeId,
    entries_max: usize,
    broken: Option<Broken>,
) -> bool {
    let [leader, follower] = nodes;
    let Some(term) = leader.leads() else { return false };
    if follower.missing.is_some_and(|missing| term < missing.term) {
        return false;
    }
    if term < follower.term {
        leader.term = follower.term;
        leader.reign = None;
        return false;
    }
    if follower.term < term {
        follower.term = term;
        follower.reign = None;
    }
    let same = leader.log.iter().zip(&follower.log).take_while(|(a, b)| Rc::ptr_eq(a, b)).count();
    if same < follower.log.len() && same < leader.log.len() {
        follower.log.truncate(same);
        follower.durable = follower.durable.min(same);
    }
    let told = (same + entries_max).min(leader.log.len());
    follower.log.extend(leader.log[same..told].iter().map(Rc::clone));
    let reign = leader.reign.as_mut().expect("it leads");
    let matched = follower.acknowledged(broken).min(told);
    // One that is behind does not have what it had before.
    let before = if follower.is_behind() { 0 } else { reign.matched[follower_id] };
    reign.matched[follower_id] = before.max(matched);
    follower.commit = follower.commit.max(leader.commit.min(told));
    let commit_term = leader.commit.checked_sub(1).map_or(0, |last| leader.log[last].term);
    follower.catch_up(term, leader.commit, commit_term);
    true
}

/// The candidate asks for votes. Answers whether it has a majority, its own included.
pub(crate) fn elect(rafts: &mut [Raft; NODES], candidate: NodeId, voters: &[NodeId]) -> bool {
    let term = rafts[candidate].term + 1;
    rafts[candidate].term = term;
    rafts[candidate].reign = None;
    let mut votes = 1;
    for &voter in voters {
        if rafts[voter].is_behind() {
            continue;
        }
        if rafts[voter].term < term {
            rafts[voter].term = term;
            rafts[voter].reign = None;
            votes += usize::from(rafts[candidate].is_as_good_as(&rafts[voter]));
        }
        hear(rafts, candidate, voter);
    }
    if votes < MAJORITY {
        return false;
    }
    let raft = &mut rafts[candidate];
    raft.propose(Entry { term, batch: None });
    raft.reign = Some(Reign { term, first: raft.log.len(), matched: [0; NODES] });
    true
}
