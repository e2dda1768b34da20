//! What a write that was stopped can leave, over what was there before.
//!
//!     before    [s s s s s s s s][s s s s s s s s]        a sector is whole or not there at all
//!     asked     [n n n n n n n n][n n n n n n n n]
//!     left      [s s s s s s s s][n n n s s s s s]  ...   any pages, in any order, and any one page in part

use std::collections::BTreeSet;

use crate::block::{self, Block, Header, Kind, PAGE_BYTES, Place};

const SECTOR_BYTES: usize = 512;
const PAGE_SECTORS: usize = PAGE_BYTES / SECTOR_BYTES;
const PAGE_MASK: u128 = (1 << PAGE_SECTORS) - 1;
/// Up to here every set of a write's pages is tried, and so every order in which they come to disk.
const PAGES_MAX: usize = 10;

/// Every different outcome. `pages_only` leaves out those in which a page is there in part.
pub(super) fn outcomes(before: &[u8], asked: &[u8], pages_only: bool) -> Vec<Vec<u8>> {
    assert_eq!(before.len(), asked.len(), "the same place");
    let pages = asked.len() / PAGE_BYTES;
    assert!(pages <= PAGES_MAX, "a write of {pages} pages is too large to try them all");
    let mut masks = BTreeSet::new();
    for set in 0..1_u32 << pages {
        let whole = (0..pages).filter(|page| set >> page & 1 == 1).map(page_mask).sum::<u128>();
        masks.insert(whole);
        for page in (0..pages).filter(|_| !pages_only) {
            for sectors in 1..PAGE_SECTORS {
                let part = (1_u128 << sectors) - 1;
                let others = whole & !page_mask(page);
                masks.insert(others | part << (page * PAGE_SECTORS));
                masks.insert(others | (PAGE_MASK & !part) << (page * PAGE_SECTORS));
            }
        }
    }
    // Where nothing changes, it makes no difference whether a sector comes.
    let changed = (0..asked.len() / SECTOR_BYTES)
        .filter(|&sector| of(before, sector) != of(asked, sector))
        .map(|sector| 1_u128 << sector)
        .sum::<u128>();
    let masks: BTreeSet<u128> = masks.into_iter().map(|mask| mask & changed).collect();
    masks.into_iter().map(|mask| mixed(before, asked, mask)).collect()
}

fn page_mask(page: usize) -> u128 {
    PAGE_MASK << (page * PAGE_SECTORS)
}

fn of(bytes: &[u8], sector: usize) -> &[u8] {
    &bytes[sector * SECTOR_BYTES..][..SECTOR_BYTES]
}

fn mixed(before: &[u8], asked: &[u8], mask: u128) -> Vec<u8> {
    let mut bytes = before.to_vec();
    for sector in (0..asked.len() / SECTOR_BYTES).filter(|sector| mask >> sector & 1 == 1) {
        bytes[sector * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(of(asked, sector));
    }
    bytes
}

/// In what a stale block differs from the one that is written over it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stale {
    /// It was made behind other blocks.
    Chain,
    /// In the life that the file had before.
    Segment,
    /// Earlier.
    Number,
    /// In nothing but what it says: no log leaves such a block.
    Content,
}

/// Whole blocks in the very places of those that are asked for, saying something else.
pub(super) fn stale(asked: &[u8], how: Stale) -> Vec<u8> {
    let (mut bytes, mut previous) = (Vec::new(), None);
    for (_, block) in blocks(asked) {
        let mut place =
            Place { previous: previous.unwrap_or(block.header.place.previous), ..block.header.place };
        match how {
            Stale::Chain if previous.is_none() => place.previous ^= 0x5a5a_5a5a,
            Stale::Chain | Stale::Content => {}
            Stale::Segment => place.segment -= 1,
            Stale::Number => place.number -= 1,
        }
        let end = bytes.len() + block::padded(block.length);
        previous = Some(block::encode(&mut bytes, &other(&block, place), |out| {
            out.extend_from_slice(block.body);
            if let Some(last) = out.last_mut().filter(|_| !block.body.is_empty()) {
                *last ^= 1;
            }
        }));
        assert_eq!(bytes.len(), end, "of the same size");
    }
    bytes
}

fn other(block: &Block<'_>, place: Place) -> Header {
    let header = Header { place, ..block.header };
    match header.kind {
        Kind::Truncate => Header { first: header.first.saturating_sub(1), ..header },
        Kind::Purge => Header { term: header.term + 1, ..header },
        Kind::State | Kind::Entries | Kind::Vote => header,
    }
}

/// The whole blocks from the beginning of `bytes` on, each with its offset.
pub(super) fn blocks(bytes: &[u8]) -> Vec<(usize, Block<'_>)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(block) = bytes.get(at..).and_then(block::decode) {
        found.push((at, block));
        at += block::padded(block.length);
    }
    found
}
