//! Contact between a leader and its voters, without which a leader counts as none.
//!
//!     follower   last word of the leader ───────────── patience ──► names no leader
//!     leader     last acknowledgement by a quorum ──── patience ──► leads no more
//!                                                                   until there is contact again
//!
//! openraft keeps both as they are until a higher vote comes, which without a quorum is never. Patience is counted in
//! looks and not in time: a process that stood still has missed nothing that it could have read.
//!
//! A proposal that openraft refuses, because its lease has expired, loses contact at once: the next acknowledgement of a
//! quorum brings it back. Otherwise whoever was refused would come again at once, until the next heartbeat is answered.
//!
//! Nothing that must be true rests on this. It says whom to ask, and when to give up asking.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::types::Vote;
use crate::clock::Clock;

/// Looks within one election timeout, which is the patience.
const LOOKS: u32 = 10;

/// A leader and its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) leader: u64,
    pub(crate) term: u64,
}

impl Reign {
    fn of(vote: &Vote) -> Reign {
        let leader = *openraft::vote::RaftLeaderId::node_id(&vote.leader_id);
        Reign { leader, term: vote.leader_id.term }
    }
}

/// The last message of a leader.
#[derive(Clone, Copy, Default)]
struct Heard {
    of: Option<Reign>,
    messages: u64,
    at: Duration,
}

/// Contact of one node. Clones share it.
#[derive(Clone)]
pub(crate) struct Contact {
    heard: Arc<Mutex<Heard>>,
    /// The reign without contact.
    lost: watch::Sender<Option<Reign>>,
}

impl Default for Contact {
    fn default() -> Contact {
        Contact { heard: Arc::default(), lost: watch::Sender::new(None) }
    }
}

impl Contact {
    /// Notes a message of a leader, whose vote this is.
    pub(super) fn hear(&self, vote: &Vote, now: Duration) {
        let reign = Reign::of(vote);
        {
            let mut heard = self.heard.lock();
            *heard = Heard { of: Some(reign), messages: heard.messages.wrapping_add(1), at: now };
        }
        self.regain(reign);
    }

    /// Returns when a leader has spoken last; the clock's beginning where none has.
    pub(super) fn heard_at(&self) -> Duration {
        self.heard.lock().at
    }

    /// Returns whether there is contact in the reign, as far as is known.
    pub(super) fn is_kept(&self, reign: Reign) -> bool {
        *self.lost.borrow() != Some(reign)
    }

    /// The receiver tells of contact that is lost and of contact that is there again.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Reign>> {
        self.lost.subscribe()
    }

    pub(super) fn lose(&self, reign: Reign) {
        self.lost.send_if_modified(|lost| lost.replace(reign) != Some(reign));
    }

    fn regain(&self, reign: Reign) {
        self.lost.send_if_modified(|lost| lost.take_if(|lost| *lost == reign).is_some());
    }
}

/// Looks after the contact of a node until Raft has stopped.
pub(crate) async fn watch(cluster: Cluster, clock: Arc<dyn Clock>, election_timeout: Duration) {
    let contact = cluster.contact().clone();
    let (mut data, mut changes) = (cluster.raft.data_metrics(), contact.changes());
    let mut silence = Silence::default();
    loop {
        let sight = sight(&cluster, &contact);
        match silence.look(sight) {
            Verdict::Lost(reign) => {
                if contact.is_kept(reign) {
                    tracing::warn!(
                        leader = format!("{:016x}", reign.leader),
                        term = reign.term,
                        "lost contact with the leader or a quorum: requests that need a leader wait for one"
                    );
                }
                contact.lose(reign);
            }
            Verdict::Kept(reign) => contact.regain(reign),
            Verdict::Unclear => {}
        }
        let is_lost = contact.lost.borrow().is_some();
        tokio::select! {
            () = clock.until(clock.now() + election_timeout / LOOKS) => {}
            _ = changes.changed() => {}
            // A quorum that acknowledges again is not to be waited for.
            changed = data.changed(), if is_lost => if changed.is_err() { return },
        }
    }
}

/// What one look sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight<T> {
    Leaderless,
    /// Nobody else votes.
    Alone(Reign),
    /// The last sign of contact.
    Sign(Reign, T),
}

