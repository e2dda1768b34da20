//! The table of the voter registry, and how a message is compared with it. Pure.

use std::collections::BTreeMap;

use proto::raft::{Message, VoterRecord as Told};

use crate::raft::promise::Promise;

/// Random number of a data directory. 0: none, as of a program that has no such number.
pub(crate) type StorageId = u64;

/// Records of nodes that are not known as members. There are no more: names are made up easily.
const RECORDS_MAX: usize = 64;

/// What is known of another voter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoterRecord {
    pub(crate) storage: StorageId,
    /// Lower bound of what the voter has promised.
    pub(crate) promise: Promise,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Storage id of this node.
    pub(crate) storage: StorageId,
    /// What this node has promised and does not have: it does not vote until it has it again.
    pub(crate) missing: Option<Promise>,
    pub(crate) voters: BTreeMap<u64, VoterRecord>,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is addressed to another member.
    Misdirected { to: u64 },
    /// The sender comes with another data directory than the one that it is known by.
    OtherStorage { known: StorageId, shown: StorageId },
    /// The sender knows this node by another data directory.
    Replaced { known: StorageId },
    /// The storage id of the sender is to be recorded first.
    NotRecorded,
}

impl Table {
    /// Compares a message with the table, and takes over what it tells.
    ///
    /// # Errors
    /// The first finding for which its body must not be read.
    pub(super) fn examine(&mut self, node: u64, own: Promise, message: &Message) -> Result<(), Finding> {
        if message.to != 0 && message.to != node {
            return Err(Finding::Misdirected { to: message.to });
        }
        let mut replaced = None;
        let known = VoterRecord { storage: message.storage_known, promise: read(message.promise_known) };
        for (id, record) in message.voters.iter().map(record).chain([(node, known)]) {
            if id != node {
                self.merge(id, record);
            } else if self.is_replaced(own, record) {
                replaced = Some(record.storage);
            }
        }
        let (from, promise) = (message.from, read(message.promise));
        let found = match self.voters.get_mut(&from) {
            _ if message.storage == 0 => Ok(()),
            Some(record) if record.storage == message.storage => {
                record.promise = record.promise.join(promise);
                Ok(())
            }
            // It has lost nothing that counts.
            Some(record) if record.promise.is_empty() => Err(Finding::NotRecorded),
            Some(record) => Err(Finding::OtherStorage { known: record.storage, shown: message.storage }),
            None => Err(Finding::NotRecorded),
        };
        match replaced {
            Some(known) => Err(Finding::Replaced { known }),
            None => found,
        }
    }

    /// Returns true where another data directory is known for this node. Of its own one, notes what is missing here.
    fn is_replaced(&mut self, own: Promise, known: VoterRecord) -> bool {
        if known.storage == 0 || (known.storage != self.storage && known.promise.is_empty()) {
            return false;
        }
        if known.storage != self.storage {
            return true;
        }
        if !own.covers(known.promise) {
            self.missing = Some(self.missing.unwrap_or_default().join(known.promise));
        }
        false
    }

    /// Records the sender of a message that has no storage id here, or whose directory had promised nothing.
    pub(super) fn record(&mut self, message: &Message) {
        let record = VoterRecord { storage: message.storage, promise: read(message.promise) };
        match self.voters.get_mut(&message.from) {
            Some(known) if known.storage != record.storage && known.promise.is_empty() => *known = record,
            _ => self.merge(message.from, record),
        }
    }

    /// Takes over what another node knows. Where the two disagree, the one that has acknowledged more counts.
    fn merge(&mut self, id: u64, record: VoterRecord) {
        if record.storage == 0 {
            return;
        }
        let has_room = self.voters.len() < RECORDS_MAX;
        match self.voters.get_mut(&id) {
            Some(known) if known.storage == record.storage => {
                known.promise = known.promise.join(record.promise);
            }
            Some(known) if known.promise.last < record.promise.last => *known = record,
            Some(_) => {}
            None if has_room => drop(self.voters.insert(id, record)),
            None => {}
        }
    }

    /// A leader of `term` has told how far the log is committed, and this node has it up to `matching` on disk. Returns
    /// true where it votes again: it has what it had promised, and everything that was committed.
    pub(super) fn catch_up(
        &mut self,
        term: u64,
        committed: Option<(u64, u64)>,
        matching: Option<(u64, u64)>,
    ) -> bool {
        let Some(missing) = self.missing else { return false };
        // Before an entry of its own term is committed, a leader does not know how far the log is.
        let knows = committed.is_some_and(|(of, _)| of == term);
        let has_all = missing.term <= term && missing.last <= matching && knows && committed <= matching;
        if has_all {
            self.missing = None;
        }
        has_all
    }

    /// The other voters that have promised something.
    pub(super) fn bootstrapped(&self) -> impl Iterator<Item = u64> {
        self.voters.iter().filter(|(_, record)| !record.promise.is_empty()).map(|(id, _)| *id)
    }

    /// Writes what the table says into a message.
    pub(super) fn sign(&self, to: u64, own: Promise, message: &mut Message) {
        let known = self.voters.get(&to).copied().unwrap_or_default();
        message.to = to;
        message.storage = self.storage;
        message.promise = Some(write(own));
        if known.storage != 0 {
            message.storage_known = known.storage;
            message.promise_known = Some(write(known.promise));
        }
    }

    /// What a message tells of the other voters.
    pub(super) fn told(&self) -> Vec<Told> {
        let told = |(id, record): (&u64, &VoterRecord)| Told {
            id: *id,
            storage: record.storage,
            promise: Some(write(record.promise)),
        };
        self.voters.iter().map(told).collect()
    }
}

