//! What to try first, of all that the other members have.
//!
//!     lacking   [ ─────────────────── keys ─────────────────── )
//!     offered   [ lsn 90, by 2     )[ lsn 70, by 1             )      of each key the newest from whose position on
//!     own                  [ lsn 80    )                              somebody's journal goes on
//!
//! Members that do not lead come first, and the one that does only where they have not all of the keys.

use journal::Lsn;

use super::Gap;
use crate::snapshot::{Cover, Header, Piece};

/// What one member has, without what was tried in vain.
pub(super) struct Offered<'a> {
    pub(super) leads: bool,
    pub(super) pieces: Vec<&'a Piece>,
    /// The first position that its journal still has.
    pub(super) journal_first: Lsn,
}

/// One thing to try, at members of these numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// With those that are here they have all the keys.
    Pieces(Vec<(usize, Piece)>),
    Bridge(usize),
}

/// The best there is. `own` are the pieces that are here.
pub(super) fn plan(gap: &Gap, own: &[Header], offers: &[Offered]) -> Option<Try> {
    let pieces =
        || pieces(gap, own, offers, false).or_else(|| pieces(gap, own, offers, true)).map(Try::Pieces);
    let bridge = || bridge(gap, offers).map(Try::Bridge);
    // Who has nothing applies a snapshot sooner than a whole journal; who has something has most of it.
    match gap.applied == Lsn::ZERO {
        true => pieces().or_else(bridge),
        false => bridge().or_else(pieces),
    }
}

fn pieces(gap: &Gap, own: &[Header], offers: &[Offered], leader_too: bool) -> Option<Vec<(usize, Piece)>> {
    let journals = || offers.iter().map(|offer| offer.journal_first).chain([gap.first]);
    let is_of_use = |lsn: Lsn| gap.applied < lsn && journals().any(|first| first <= lsn.next());
    // Of those alike the last counts: one that is here, else one of the first that does not lead.
    let mut offered: Vec<_> = offers
        .iter()
        .enumerate()
        .filter(|(_, offer)| leader_too || !offer.leads)
        .flat_map(|(member, offer)| offer.pieces.iter().map(move |piece| (offer.leads, member, *piece)))
        .filter(|(_, _, piece)| is_of_use(piece.header.lsn))
        .collect();
    offered.sort_by_key(|(leads, member, _)| std::cmp::Reverse((*leads, *member)));
    let own = own.iter().filter(|header| is_of_use(header.lsn));
    let cover = Cover::of(offered.iter().map(|(_, _, piece)| &piece.header).chain(own));
    let mut chosen = Vec::new();
    for (_, newest) in gap.lacking.iter().flat_map(|range| cover.newest(range)) {
        chosen.push(newest?);
    }
    chosen.sort_unstable();
    chosen.dedup();
    let foreign = chosen.into_iter().filter_map(|at| offered.get(at));
    let foreign: Vec<_> = foreign.map(|(_, member, piece)| (*member, (*piece).clone())).collect();
    (!foreign.is_empty()).then_some(foreign)
}

