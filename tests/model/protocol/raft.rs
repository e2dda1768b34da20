//! Raft as what it promises: three logs, one leader a term, of which each other may still believe itself one.
//!
//!     leader    [ 1  2  3  4  5 )      commit: what a majority has on disk, once it is of the leader's own term
//!     follower  [ 1  2  3 | x )        a suffix that nobody committed is cut
//!                       ^ durable: what a crash leaves
//!
//! An exchange between leader and follower, and an election, each happen at once; what delays them is that they
//! happen late, or never. Votes and terms are always durable.

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

#[derive(Debug, Default)]
pub(crate) struct Raft {
    pub(crate) term: Term,
    pub(crate) log: Vec<Rc<Entry>>,
    durable: Lsn,
    pub(crate) commit: Lsn,
    /// What it believes: a later leader may be there.
    pub(crate) reign: Option<Reign>,
}

impl Raft {
    /// The term under which it leads, as far as it knows.
    pub(crate) fn leads(&self) -> Option<Term> {
        self.reign.as_ref().map(|reign| reign.term)
    }

    pub(crate) fn propose(&mut self, entry: Entry) {
        self.log.push(Rc::new(entry));
    }

    pub(crate) fn flush(&mut self) {
        self.durable = self.log.len();
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

/// The leader speaks to the follower. Answers whether the follower still takes it for the leader.
pub(crate) fn exchange(
    nodes: [&mut Raft; 2],
    follower_id: NodeId,
    entries_max: usize,
    broken: Option<Broken>,
) -> bool {
    let [leader, follower] = nodes;
    let Some(term) = leader.leads() else { return false };
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
    reign.matched[follower_id] = reign.matched[follower_id].max(follower.acknowledged(broken).min(told));
    follower.commit = follower.commit.max(leader.commit.min(told));
    true
}

/// The candidate asks for votes. Answers whether it has a majority, its own included.
pub(crate) fn elect(rafts: &mut [Raft; NODES], candidate: NodeId, voters: &[NodeId]) -> bool {
    let term = rafts[candidate].term + 1;
    rafts[candidate].term = term;
    rafts[candidate].reign = None;
    let mut votes = 1;
    for &voter in voters {
        if rafts[voter].term < term {
            rafts[voter].term = term;
            rafts[voter].reign = None;
            votes += usize::from(rafts[candidate].is_as_good_as(&rafts[voter]));
        }
    }
    if votes < MAJORITY {
        return false;
    }
    let raft = &mut rafts[candidate];
    raft.propose(Entry { term, batch: None });
    raft.reign = Some(Reign { term, first: raft.log.len(), matched: [0; NODES] });
    true
}
