//! What a fuzzer calls: each target takes any bytes, and panics where a promise is broken. Only tests build this.

use bytes::Bytes;
use journal::KeyRange;

use crate::partition_id::PartitionRange;

pub use crate::snapshot::fuzzing::{snapshot, snapshot_seeds};

/// Partitions cut at some keys, and a range of keys over them: each key is in one partition, and what the
/// partitions have of the range is the range.
///
///     key | range end | split keys ...                  each a length below 8 and so many bytes
pub fn partitions(data: &[u8]) {
    let mut texts = texts(data).into_iter();
    let (Some(key), Some(range_end)) = (texts.next(), texts.next()) else { return };
    let keys = KeyRange::from_wire(key.clone(), range_end.clone());
    let split_keys: Vec<Bytes> = texts.collect();
    let partitions = PartitionRange::split(&split_keys);
    let mut probes = [split_keys, vec![key, range_end, Bytes::new()]].concat();
    probes.extend(probes.clone().iter().map(|probe| Bytes::from([probe, &b"\0"[..]].concat())));
    for probe in &probes {
        let holders: Vec<_> = partitions.iter().filter(|partition| partition.contains(probe)).collect();
        let [holder] = holders[..] else { panic!("{probe:?} is held by {holders:?}") };
        for partition in &partitions {
            let part = partition.clip(&keys).is_some_and(|part| part.contains(probe));
            assert_eq!(
                part,
                partition == holder && keys.contains(probe),
                "{probe:?} of {keys:?} in {partition:?}"
            );
            assert_eq!(partition.overlaps(holder), partition == holder, "{partition:?} and {holder:?}");
        }
    }
}

pub fn partitions_seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("whole", b"\x01a\x01\x00".to_vec()),
        ("two", b"\x01a\x01z\x01m".to_vec()),
        ("four", b"\x01b\x02bz\x01b\x01c\x02bb".to_vec()),
        ("single", b"\x01m\x00\x01m\x02m\x00\x00".to_vec()),
    ]
}

fn texts(mut data: &[u8]) -> Vec<Bytes> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at(usize::from(length % 8).min(rest.len()));
        texts.push(Bytes::copy_from_slice(text));
        data = rest;
    }
    texts
}
