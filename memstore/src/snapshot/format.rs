//! The bytes of a snapshot, as docs/format.md has them. All numbers are little-endian.
//!
//!     block   length u32 | crc32c u32 | payload            the crc is of the block's number, u64, and the payload
//!
//!     block 0     the header
//!     block 1..   versions, as many as fit about a block, in the order of (revision, sub)
//!     last block  the summary

use bytes::{Buf, BufMut, Bytes};
use journal::{LeaseId, Lsn, Revision};

use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::{KeyValue, Version};
use crate::partition_id::{PartitionId, PartitionRange};

pub(super) const MAGIC: [u8; 8] = *b"mainsnap";
const FORMAT: u32 = 1;
/// A block is closed once it holds this much. One version alone may be larger.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// Larger than any block can be: a record, and so a version, has at most 128 MiB.
pub(super) const BLOCK_BYTES_MAX: usize = 160 << 20;

/// What a block's payload begins with.
pub(super) const HEADER: u8 = 1;
pub(super) const VERSIONS: u8 = 2;
pub(super) const SUMMARY: u8 = 3;

/// The last block of every file.
pub(super) const SUMMARY_BLOCK_BYTES: usize = 8 + 1 + 8 + 8;

const DELETION: u8 = 0;
const PUT: u8 = 1;

/// A payload with its length and checksum before it.
pub(super) fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(payload.len() + 8);
    block.put_u32_le(length(payload));
    block.put_u32_le(checksum(number, payload));
    block.put_slice(payload);
    block
}

pub(super) fn checksum(number: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), payload)
}

pub(super) fn put_header(payload: &mut Vec<u8>, header: &Header) {
    payload.put_u8(HEADER);
    payload.put_slice(&MAGIC);
    payload.put_u32_le(FORMAT);
    payload.put_u64_le(header.cluster);
    payload.put_u64_le(header.lsn.0);
    payload.put_u64_le(header.revision.0);
    payload.put_u64_le(header.compacted.0);
    put_bytes(payload, &header.range.start);
    payload.put_u8(header.range.end.is_some().into());
    put_bytes(payload, header.range.end.as_ref().unwrap_or(&Bytes::new()));
}

pub(super) fn get_header(payload: &mut &[u8], id: PartitionId) -> Result<Header, Error> {
    expect(payload, HEADER)?;
    let mut magic = [0; 8];
    payload.try_copy_to_slice(&mut magic).map_err(cut)?;
    if magic != MAGIC {
        return Err(Error::Corrupt("it is not a snapshot".into()));
    }
    let format = payload.try_get_u32_le().map_err(cut)?;
    if format != FORMAT {
        return Err(Error::Corrupt(format!("its format is {format}, this program reads {FORMAT}")));
    }
    let cluster = payload.try_get_u64_le().map_err(cut)?;
    let lsn = Lsn(payload.try_get_u64_le().map_err(cut)?);
    let revision = Revision(payload.try_get_u64_le().map_err(cut)?);
    let compacted = Revision(payload.try_get_u64_le().map_err(cut)?);
    let start = get_bytes(payload)?;
    let has_end = payload.try_get_u8().map_err(cut)?;
    let end = get_bytes(payload)?;
    let end = match has_end {
        0 if end.is_empty() => None,
        1 => Some(end),
        _ => return Err(Error::Corrupt("its range has neither an end nor none".into())),
    };
    ended(payload)?;
    let range = PartitionRange { id, start, end };
    Ok(Header { cluster, lsn, revision, compacted, range })
}

pub(super) fn put_version(payload: &mut Vec<u8>, version: &Version) {
    let kv = &version.kv;
    payload.put_u8(if kv.is_deleted() { DELETION } else { PUT });
    payload.put_u64_le(kv.mod_revision.0);
    payload.put_u32_le(version.sub);
    put_bytes(payload, &kv.key);
    if !kv.is_deleted() {
        payload.put_u64_le(kv.create_revision.0);
        payload.put_u64_le(kv.version);
        payload.put_i64_le(kv.lease.0);
        put_bytes(payload, &kv.value);
    }
}

pub(super) fn get_version(payload: &mut &[u8]) -> Result<Version, Error> {
    let kind = payload.try_get_u8().map_err(cut)?;
    let revision = Revision(payload.try_get_u64_le().map_err(cut)?);
    let sub = payload.try_get_u32_le().map_err(cut)?;
    let mut kv = KeyValue::deleted(get_bytes(payload)?, revision);
    if kind == PUT {
        kv.create_revision = Revision(payload.try_get_u64_le().map_err(cut)?);
        kv.version = payload.try_get_u64_le().map_err(cut)?;
        kv.lease = LeaseId(payload.try_get_i64_le().map_err(cut)?);
        kv.value = get_bytes(payload)?;
    }
    let known = kind == PUT || kind == DELETION;
    if !known || kv.is_deleted() != (kind == DELETION) {
        return Err(Error::Corrupt(format!("a version at revision {revision} is neither put nor deletion")));
    }
    Ok(Version { sub, kv })
}

pub(super) fn put_summary(payload: &mut Vec<u8>, summary: &Summary) {
    payload.put_u8(SUMMARY);
    payload.put_u64_le(summary.versions);
    payload.put_u64_le(summary.set_hash);
}

pub(super) fn get_summary(payload: &mut &[u8]) -> Result<Summary, Error> {
    expect(payload, SUMMARY)?;
    let versions = payload.try_get_u64_le().map_err(cut)?;
    let set_hash = payload.try_get_u64_le().map_err(cut)?;
    ended(payload)?;
    Ok(Summary { versions, set_hash })
}

pub(super) fn expect(payload: &mut &[u8], kind: u8) -> Result<(), Error> {
    let found = payload.try_get_u8().map_err(cut)?;
    if found == kind {
        return Ok(());
    }
    Err(Error::Corrupt(format!("a block is of kind {found} where {kind} was to come")))
}

fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    payload.put_u32_le(length(bytes));
    payload.put_slice(bytes);
}

/// A copy: a slice would keep the whole block in memory for as long as the key lives.
fn get_bytes(payload: &mut &[u8]) -> Result<Bytes, Error> {
    let length = usize::try_from(payload.try_get_u32_le().map_err(cut)?).expect("32 bits fit an address");
    if payload.len() < length {
        return Err(Error::Corrupt("a block ends within a version".into()));
    }
    Ok(payload.copy_to_bytes(length))
}

/// What a block says beyond what is known is not skipped: a later program may have meant something by it.
fn ended(payload: &[u8]) -> Result<(), Error> {
    if payload.is_empty() {
        return Ok(());
    }
    Err(Error::Corrupt(format!("a block goes on for {} bytes behind its end", payload.len())))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a record has at most 128 MiB, and so has all that is in it")
}

fn cut(_: bytes::TryGetError) -> Error {
    Error::Corrupt("a block ends too early".into())
}
