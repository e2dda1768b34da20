//! What a memstore lacks that the journal beside it no longer has, and who of the other members has it.
//!
//!     applied            set              what the journal here has
//!     [ ····· )         [ ··· )          [ first ─────────►
//!              ── gap ──        ─ bridge ─                     bridge: the same positions, out of another member's journal
//!
//! A member that joins, or lags by far, gets the journal's own state at some position and the entries behind it. Its
//! memstore takes the newest snapshot that leads there, and what is between from the journal of whoever still has it.
//!
//! A member that does not lead is asked before the one that does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Dialer, Lsn, Remote, Status, Tail};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::error::Error;
use crate::snapshot::{Folder, JournalNodes, Offer, Peer, Refusal};

/// How long until members that did not answer are asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often that is told of: once in so many pauses.
const PAUSES_TOLD: u32 = 30;

/// The other members, to be asked for what is missing here.
#[derive(Clone)]
pub(crate) struct Helpers {
    /// Tells who there is.
    status: watch::Receiver<Status>,
    dialer: Dialer,
    clock: Arc<dyn Clock>,
    /// Whether they are journal nodes that keep snapshots of this memstore.
    keep: bool,
    /// What was to be closed last.
    last: Option<Gap>,
}

/// How to go on.
pub(crate) enum Way {
    /// A set that leads further has come into the folder.
    Set,
    /// This reads on behind what is applied. It may have less than the whole gap.
    Bridge(Tail),
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last position that is there.
    pub(crate) applied: Lsn,
    /// The first that the journal here has.
    pub(crate) first: Lsn,
}

/// One thing to try, at the member of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Set { member: usize, lsn: Lsn },
    Bridge { member: usize },
}

/// A member that was asked.
struct Asked {
    peer: Peer,
    leads: bool,
    offer: Offer,
}

impl Helpers {
    pub(crate) fn new(
        status: watch::Receiver<Status>,
        dialer: Dialer,
        keep: bool,
        clock: Arc<dyn Clock>,
    ) -> Helpers {
        Helpers { status, dialer, clock, keep, last: None }
    }

    /// Who must hold what is marked. `None`: this process alone.
    pub(crate) fn journal_nodes(&self) -> Option<JournalNodes> {
        let nodes = || JournalNodes::new(self.status.clone(), self.dialer.clone(), self.clock.clone());
        self.keep.then(nodes)
    }

    /// Asks until somebody has helped.
    ///
    /// # Errors
    /// `Missing` once all members have answered and none of them can; `Io` where what one has finds no room here.
    pub(crate) async fn close(&mut self, gap: Gap, folder: Option<&Arc<Folder>>) -> Result<Way, Error> {
        let newest = || {
            folder
                .map(|folder| folder.sets())
                .transpose()
                .map(|sets| sets.and_then(|sets| sets.first().copied()))
        };
        let before = newest()?;
        let _alone = match folder {
            Some(folder) => Some(folder.asking().await),
            None => None,
        };
        if newest()?.is_some_and(|newest| Some(newest) > before && gap.applied < newest) {
            return Ok(Way::Set);
        }
        if self.last.replace(gap) == Some(gap) {
            // What helped did not: not again at once.
            self.clock.until(self.clock.now() + PAUSE).await;
        }
        // A set that was no good is not asked for again.
        let mut refused = BTreeSet::new();
        for round in 0_u32.. {
            let (asked, mut silent) = self.ask(round).await;
            for one in plan(gap, &offers(&asked)) {
                let way = match one {
                    Try::Bridge { member } => Ok(self.bridge(gap, &asked[member].peer)?),
                    Try::Set { member, lsn } => {
                        let Some(folder) = folder else { continue };
                        let Asked { peer, offer, .. } = &asked[member];
                        if refused.contains(&(peer.url.clone(), lsn)) {
                            continue;
                        }
                        fetch(peer, offer, lsn, folder).await
                    }
                };
                match (way, one) {
                    (Ok(way), _) => return Ok(way),
                    (Err(Refusal::Here(error)), _) => return Err(error),
                    (Err(Refusal::Silent(_)), _) => silent = true,
                    (Err(Refusal::Useless(_)), Try::Set { member, lsn }) => {
                        refused.insert((asked[member].peer.url.clone(), lsn));
                    }
                    (Err(Refusal::Useless(_)), Try::Bridge { .. }) => {}
                }
            }
            if !silent {
                break;
            }
            self.clock.until(self.clock.now() + PAUSE).await;
        }
        Err(Error::Missing { next: gap.applied.next(), first: gap.first })
    }

    /// What the other members have, and whether one did not answer.
    async fn ask(&self, round: u32) -> (Vec<Asked>, bool) {
        let (cluster, leader, nobody, members) = {
            let status = self.status.borrow();
            // Not even this one: who there is has yet to be told.
            let nobody = status.members.is_empty();
            let others = status.members.iter().filter(|member| member.id != status.node);
            let others = others.map(|member| (member.id, member.peer_urls.clone()));
            (status.cluster, status.leader, nobody, others.collect::<Vec<_>>())
        };
        let (mut asked, mut silent) = (Vec::new(), nobody);
        for (id, urls) in members {
            let mut answered = false;
            for url in urls {
                let peer = Peer::at(&url, &self.dialer, cluster, self.clock.clone());
                let offer = match &peer {
                    Ok(peer) => peer.offer().await,
                    Err(refusal) => Err(refusal.clone()),
                };
                match (peer, offer) {
                    (Ok(peer), Ok(offer)) => {
                        asked.push(Asked { peer, leads: leader == Some(id), offer });
                        answered = true;
                    }
                    (_, Err(Refusal::Useless(reason))) => {
                        warn!(url, reason, "another member has no snapshots for this one");
                        answered = true;
                    }
                    (_, Err(Refusal::Silent(reason))) if round.is_multiple_of(PAUSES_TOLD) => {
                        warn!(
                            url,
                            reason, "another member that may have what is missing here does not answer"
                        );
                    }
                    _ => {}
                }
                if answered {
                    break;
                }
            }
            silent |= !answered;
        }
        (asked, silent)
    }

