//! What was written is what is read, or it is refused.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use proptest::prelude::*;

use super::format::{frame, put_header, put_summary};
use super::reader::Reader;
use super::writer::Writer;
use super::{Folder, Header, Summary};
use crate::error::Error;
use crate::key_value::{KeyValue, Version};
use crate::partition_id::PartitionRange;

const CLUSTER: u64 = 0xC0FFEE;

/// Versions in order, one or two to a revision.
fn versions() -> impl Strategy<Value = Vec<Version>> {
    let version =
        ("[a-f]{1,3}", prop::collection::vec(any::<u8>(), 0..40), any::<i64>(), 0_u64..3, any::<bool>());
    prop::collection::vec(version, 0..60).prop_map(|versions| {
        let numbered = (2_u64..).zip(versions);
        numbered
            .map(|(number, (key, value, lease, version, second))| Version {
                sub: second.into(),
                kv: KeyValue {
                    mod_revision: Revision(number),
                    create_revision: if version == 0 { Revision::ZERO } else { Revision(2) },
                    version,
                    value: if version == 0 { Bytes::new() } else { value.into() },
                    lease: if version == 0 { LeaseId::NONE } else { LeaseId(lease) },
                    ..KeyValue::deleted(key.into(), Revision::ZERO)
                },
            })
            .collect()
    })
}

fn split(keys: &[&str]) -> Vec<PartitionRange> {
    PartitionRange::split(&keys.iter().map(|key| Bytes::from(key.to_string())).collect::<Vec<_>>())
}

fn headers(lsn: u64, ranges: &[PartitionRange]) -> Vec<Header> {
    let header = |range: &PartitionRange| Header {
        cluster: CLUSTER,
        lsn: Lsn(lsn),
        revision: Revision(100),
        compacted: Revision(7),
        range: range.clone(),
    };
    ranges.iter().map(header).collect()
}

fn write(folder: &Folder, lsn: u64, ranges: &[PartitionRange], versions: &[Version]) {
    let written = folder.write(&headers(lsn, ranges), |header, sink| {
        versions.iter().filter(|version| header.range.contains(&version.kv.key)).try_for_each(&mut *sink)
    });
    let counted: u64 = written.expect("the disk is fine").iter().map(|(_, summary)| summary.versions).sum();
    assert_eq!(counted, u64::try_from(versions.len()).expect("few"));
}

fn read(folder: &Folder, lsn: u64, range: &PartitionRange) -> Result<Vec<Version>, Error> {
    let mut source = folder.set(Lsn(lsn))?.versions(range)?;
    let mut versions = Vec::new();
    while let Some(version) = source.next()? {
        versions.push(version);
    }
    Ok(versions)
}

fn open(directory: &Path) -> Folder {
    Folder::open(directory, CLUSTER).expect("the disk is fine")
}