type Sign = (u64, Option<<super::runtime::Runtime as openraft::AsyncRuntime>::Instant>);

fn sight(cluster: &Cluster, contact: &Contact) -> Sight<Sign> {
    let leadership = cluster.raft_leadership();
    let Some(reign) = leadership.reign() else { return Sight::Leaderless };
    if leadership.alone {
        return Sight::Alone(reign);
    }
    if leadership.leads {
        let acknowledged = cluster.raft.data_metrics().borrow_watched().last_quorum_acked;
        return Sight::Sign(reign, (0, acknowledged.map(|at| at.into_inner())));
    }
    let heard = *contact.heard.lock();
    Sight::Sign(reign, (if heard.of == Some(reign) { heard.messages } else { 0 }, None))
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unclear,
    Kept(Reign),
    Lost(Reign),
}

/// Looks without a new sign.
struct Silence<T> {
    last: Sight<T>,
    looks: u32,
}

impl<T> Default for Silence<T> {
    fn default() -> Silence<T> {
        Silence { last: Sight::Leaderless, looks: 0 }
    }
}

impl<T: Copy + PartialEq> Silence<T> {
    fn look(&mut self, sight: Sight<T>) -> Verdict {
        let before = std::mem::replace(&mut self.last, sight);
        match (before, sight) {
            (_, Sight::Leaderless) => Verdict::Unclear,
            (_, Sight::Alone(reign)) => Verdict::Kept(reign),
            (Sight::Sign(same, last), Sight::Sign(reign, sign)) if same == reign => {
                self.looks = if last == sign { self.looks.saturating_add(1) } else { 0 };
                match self.looks {
                    0 => Verdict::Kept(reign),
                    LOOKS.. => Verdict::Lost(reign),
                    _ => Verdict::Unclear,
                }
            }
            // Another reign: it has all of the patience, unless it was lost from the beginning.
            (_, Sight::Sign(..)) => {
                self.looks = 0;
                Verdict::Unclear
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REIGN: Reign = Reign { leader: 1, term: 5 };

    #[test]
    fn a_leader_without_a_sign_is_lost_and_with_the_next_sign_it_is_back() {
        let mut silence = Silence::default();
        for _ in 0..3 {
            assert_eq!(silence.look(Sight::Sign(REIGN, 1)), Verdict::Unclear);
        }
        assert_eq!(silence.look(Sight::Sign(REIGN, 2)), Verdict::Kept(REIGN));
        for _ in 1..LOOKS {
            assert_eq!(silence.look(Sight::Sign(REIGN, 2)), Verdict::Unclear);
        }
        for _ in 0..3 {
            assert_eq!(silence.look(Sight::Sign(REIGN, 2)), Verdict::Lost(REIGN));
        }
        assert_eq!(silence.look(Sight::Sign(REIGN, 3)), Verdict::Kept(REIGN));
    }

    #[test]
    fn the_next_leader_has_all_of_the_patience() {
        let mut silence = Silence::default();
        for _ in 0..LOOKS {
            assert_eq!(silence.look(Sight::Sign(REIGN, 1)), Verdict::Unclear);
        }
        let next = Reign { leader: 2, term: 6 };
        for _ in 0..LOOKS {
            assert_eq!(silence.look(Sight::Sign(next, 1)), Verdict::Unclear);
        }
        assert_eq!(silence.look(Sight::Sign(next, 1)), Verdict::Lost(next));
    }

    #[test]
    fn who_votes_alone_loses_nobody() {
        let mut silence = Silence::<u64>::default();
        (0..3 * LOOKS).for_each(|_| assert_eq!(silence.look(Sight::Alone(REIGN)), Verdict::Kept(REIGN)));
    }

    #[test]
    fn a_word_of_another_reign_brings_no_leader_back() {
        let contact = Contact::default();
        contact.lose(REIGN);
        contact.hear(&Vote::new_committed(4, 1), Duration::ZERO);
        assert!(!contact.is_kept(REIGN));
        contact.hear(&Vote::new_committed(5, 1), Duration::from_secs(1));
        assert!(contact.is_kept(REIGN));
        assert_eq!(contact.heard_at(), Duration::from_secs(1));
    }
}