    fn bridge(&self, gap: Gap, peer: &Peer) -> Result<Way, Error> {
        let (from, first) = (gap.applied.next(), gap.first);
        info!(
            url = peer.url,
            from = from.0,
            upto = first.0,
            "reading another member's journal up to where this one's begins"
        );
        let remote = Remote {
            endpoints: vec![peer.url.clone()],
            cluster: Some(self.status.borrow().cluster),
            id: 0,
            dialer: self.dialer.clone(),
            clock: self.clock.clone(),
        };
        remote.tail(from).map(Way::Bridge).map_err(|error| Error::Io(error.to_string()))
    }
}

async fn fetch(peer: &Peer, offer: &Offer, lsn: Lsn, folder: &Arc<Folder>) -> Result<Way, Refusal> {
    let pieces = offer.sets[&lsn].clone();
    let bytes = pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
    info!(url = peer.url, position = lsn.0, bytes, "getting a snapshot from another member");
    let fetched = peer.fetch(folder, pieces).await;
    let url = &peer.url;
    match &fetched {
        Ok(()) => info!(url, position = lsn.0, bytes, "a snapshot has come from another member"),
        Err(Refusal::Here(_)) => {}
        Err(Refusal::Silent(reason) | Refusal::Useless(reason)) => {
            warn!(
                url,
                position = lsn.0,
                reason,
                "a snapshot of another member is not taken, the next one is asked"
            );
        }
    }
    fetched.map(|()| Way::Set)
}

fn offers(asked: &[Asked]) -> Vec<(bool, &Offer)> {
    asked.iter().map(|asked| (asked.leads, &asked.offer)).collect()
}

/// What to try, the best first: whether they lead, and what they have.
fn plan(gap: Gap, offers: &[(bool, &Offer)]) -> Vec<Try> {
    let leads_on = |lsn: Lsn| {
        gap.first <= lsn.next() || offers.iter().any(|(_, offer)| offer.journal_first <= lsn.next())
    };
    let (mut sets, mut bridges) = (Vec::new(), Vec::new());
    for (member, (leads, offer)) in offers.iter().enumerate() {
        let further = offer.sets.keys().filter(|lsn| gap.applied < **lsn && leads_on(**lsn));
        sets.extend(further.map(|lsn| (*leads, std::cmp::Reverse(*lsn), member)));
        if offer.journal_first <= gap.applied.next() {
            bridges.push((*leads, member));
        }
    }
    sets.sort_unstable();
    bridges.sort_unstable();
    let sets = sets.into_iter().map(|(_, lsn, member)| Try::Set { member, lsn: lsn.0 });
    let bridges = bridges.into_iter().map(|(_, member)| Try::Bridge { member });
    // Who has nothing applies a snapshot sooner than a whole journal; who has something has most of it.
    match gap.applied == Lsn::ZERO {
        true => sets.chain(bridges).collect(),
        false => bridges.chain(sets).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(sets: &[u64], journal_first: u64) -> Offer {
        let sets = sets.iter().map(|lsn| (Lsn(*lsn), Vec::new())).collect();
        Offer { sets, journal_first: Lsn(journal_first) }
    }

    fn check(applied: u64, first: u64, members: &[(bool, Offer)], expected: &[Try]) {
        let offers: Vec<_> = members.iter().map(|(leads, offer)| (*leads, offer)).collect();
        assert_eq!(plan(Gap { applied: Lsn(applied), first: Lsn(first) }, &offers), expected);
    }

    fn set(member: usize, lsn: u64) -> Try {
        Try::Set { member, lsn: Lsn(lsn) }
    }

    #[test]
    fn who_joins_takes_the_newest_set_of_one_that_does_not_lead() {
        let members = [(true, offer(&[50, 95], 40)), (false, offer(&[30, 80], 31)), (false, offer(&[90], 1))];
        let order = [set(2, 90), set(1, 80), set(1, 30), set(0, 95), set(0, 50), Try::Bridge { member: 2 }];
        check(0, 100, &members, &order);
    }

    #[test]
    fn who_lags_reads_a_journal_that_still_has_it() {
        let members = [(true, offer(&[90], 10)), (false, offer(&[95], 61)), (false, offer(&[90], 40))];
        let order =
            [Try::Bridge { member: 2 }, Try::Bridge { member: 0 }, set(1, 95), set(2, 90), set(0, 90)];
        check(50, 100, &members, &order);
    }

    #[test]
    fn a_set_that_leads_nowhere_is_left() {
        check(0, 100, &[(false, offer(&[40, 60], 50))], &[set(0, 60)]);
        check(0, 100, &[(false, offer(&[40, 99], 100))], &[set(0, 99)]);
        check(0, 100, &[(false, offer(&[40, 60], 70))], &[]);
        check(60, 100, &[(false, offer(&[40, 60], 70))], &[]);
    }
}
