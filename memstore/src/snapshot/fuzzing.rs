//! A snapshot's file made by any bytes: payloads, each with the length and the checksum that belong to it.
//!
//!     u8: odd, the right summary is put behind | { u16 length, payload } ...

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};

use super::format::{VERSIONS, frame, get_version, put_summary};
use super::reader::Reader;
use super::writer::Writer;
use super::{Header, Summary};
use crate::key_value::{KeyValue, Version};
use crate::partition_id::{PartitionId, PartitionRange};
use crate::set_hash::SetHash;

const ID: PartitionId = PartitionId(0);

/// What is accepted is, block by block, what is written of it.
pub fn snapshot(data: &[u8]) {
    let Some(payloads) = payloads(data) else { return };
    let bytes = file(&payloads);
    let Ok(mut reader) = Reader::open(&bytes[..], ID) else { return };
    let (header, mut versions) = (reader.header().clone(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(version)) => versions.push(version),
            Ok(None) => break,
            Err(_) => return,
        }
    }
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes all");
    versions.iter().for_each(|version| writer.push(version).expect("memory takes all"));
    let (written, summary) = writer.finish().expect("memory takes all");
    assert_eq!(summary.versions, versions.len() as u64);
    // The writer joins blocks that somebody else has cut otherwise.
    let (first, rest) = payloads.split_first().expect("a header was read");
    let (last, rest) = rest.split_last().expect("a summary was read");
    let mut joined = vec![first.clone()];
    if !rest.is_empty() {
        joined.push(
            [&[VERSIONS][..], &rest.iter().flat_map(|block| &block[1..]).copied().collect::<Vec<_>>()]
                .concat(),
        );
    }
    joined.push(last.clone());
    assert_eq!(written, file(&joined), "nothing in it is skipped");
}

fn payloads(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (flags, mut rest) = data.split_first()?;
    let mut payloads = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        payloads.push(payload.to_vec());
        rest = behind;
    }
    if flags % 2 == 1 {
        let mut summary = Vec::new();
        put_summary(&mut summary, &summed(&payloads));
        payloads.push(summary);
    }
    Some(payloads)
}

fn summed(payloads: &[Vec<u8>]) -> Summary {
    let (mut versions, mut set_hash) = (0, SetHash::default());
    for payload in payloads.iter().skip(1) {
        let mut rest = payload.get(1..).unwrap_or_default();
        while let Ok(version) = get_version(&mut rest) {
            versions += 1;
            set_hash.add(&version);
        }
    }
    Summary { versions, set_hash: set_hash.0 }
}

fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
    (0..).zip(payloads).flat_map(|(number, payload)| frame(number, payload)).collect()
}

pub fn snapshot_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let range = |start: &'static str, end: Option<&'static str>| PartitionRange {
        id: ID,
        start: start.into(),
        end: end.map(Bytes::from),
    };
    let put = |revision, key: &'static str, sub| Version {
        sub,
        kv: KeyValue {
            key: key.into(),
            value: "value".into(),
            create_revision: Revision(2),
            mod_revision: Revision(revision),
            version: revision - 1,
            lease: LeaseId(-7),
        },
    };
    let deletion = Version { sub: 1, kv: KeyValue::deleted("b".into(), Revision(5)) };
    let versions = [put(2, "b", 0), put(3, "c", 0), put(5, "c", 0), deletion];
    vec![
        ("empty", seed(&range("", None), &[])),
        ("whole", seed(&range("", None), &versions)),
        ("part", seed(&range("b", Some("d")), &versions)),
    ]
}

/// The file that the writer makes, taken apart.
fn seed(range: &PartitionRange, versions: &[Version]) -> Vec<u8> {
    let (revision, compacted) = (Revision(9), Revision(1));
    let header = Header { cluster: 7, lsn: Lsn(40), revision, compacted, range: range.clone() };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes all");
    versions.iter().for_each(|version| writer.push(version).expect("memory takes all"));
    let (file, _) = writer.finish().expect("memory takes all");
    let (mut out, mut rest) = (vec![1], &file[..]);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (block, behind) = behind.split_at(4 + length);
        // The summary is put behind again.
        if !behind.is_empty() {
            out.extend(u16::try_from(length).expect("seeds are small").to_le_bytes());
            out.extend_from_slice(&block[4..]);
        }
        rest = behind;
    }
    out
}
