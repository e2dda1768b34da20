//! What the store costs, in figures. Run by hand:
//!
//!     cargo test --release -p memstore speed -- --ignored --nocapture

use std::hint::black_box;

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Origin, Record, Revision, SysOp, Write};

use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::query::{At, Projection, Query};

const VALUE_BYTES: usize = 256;
/// As wide as the keys of Kubernetes are on average.
const KEY_BYTES: usize = 32;

fn key(number: u64) -> Bytes {
    format!("/registry/pods/default/{number:09}").into()
}

fn put(number: u64) -> Write {
    Write::Put { key: key(number), value: vec![7; VALUE_BYTES].into(), lease: LeaseId::NONE }
}

/// Spreads numbers below `keys` so that no two turns in a row have anything to do with each other.
fn mixed(number: u64, keys: u64) -> u64 {
    (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).swap_bytes() % keys
}

fn batches(writes: impl Iterator<Item = Write>, from: Revision) -> Vec<Batch> {
    let mut next = from.next();
    let records: Vec<_> =
        writes.map(|write| Record { origin: Origin::default(), writes: vec![write], sysop: None }).collect();
    let batch = |records: &[Record]| {
        let base_revision = next;
        next.0 += u64::try_from(records.len()).unwrap();
        Batch { term: 1, base_revision, wall_clock_ms: 0, records: records.to_vec() }
    };
    records.chunks(64).map(batch).collect()
}

/// Nanoseconds that this thread has spent on a processor.
fn spent() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// Nanoseconds of processor time for each of `count`.
fn each(count: u64, act: impl FnOnce()) -> f64 {
    let start = spent();
    act();
    (spent() - start) as f64 / count as f64
}

fn apply(partition: &Partition, batches: &[Batch]) {
    batches.iter().for_each(|batch| partition.apply(batch, &mut |change| drop(black_box(change))));
}

fn update(partition: &Partition, keys: u64, count: u64) -> f64 {
    let batches = batches((0..count).map(|number| put(mixed(number, keys))), partition.revision());
    each(count, || apply(partition, &batches))
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4_096.0
}

fn filled(keys: u64) -> Partition {
    let partition = Partition::new(PartitionRange::split(&[]).remove(0));
    let mut shuffled: Vec<_> = (0..keys).collect();
    shuffled.sort_by_key(|number| mixed(*number, u64::MAX));
    for part in 0..keys.div_ceil(10_000) {
        let numbers = part * 10_000..keys.min((part + 1) * 10_000);
        apply(
            &partition,
            &batches(
                numbers.map(|number| put(shuffled[usize::try_from(number).unwrap()])),
                partition.revision(),
            ),
        );
    }
    partition
}

fn compact(partition: &Partition) -> f64 {
    let sysop = Some(SysOp::Compact { revision: partition.revision() });
    let records = vec![Record { origin: Origin::default(), writes: vec![], sysop }];
    let base_revision = partition.revision().next();
    partition.apply(&Batch { term: 1, base_revision, wall_clock_ms: 0, records }, &mut |_| ());
    let (mut longest, mut more) = (0.0_f64, true);
    while more {
        longest = longest.max(each(1, || more = partition.compact_step(1_000)));
    }
    longest
}

fn range(partition: &Partition, from: u64, keys: u64, limit: usize, at: At, projection: Projection) {
    let keys = KeyRange::Range { start: key(from), end: key(from + keys) };
    let query = Query { limit, at, projection, ..Query::latest(keys) };
    black_box(partition.range_at_once(&query).unwrap());
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let before = resident_bytes();
    const KEYS: u64 = 1_000_000;
    let mut partition = None;
    let fill = each(KEYS, || partition = Some(filled(KEYS)));
    let partition = partition.unwrap();
    let overhead = (resident_bytes() - before) / KEYS as f64 - (KEY_BYTES + VALUE_BYTES) as f64;
    println!(
        "{KEYS} keys: {fill:.0} ns to make and put each, {overhead:.0} bytes resident beyond key and value"
    );
    println!("counted: {:?}", partition.stats());
    let keys: Vec<_> = (0..KEYS).map(|number| key(mixed(number * 3 + 1, KEYS))).collect();
    let get = each(KEYS, || {
        keys.iter()
            .for_each(|key| drop(black_box(partition.get_many(std::slice::from_ref(key), At::Latest))));
    });
    println!("get: {get:.0} ns");
    let single =
        |key: &Bytes| drop(black_box(partition.range_at_once(&Query::latest(KeyRange::Single(key.clone())))));
    println!("range of one: {:.0} ns", each(KEYS, || keys.iter().for_each(single)));
    for limit in [0, 500] {
        let page = |number| {
            range(&partition, mixed(number, KEYS - 10_000), 500, limit, At::Latest, Projection::Full)
        };
        println!("range of 500, limit {limit}: {:.1} us", each(2_000, || (0..2_000).for_each(page)) / 1e3);
    }
    let small = filled(10_000);
    for round in 0..3 {
        let (large, small) = (update(&partition, KEYS, 200_000), update(&small, 10_000, 200_000));
        println!("round {round}: update {large:.0} ns of a million keys, {small:.0} ns of ten thousand");
    }
    let then = Revision(partition.revision().0 - 100_000);
    for (name, at) in [("now", At::Latest), ("100,000 changes ago", At::Revision(then))] {
        let page =
            |number| range(&partition, mixed(number, KEYS - 10_000), 10_000, 500, at, Projection::Full);
        println!(
            "500 of 10,000 with their count, {name}: {:.1} us",
            each(200, || (0..200).for_each(page)) / 1e3
        );
        let count =
            |number| range(&partition, mixed(number, KEYS - 10_000), 10_000, 0, at, Projection::CountOnly);
        println!("count of 10,000, {name}: {:.1} us", each(200, || (0..200).for_each(count)) / 1e3);
    }
    let mut longest = 0.0;
    let all = each(1, || longest = compact(&partition));
    println!("compaction: {:.0} ms in all, {:.2} ms the longest step", all / 1e6, longest / 1e6);
    println!("counted: {:?}", partition.stats());
}