fn file(directory: &Path, lsn: u64, partition: u32) -> PathBuf {
    directory.join(format!("{lsn:020}/{partition}.partition"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_read_is_what_was_written_however_keys_are_split(versions in versions()) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        let folder = open(directory.path());
        let splits = [split(&[]), split(&["b", "d"]), split(&["bb", "cc", "e"])];
        for (lsn, written) in (9..).zip(&splits) {
            write(&folder, lsn, written, &versions);
            for range in splits.iter().flatten() {
                let mut expected = versions.clone();
                expected.retain(|version| range.contains(&version.kv.key));
                prop_assert_eq!(read(&folder, lsn, range).expect("nothing is damaged"), expected);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_refused(versions in versions(), place in any::<prop::sample::Index>(), bit in 0..8) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        let folder = open(directory.path());
        write(&folder, 9, &split(&[]), &versions);
        let path = file(directory.path(), 9, 0);
        let mut bytes = fs::read(&path).expect("it was written");
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        fs::write(&path, bytes).expect("the disk is fine");
        let refused = read(&folder, 9, &split(&[])[0]);
        prop_assert!(matches!(refused, Err(Error::Corrupt(_))), "bit {bit} of byte {place}: {refused:?}");
        prop_assert!(folder.verify(Lsn(9)).is_err());
    }

    #[test]
    fn a_cut_or_longer_file_is_refused(versions in versions(), place in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        let folder = open(directory.path());
        write(&folder, 9, &split(&[]), &versions);
        let path = file(directory.path(), 9, 0);
        let mut bytes = fs::read(&path).expect("it was written");
        fs::write(&path, &bytes[..place.index(bytes.len())]).expect("the disk is fine");
        prop_assert!(read(&folder, 9, &split(&[])[0]).is_err());
        bytes.push(0);
        fs::write(&path, &bytes).expect("the disk is fine");
        prop_assert!(read(&folder, 9, &split(&[])[0]).is_err());
    }
}

#[test]
fn many_blocks_are_read_in_order_and_swapped_ones_are_refused() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    let version = |number: u64| Version {
        sub: 0,
        kv: KeyValue {
            value: Bytes::from(vec![7; 100_000]),
            version: 1,
            create_revision: Revision(number),
            ..KeyValue::deleted("key".into(), Revision(number))
        },
    };
    let versions: Vec<_> = (2..22).map(version).collect();
    write(&folder, 9, &split(&[]), &versions);
    assert_eq!(read(&folder, 9, &split(&[])[0]).expect("nothing is damaged"), versions);

    let path = file(directory.path(), 9, 0);
    let mut bytes = fs::read(&path).expect("it was written");
    let length =
        |at: usize| 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let (first, size) = (length(0), length(length(0)));
    assert_eq!(size, length(first + size), "two blocks of the same size");
    bytes[first..].rotate_left(size);
    fs::write(&path, &bytes).expect("the disk is fine");
    assert!(matches!(read(&folder, 9, &split(&[])[0]), Err(Error::Corrupt(_))));
}

/// All checksums right, and yet something is missing.
#[test]
fn a_summary_that_says_otherwise_is_refused() {
    let header = headers(9, &split(&[])).remove(0);
    let version = Version { sub: 0, kv: KeyValue::deleted("key".into(), Revision(3)) };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory is fine");
    writer.push(&version).expect("memory is fine");
    let (whole, _) = writer.finish().expect("memory is fine");
    let verify = |file: &[u8]| Reader::open(file, header.range.id)?.verify();
    assert_eq!(verify(&whole).expect("nothing is damaged").versions, 1);

    let mut file =
        Writer::new(Vec::new(), &header).expect("memory is fine").finish().expect("memory is fine").0;
    verify(&file).expect("nothing is damaged");
    let summary = file.split_off(file.len() - 25);
    let mut payload = summary[8..].to_vec();
    payload[1] = 1;
    file.extend(frame(1, &payload));
    let refused = verify(&file);
    assert!(
        matches!(&refused, Err(Error::Corrupt(reason)) if reason.contains("where it says")),
        "{refused:?}"
    );
}

#[test]
fn a_crash_before_the_rename_loses_nothing() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    write(&folder, 9, &split(&["m"]), &[]);
    let stopped = folder.write(&headers(12, &split(&["m"])), |header, _| match header.range.id.0 {
        0 => Ok(()),
        _ => Err(Error::Io("the power is gone".into())),
    });
    assert!(stopped.is_err());
    assert!(directory.path().join("partial/0.partition").exists());
    let folder = open(directory.path());
    assert_eq!(folder.sets(), Ok(vec![Lsn(9)]));
    assert!(!directory.path().join("partial").exists());
    folder.verify(Lsn(9)).expect("it is whole");
    write(&folder, 12, &split(&["m"]), &[]);
    assert_eq!(folder.sets(), Ok(vec![Lsn(12), Lsn(9)]));
}

/// Forgets what is not needed of all keys. Answers how far they reach.
fn forget(folder: &Folder) -> Option<Lsn> {
    folder.forget(&split(&[])).expect("the disk is fine");
    folder.reach().expect("the disk is fine")
}

#[test]
fn the_newest_two_are_kept_and_the_journal_is_needed_from_the_older() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    write(&folder, 9, &split(&[]), &[]);
    assert_eq!(forget(&folder), None, "the next one may be damaged");
    write(&folder, 12, &split(&[]), &[]);
    assert_eq!(forget(&folder), Some(Lsn(9)));
    write(&folder, 15, &split(&[]), &[]);
    assert_eq!(forget(&folder), Some(Lsn(12)));
    assert_eq!(folder.sets(), Ok(vec![Lsn(15), Lsn(12)]));
    folder.set_aside(Lsn(15)).expect("the disk is fine");
    assert_eq!(forget(&folder), None, "a damaged one does not count");
    fs::write(file(directory.path(), 12, 0), b"nothing").expect("the disk is fine");
    (16..18).for_each(|lsn| write(&folder, lsn, &split(&[]), &[]));
    assert_eq!(forget(&folder), Some(Lsn(16)));
    assert_eq!(folder.sets(), Ok(vec![Lsn(17), Lsn(16)]), "what is damaged goes once there are two others");
}