fn record(told: &Told) -> (u64, VoterRecord) {
    (told.id, VoterRecord { storage: told.storage, promise: read(told.promise) })
}

fn write(promise: Promise) -> proto::raft::Promise {
    let (last_term, last_end) = promise.last.map_or((0, 0), |(term, index)| (term, index + 1));
    proto::raft::Promise { term: promise.term, last_term, last_end }
}

fn read(promise: Option<proto::raft::Promise>) -> Promise {
    let proto::raft::Promise { term, last_term, last_end } = promise.unwrap_or_default();
    Promise { term, last: last_end.checked_sub(1).map(|index| (last_term, index)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: u64 = 1;
    const PEER: u64 = 2;

    fn promise(term: u64, last: (u64, u64)) -> Promise {
        Promise { term, last: Some(last) }
    }

    fn table(storage: StorageId, peer: VoterRecord) -> Table {
        Table { storage, missing: None, voters: BTreeMap::from([(PEER, peer)]) }
    }

    /// A message of the peer, whose table has `known` of this node.
    fn message(storage: StorageId, own: Promise, known: VoterRecord) -> Message {
        let peer = Table { storage, missing: None, voters: BTreeMap::from([(NODE, known)]) };
        let mut message = Message { from: PEER, ..Message::default() };
        peer.sign(NODE, own, &mut message);
        message
    }

    const OWN: Promise = Promise { term: 7, last: Some((7, 90)) };
    const KNOWN: VoterRecord = VoterRecord { storage: 0xa, promise: OWN };

    #[test]
    fn a_member_with_another_data_directory_is_refused() {
        let peer = VoterRecord { storage: 0xb, promise: promise(3, (3, 5)) };
        let mut table = table(0xa, peer);
        assert_eq!(table.examine(NODE, OWN, &message(0xb, promise(4, (4, 9)), KNOWN)), Ok(()));
        assert_eq!(table.voters[&PEER].promise, promise(4, (4, 9)));
        let refused = table.examine(NODE, OWN, &message(0xc, Promise::default(), KNOWN));
        assert_eq!(refused, Err(Finding::OtherStorage { known: 0xb, shown: 0xc }));
        assert_eq!(
            table.examine(NODE, OWN, &message(0, Promise::default(), KNOWN)),
            Ok(()),
            "an older version"
        );
    }

    #[test]
    fn a_directory_that_promised_nothing_may_be_replaced() {
        let mut table = table(0xa, VoterRecord { storage: 0xb, promise: promise(0, (0, 0)) });
        let said = message(0xc, Promise::default(), KNOWN);
        assert_eq!(table.examine(NODE, OWN, &said), Err(Finding::NotRecorded));
        table.record(&said);
        assert_eq!(table.examine(NODE, OWN, &said), Ok(()));
    }

    #[test]
    fn a_node_learns_that_its_directory_is_another() {
        let mut blank = table(0xd, VoterRecord { storage: 0xb, promise: Promise::default() });
        let refused = blank.examine(NODE, Promise::default(), &message(0xb, OWN, KNOWN));
        assert_eq!(refused, Err(Finding::Replaced { known: 0xa }));
        let mut told = message(0xb, OWN, VoterRecord::default());
        told.voters = table(0xb, VoterRecord::default()).told();
        told.voters.push(Told { id: NODE, storage: 0xa, promise: Some(write(OWN)) });
        assert_eq!(blank.examine(NODE, Promise::default(), &told), Err(Finding::Replaced { known: 0xa }));
    }

    #[test]
    fn a_node_learns_what_it_is_missing() {
        let mut older = table(0xa, VoterRecord { storage: 0xb, promise: OWN });
        assert_eq!(older.examine(NODE, OWN, &message(0xb, OWN, KNOWN)), Ok(()));
        assert_eq!(older.missing, None);
        let own = promise(7, (7, 80));
        assert_eq!(older.examine(NODE, own, &message(0xb, OWN, KNOWN)), Ok(()));
        assert_eq!(older.missing, Some(OWN));
        assert!(!older.catch_up(6, Some((6, 95)), Some((6, 95))), "an older leader");
        assert!(!older.catch_up(8, Some((7, 95)), Some((7, 95))), "it does not know how far the log is");
        assert!(!older.catch_up(8, Some((8, 96)), Some((7, 95))), "there is more");
        assert!(older.catch_up(8, Some((8, 96)), Some((8, 96))));
        assert_eq!(older.missing, None);
    }

    #[test]
    fn a_vote_of_a_later_term_is_missed() {
        let mut older = table(0xa, VoterRecord { storage: 0xb, promise: OWN });
        older.examine(NODE, promise(6, (7, 90)), &message(0xb, OWN, KNOWN)).unwrap();
        assert_eq!(older.missing, Some(OWN));
    }

    #[test]
    fn a_message_for_another_member_is_refused() {
        let mut message = message(0xb, OWN, KNOWN);
        message.to = 9;
        let refused = table(0xa, VoterRecord::default()).examine(NODE, OWN, &message);
        assert_eq!(refused, Err(Finding::Misdirected { to: 9 }));
    }

    #[test]
    fn of_two_that_disagree_the_one_that_acknowledged_more_counts() {
        let mut table = table(0xa, VoterRecord::default());
        table.merge(3, VoterRecord { storage: 0xc, promise: promise(1, (0, 0)) });
        table.merge(3, KNOWN);
        assert_eq!(table.voters[&3], KNOWN);
        table.merge(3, VoterRecord { storage: 0xe, promise: promise(9, (7, 90)) });
        assert_eq!(table.voters[&3], KNOWN);
    }
}
