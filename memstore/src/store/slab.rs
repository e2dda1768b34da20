//! Where the chains of versions stand: at places that do not move, named by 31 bits.
//!
//!     blocks   [ chain chain  ·   chain ][ chain  ·   ·  ]
//!     free     [ 2 ]                           ^ next of the last block
//!
//! Blocks instead of one array: growing moves nothing, so no write pays for all the keys before it.

use super::chain::Chain;

/// Chains in one block.
const BLOCK: usize = 1_024;

/// The place of a key's chain. Used again after the key is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(super) u32);

impl Slot {
    fn place(self) -> (usize, usize) {
        let place = usize::try_from(self.0).expect("it is a place in memory");
        (place / BLOCK, place % BLOCK)
    }
}

#[derive(Default)]
pub(crate) struct Slab {
    blocks: Vec<Vec<Option<Chain>>>,
    free: Vec<Slot>,
}

impl Slab {
    pub(crate) fn insert(&mut self, chain: Chain) -> Slot {
        if let Some(slot) = self.free.pop() {
            let (block, place) = slot.place();
            self.blocks[block][place] = Some(chain);
            return slot;
        }
        if self.blocks.last().is_none_or(|last| last.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = (self.blocks.len() - 1) * BLOCK + self.blocks.last().map_or(0, Vec::len);
        let slot = u32::try_from(number).ok().filter(|number| number >> 31 == 0).map(Slot);
        self.blocks.last_mut().expect("it was just looked at").push(Some(chain));
        slot.expect("2^31 keys with their values are more than a machine holds")
    }

    pub(crate) fn get(&self, slot: Slot) -> &Chain {
        let (block, place) = slot.place();
        self.blocks[block][place].as_ref().expect("a slot in use names a chain")
    }

    /// `None` where nothing stands any more.
    pub(crate) fn find_mut(&mut self, slot: Slot) -> Option<&mut Chain> {
        let (block, place) = slot.place();
        self.blocks[block][place].as_mut()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Chain {
        let (block, place) = slot.place();
        self.blocks[block][place].as_mut().expect("a slot in use names a chain")
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let (block, place) = slot.place();
        assert!(self.blocks[block][place].take().is_some(), "a slot is freed once");
        self.free.push(slot);
    }

    /// Bytes of room for keys to come.
    pub(crate) fn spare_bytes(&self) -> u64 {
        let room = self.blocks.last().map_or(0, |last| BLOCK - last.len());
        u64::try_from((self.free.len() + room) * size_of::<Chain>()).expect("a length fits 64 bits")
    }
}