#[test]
fn the_newest_two_of_each_range_are_kept() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    let (all, halves) = (split(&["c", "m"]), split(&["m"]));
    write(&folder, 9, &all, &[]);
    write(&folder, 10, &halves[..1], &[]);
    write(&folder, 11, &halves[1..], &[]);
    assert_eq!(forget(&folder), Some(Lsn(9)));
    write(&folder, 12, &halves[..1], &[]);
    assert_eq!(forget(&folder), Some(Lsn(9)), "the second half has only this besides");
    assert!(!file(directory.path(), 9, 0).exists() && !file(directory.path(), 9, 1).exists());
    folder.verify(Lsn(9)).expect("what is left of it is whole");
    write(&folder, 14, &halves[1..], &[]);
    assert_eq!(forget(&folder), Some(Lsn(10)));
    assert_eq!(folder.sets(), Ok(vec![Lsn(14), Lsn(12), Lsn(11), Lsn(10)]));
    folder.forget(&halves[1..]).expect("the disk is fine");
    assert_eq!(folder.sets(), Ok(vec![Lsn(14), Lsn(11)]), "the rest is nobody's");
}

/// Several memstores stop at the same position.
#[test]
fn what_comes_to_a_position_joins_what_is_there() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    let version = |key: &'static str| Version { sub: 0, kv: KeyValue::deleted(key.into(), Revision(3)) };
    let (all, halves) = (split(&[]), split(&["m"]));
    let [a, z] = [version("a"), Version { sub: 1, ..version("z") }];
    write(&folder, 9, &halves[1..], std::slice::from_ref(&z));
    assert_eq!(folder.set(Lsn(9)).map(|set| set.holds(&all[0])), Ok(false));
    write(&folder, 9, &halves[..1], &[]);
    assert_eq!(read(&folder, 9, &all[0]), Ok(vec![z.clone()]));
    write(&folder, 9, &halves[..1], std::slice::from_ref(&a));
    assert_eq!(folder.verify(Lsn(9)).map(|files| files.len()), Ok(2), "it took the place of the one like it");
    assert_eq!(read(&folder, 9, &all[0]), Ok(vec![a.clone(), z.clone()]));
    write(&folder, 9, &all, &[a.clone(), z.clone()]);
    assert_eq!(read(&folder, 9, &all[0]), Ok(vec![a, z]), "and nothing is there twice");
    assert!(!directory.path().join("partial").exists());
}

/// Checksums are right here: only what is said is wrong.
#[test]
fn what_a_block_says_beyond_what_is_known_is_refused() {
    let header = &headers(9, &split(&[]))[0];
    let (mut first, mut last) = (Vec::new(), Vec::new());
    put_header(&mut first, header);
    put_summary(&mut last, &Summary::default());
    let read = |first: &[u8], last: &[u8]| {
        let file = [frame(0, first), frame(1, last)].concat();
        Reader::open(&file[..], header.range.id)?.verify()
    };
    assert_eq!(read(&first, &last), Ok(Summary::default()));
    let longer = |block: &[u8]| [block, &[0]].concat();
    assert!(read(&longer(&first), &last).is_err(), "a longer header");
    assert!(read(&first, &longer(&last)).is_err(), "a longer summary");
    // The last five bytes of the header: whether the range has an end, and that end.
    let has_end = first.len() - 5;
    first[has_end] = 2;
    assert!(read(&first, &last).is_err(), "two for a yes or a no");
    (first[has_end], first[has_end + 1]) = (0, 1);
    assert!(read(&longer(&first), &last).is_err(), "an end that is none");
}

#[test]
fn a_set_that_lacks_a_file_has_the_others() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    let ranges = split(&["h", "m"]);
    for (lsn, lost) in [(9, 0), (12, 1), (15, 2)] {
        write(&folder, lsn, &ranges, &[]);
        fs::remove_file(file(directory.path(), lsn, lost)).expect("it was written");
        let set = folder.set(Lsn(lsn)).expect("the others are there");
        let holds = (0..).zip(&ranges).all(|(place, range)| set.holds(range) == (place != lost));
        assert!(holds && !set.holds(&split(&[])[0]), "without {lost}");
    }
}

#[test]
fn a_set_of_another_cluster_or_position_is_refused() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let folder = open(directory.path());
    write(&folder, 9, &split(&[]), &[]);
    let other = Folder::open(directory.path(), CLUSTER + 1).expect("the disk is fine");
    let refused = other.set(Lsn(9)).map(|_| ()).expect_err("it is not ours");
    assert!(
        refused
            .to_string()
            .contains("it is of cluster 0000000000c0ffee, and this is cluster 0000000000c0ffef"),
        "{refused}"
    );
    fs::rename(
        file(directory.path(), 9, 0).parent().expect("a folder"),
        directory.path().join(format!("{:020}", 8)),
    )
    .expect("the disk is fine");
    assert!(folder.set(Lsn(8)).is_err());
}