/// Whose journal still has what comes next.
fn bridge(gap: &Gap, offers: &[Offered]) -> Option<usize> {
    let has = |(_, offer): &(usize, &Offered)| offer.journal_first <= gap.applied.next();
    let bridges = offers.iter().enumerate().filter(has);
    bridges.min_by_key(|(member, offer)| (offer.leads, *member)).map(|(member, _)| member)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::Revision;

    use super::*;
    use crate::partition_id::{PartitionId, PartitionRange};
    use crate::snapshot::Summary;

    /// `"am 40"`: the keys from a to m at 40; `"-- 40"`: all keys.
    fn piece(text: &str) -> Piece {
        let (keys, lsn) = text.split_once(' ').expect("keys and a position");
        let lsn = Lsn(lsn.parse().expect("a number"));
        let header = Header {
            cluster: 1,
            lsn,
            revision: Revision(lsn.0),
            compacted: Revision::ZERO,
            range: range(keys),
        };
        Piece { header, bytes: 1, summary: Summary::default() }
    }

    fn range(keys: &str) -> PartitionRange {
        let [start, end] = *keys.as_bytes() else { panic!("{keys} are no keys") };
        let key = |byte: u8| (byte != b'-').then(|| Bytes::copy_from_slice(&[byte]));
        PartitionRange { id: PartitionId(0), start: key(start).unwrap_or_default(), end: key(end) }
    }

    /// Whether it leads, what it has, and where its journal begins.
    type Member<'a> = (bool, &'a [&'a str], u64);

    /// What is tried, one after the other, if all of it is in vain.
    #[track_caller]
    fn check(gap: (u64, u64), lacking: &str, own: &[&str], members: &[Member], expected: &[&str]) {
        let lacking = lacking.split_whitespace().map(range).collect();
        let gap = Gap { applied: Lsn(gap.0), first: Lsn(gap.1), lacking };
        let own: Vec<_> = own.iter().map(|text| piece(text).header).collect();
        let mut have: Vec<Vec<Piece>> =
            members.iter().map(|(_, pieces, _)| pieces.iter().map(|text| piece(text)).collect()).collect();
        let mut bridged = Vec::new();
        let mut tried = Vec::new();
        loop {
            let offers =
                members.iter().zip(&have).enumerate().map(|(member, ((leads, _, first), pieces))| {
                    let journal_first = Lsn(if bridged.contains(&member) { u64::MAX } else { *first });
                    Offered { leads: *leads, pieces: pieces.iter().collect(), journal_first }
                });
            match plan(&gap, &own, &offers.collect::<Vec<_>>()) {
                None => break,
                Some(Try::Bridge(member)) => {
                    bridged.push(member);
                    tried.push(format!("{member}: bridge"));
                }
                Some(Try::Pieces(pieces)) => {
                    let names = pieces.iter().map(|(member, piece)| {
                        let place = have[*member].iter().position(|other| other == piece).expect("it has it");
                        have[*member].remove(place);
                        let of = members[*member].1.iter().find(|text| super::tests::piece(text) == *piece);
                        format!("{member}: {}", of.expect("it had it"))
                    });
                    tried.push(names.collect::<Vec<_>>().join(", "));
                }
            }
        }
        assert_eq!(tried, expected);
    }

    #[test]
    fn who_joins_takes_the_newest_set_of_one_that_does_not_lead() {
        let members: [Member; 3] =
            [(true, &["-- 50", "-- 95"], 40), (false, &["-- 30", "-- 80"], 31), (false, &["-- 90"], 1)];
        let order = ["2: -- 90", "1: -- 80", "1: -- 30", "0: -- 95", "0: -- 50", "2: bridge"];
        check((0, 100), "--", &[], &members, &order);
    }

    #[test]
    fn who_lags_reads_a_journal_that_still_has_it() {
        let members: [Member; 3] = [(true, &["-- 90"], 10), (false, &["-- 95"], 61), (false, &["-- 90"], 40)];
        let order = ["2: bridge", "0: bridge", "1: -- 95", "2: -- 90", "0: -- 90"];
        check((50, 100), "--", &[], &members, &order);
    }

    #[test]
    fn a_piece_that_leads_nowhere_is_left() {
        check((0, 100), "--", &[], &[(false, &["-- 40", "-- 60"], 50)], &["0: -- 60"]);
        check((0, 100), "--", &[], &[(false, &["-- 40", "-- 99"], 100)], &["0: -- 99"]);
        check((0, 100), "--", &[], &[(false, &["-- 40", "-- 60"], 70)], &[]);
        check((60, 100), "--", &[], &[(false, &["-- 40", "-- 60"], 70)], &[]);
    }

    #[test]
    fn keys_come_from_whoever_has_their_newest_piece() {
        let members: [Member; 2] = [(false, &["-m 70", "m- 90"], 10), (false, &["-m 80", "m- 60"], 10)];
        check((0, 100), "--", &[], &members, &["1: -m 80, 0: m- 90", "1: m- 60, 0: -m 70"]);
        check((0, 100), "ac", &[], &members, &["1: -m 80", "0: -m 70"]);
        check((0, 100), "ac xz", &["-m 85"], &members, &["0: m- 90", "1: m- 60"]);
    }

    #[test]
    fn some_of_the_keys_are_of_no_use() {
        check((0, 100), "--", &[], &[(false, &["-m 95"], 90)], &[]);
        check((0, 100), "--", &["m- 99"], &[(false, &["-m 95"], 90)], &["0: -m 95"]);
        check((0, 100), "--", &["m- 20"], &[(false, &["-m 95"], 90)], &[]);
    }

    #[test]
    fn the_leader_is_asked_for_what_no_other_has() {
        let members: [Member; 2] = [(true, &["-m 95", "m- 95"], 90), (false, &["-m 95"], 90)];
        check((0, 100), "--", &[], &members, &["0: m- 95, 1: -m 95"]);
    }

    #[test]
    fn what_is_here_does_not_come_again() {
        check((0, 100), "--", &["-- 95"], &[(false, &["-- 95", "-- 90"], 90)], &[]);
    }
}
