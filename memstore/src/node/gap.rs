//! What a memstore lacks that the journal beside it no longer has, and who of the other members has it.
//!
//!     applied           pieces            what the journal here has
//!     [ ····· )         [ ··· )          [ first ─────────►
//!              ── gap ──        ─ bridge ─                     bridge: the same positions, out of another member's journal
//!
//! A member that joins, or lags by far, gets the journal's own state at some position and the entries behind it. Its
//! memstore takes the newest snapshots that lead there, and what is between from the journal of whoever still has it.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{Clock, Dialer, Lsn, Remote, Status, Tail};
use tokio::sync::watch;
use tracing::{info, warn};

use self::plan::{Offered, Try, plan};
use crate::error::Error;
use crate::partition_id::PartitionRange;
use crate::snapshot::{
    Depot, End, Folder, Header, Held, JournalNodes, Lender, Offer, Peer, Piece, Refusal, Store,
};

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
    /// Where else snapshots are.
    store: Option<Store>,
    /// What was to be closed last.
    last: Option<Gap>,
}

/// How to go on.
pub(crate) enum Way {
    /// Pieces that lead further have come into the folder.
    Pieces,
    /// This reads on behind what is applied. It may have less than the whole gap.
    Bridge(Tail),
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last position that is there of all keys.
    pub(crate) applied: Lsn,
    /// The first that the journal here has.
    pub(crate) first: Lsn,
    /// The keys that are not there up to where the journal here begins.
    pub(crate) lacking: Vec<PartitionRange>,
}

/// A piece of a member that was tried in vain: where, of which position, and its keys.
type Refused = (String, Lsn, Bytes, End);

/// A member or store that was asked.
struct Asked {
    lender: Lender,
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
        Helpers { status, dialer, clock, keep, store: None, last: None }
    }

    /// The same, with a place where snapshots are left and looked for.
    pub(crate) fn with_store(self, store: Option<Store>) -> Helpers {
        Helpers { store, ..self }
    }

    /// Who must hold what is marked. `None`: this process alone.
    pub(crate) fn depot(&self) -> Option<Depot> {
        let nodes = || JournalNodes::new(self.status.clone(), self.dialer.clone(), self.clock.clone());
        let store = self.store.clone().map(Depot::Store);
        store.or_else(|| self.keep.then(nodes).map(Depot::Nodes))
    }

    /// Asks until somebody has helped.
    ///
    /// # Errors
    /// `Missing` once all members have answered and none of them can; `Io` where what one has finds no room here.
    pub(crate) async fn close(&mut self, gap: Gap, folder: Option<&Arc<Folder>>) -> Result<Way, Error> {
        let own = || folder.map_or(Ok(Vec::new()), |folder| folder.held());
        let before = own()?;
        let _alone = match folder {
            Some(folder) => Some(folder.asking().await),
            None => None,
        };
        let is_of_use = |held: &Held| {
            let Header { lsn, range, .. } = &held.header;
            gap.applied < *lsn && gap.lacking.iter().any(|lacking| lacking.overlaps(range))
        };
        if own()?.iter().any(|held| is_of_use(held) && !before.contains(held)) {
            return Ok(Way::Pieces);
        }
        if self.last.replace(gap.clone()).as_ref() == Some(&gap) {
            // What helped did not: not again at once.
            self.clock.until(self.clock.now() + PAUSE).await;
        }
        // A piece that was no good is not asked for again.
        let mut refused = BTreeSet::new();
        for round in 0_u32.. {
            let (asked, mut silent) = self.ask(round).await;
            // One that does not come may come in the next round.
            let mut failed = refused.clone();
            loop {
                let own: Vec<_> = own()?.into_iter().map(|held| held.header).collect();
                match plan(&gap, &own, &offers(&asked, folder.is_some(), &failed)) {
                    None => break,
                    Some(Try::Bridge(member)) => return self.bridge(&gap, asked[member].lender.url()),
                    Some(Try::Pieces(pieces)) => {
                        let folder = folder.expect("without a folder no pieces are looked for");
                        let mut came = false;
                        for ((member, lsn), pieces) in by_position(pieces) {
                            let lender = &asked[member].lender;
                            let names = pieces.iter().map(|piece| refusal(lender, piece)).collect::<Vec<_>>();
                            match fetch(lender, lsn, pieces, folder).await {
                                Ok(()) => came = true,
                                Err(Refusal::Here(error)) => return Err(error),
                                Err(Refusal::Silent(_)) => {
                                    silent = true;
                                    failed.extend(names);
                                }
                                Err(Refusal::Useless(_)) => {
                                    refused.extend(names.iter().cloned());
                                    failed.extend(names);
                                }
                            }
                        }
                        if came {
                            return Ok(Way::Pieces);
                        }
                    }
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
                        let lender = Lender::Member(peer);
                        asked.push(Asked { lender, leads: leader == Some(id), offer });
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
        if let Some(store) = &self.store {
            match store.pieces().await {
                Ok(pieces) => {
                    // It has no journal.
                    let offer = Offer { pieces, journal_first: Lsn(u64::MAX) };
                    asked.push(Asked { lender: Lender::Store(store.clone()), leads: false, offer });
                }
                Err(Refusal::Here(error)) => warn!(%error, "the store of snapshots cannot be asked"),
                Err(Refusal::Silent(reason) | Refusal::Useless(reason)) => {
                    if round.is_multiple_of(PAUSES_TOLD) {
                        warn!(url = store.url(), reason, "the store of snapshots does not answer");
                    }
                    silent = true;
                }
            }
        }
        (asked, silent)
    }

    fn bridge(&self, gap: &Gap, url: &str) -> Result<Way, Error> {
        let (from, first) = (gap.applied.next(), gap.first);
        info!(
            url,
            from = from.0,
            upto = first.0,
            "reading another member's journal up to where this one's begins"
        );
        let remote = Remote {
            endpoints: vec![url.to_owned()],
            cluster: Some(self.status.borrow().cluster),
            id: 0,
            dialer: self.dialer.clone(),
            clock: self.clock.clone(),
        };
        remote.tail(from).map(Way::Bridge).map_err(|error| Error::Io(error.to_string()))
    }
}

async fn fetch(lender: &Lender, lsn: Lsn, pieces: Vec<Piece>, folder: &Arc<Folder>) -> Result<(), Refusal> {
    let bytes = pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
    let url = lender.url();
    info!(url, position = lsn.0, bytes, "getting a snapshot from another member");
    let fetched = lender.fetch(folder, pieces).await;
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
    fetched
}

/// What comes at once: of one member and one position.
fn by_position(pieces: Vec<(usize, Piece)>) -> BTreeMap<(usize, Lsn), Vec<Piece>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (member, piece) in pieces {
        groups.entry((member, piece.header.lsn)).or_default().push(piece);
    }
    groups
}

/// What they offer but what has failed, and without pieces where they have no place here.
fn offers<'a>(asked: &'a [Asked], pieces: bool, failed: &BTreeSet<Refused>) -> Vec<Offered<'a>> {
    let offered = |Asked { lender, leads, offer }: &'a Asked| {
        let left = |piece: &&Piece| pieces && !failed.contains(&refusal(lender, piece));
        let pieces = offer.pieces.iter().filter(left).collect();
        Offered { leads: *leads, pieces, journal_first: offer.journal_first }
    };
    asked.iter().map(offered).collect()
}

fn refusal(lender: &Lender, piece: &Piece) -> Refused {
    let Header { lsn, range, .. } = &piece.header;
    (lender.url().to_owned(), *lsn, range.start.clone(), range.end.clone())
}
