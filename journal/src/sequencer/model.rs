//! The sequencer against serial execution: transactions of one table of keys and leases, in a world of lagging
//! readers, retries, deposed leaders that go on, and leaders that begin with half of what was proposed.
//!
//! A transaction writes a digest of everything it read. When its record is applied, the digest of the same
//! reads at the revision before must be that one: then it is as if it had been executed there (I3). The tables
//! of recent writes are so small that nearly every key shares its slot.

mod client;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::key_range::KeyRange;
use crate::record::{Read, Write};
use crate::state::Applied;
use crate::state::dedup;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use world::World;

const KEYS: u8 = 6;
/// Keys below it belong to the one partition, the others to the other.
const SPLIT: u8 = 3;

/// The store at one revision: each key with its value and lease, and what was ever written to it.
type Table = BTreeMap<u8, (u64, i64)>;

#[derive(Clone, Debug)]
enum Want {
    /// Read these ranges, and write a digest of what is there to these keys.
    Transaction {
        reads: Vec<(u8, u8)>,
        puts: Vec<u8>,
        lease: i64,
        delete: bool,
    },
    Grant(i64),
    Revoke(i64),
    Compact,
    /// Change the routes that were seen so many versions ago.
    Routes(u64),
}

#[derive(Clone, Debug)]
enum Step {
    /// A new request, read by replicas that lag behind so far.
    Ask(Want, [u8; 2]),
    /// The same request evaluated again, whatever became of it.
    Retry(prop::sample::Index, [u8; 2]),
    /// The same message once more.
    Repeat(prop::sample::Index),
    /// To the leader deposed last.
    AskDeposed(Want, [u8; 2]),
    RetryDeposed(prop::sample::Index, [u8; 2]),
    Take,
    Commit,
    Fate(prop::sample::Index),
    /// So many of the batches on their way survive, and what the deposed leader sends later is void.
    NewLeader {
        survivors: u8,
    },
    Wait,
}

fn any_want() -> impl Strategy<Value = Want> {
    let reads = vec((0..KEYS, 1u8..4), 0..3);
    let transaction = (reads, vec(0..KEYS, 1..3), 0i64..3, any::<bool>())
        .prop_map(|(reads, puts, lease, delete)| Want::Transaction { reads, puts, lease, delete });
    prop_oneof![
        12 => transaction,
        2 => (1i64..3).prop_map(Want::Grant),
        2 => (1i64..3).prop_map(Want::Revoke),
        1 => Just(Want::Compact),
        3 => (0u64..2).prop_map(Want::Routes),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let lags = || [0u8..4, 0u8..4];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        10 => (any_want(), lags()).prop_map(|(want, lags)| Step::Ask(want, lags)),
        3 => (index(), lags()).prop_map(|(at, lags)| Step::Retry(at, lags)),
        1 => index().prop_map(Step::Repeat),
        1 => (any_want(), lags()).prop_map(|(want, lags)| Step::AskDeposed(want, lags)),
        1 => (index(), lags()).prop_map(|(at, lags)| Step::RetryDeposed(at, lags)),
        6 => Just(Step::Take),
        4 => Just(Step::Commit),
        2 => index().prop_map(Step::Fate),
        1 => (0u8..4).prop_map(|survivors| Step::NewLeader { survivors }),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// I1, I2, I3, I5, I7, no double commit, and verdicts that are true.
    #[test]
    fn whatever_happens_is_as_if_executed_one_after_the_other(
        steps in vec(any_step(), 1..120), slots in 1u32..4, ring in 2usize..12
    ) {
        let mut world = World::new(1 << slots, ring);
        for step in steps {
            world.step(step);
        }
        world.new_leader(usize::MAX);
        world.new_leader(0);
    }
}
