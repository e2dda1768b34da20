//! A batch as bytes: what a Raft entry carries, on disk and between nodes. `docs/format.md` has the picture.
//!
//!     version | term | base_revision | wall_clock_ms | count | record ...
//!     record  = frontend (8) | seq | attempt | count | write ... | sysop kind | [length | sysop]
//!     write   = put | put with lease | delete
//!
//! Promises: what is decoded equals what was encoded; keys and values of puts share the input's memory; no
//! input makes it panic or allocate much more than the input holds; a record of a later version is refused
//! by name and never misread.

pub(crate) mod parts;
pub(crate) mod sysop;

use bytes::{Bytes, BytesMut};

use crate::error::Error;
use crate::origin::Origin;
use crate::record::{Append, Batch, LeaseId, Record, SysOp, Write};
use crate::revision::Revision;

pub(crate) use parts::DecodeError;
use parts::{Counted, Reader, Sink, put_byte, put_bytes, put_length, put_signed, put_varint};

/// Of the layout above. Raised when something changes that the kinds of writes and sysops cannot express.
const VERSION: u8 = 1;

const PUT: u8 = 0;
const PUT_WITH_LEASE: u8 = 1;
const DELETE: u8 = 2;

/// The least that a record and a write take: what a count is held against.
const RECORD_BYTES_MIN: usize = 12;
const WRITE_BYTES_MIN: usize = 3;

/// Prefixes let a small input stand for large keys. Together the keys of one batch stay below this, which the
/// sequencer checks before it lets a record in.
pub(crate) const KEY_BYTES_MAX: usize = 1 << 30;

/// Deleted keys are put together again in pieces of memory of about this size.
const KEYS_CHUNK_BYTES: usize = 16 << 10;

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        Error::Corrupt(error.to_string())
    }
}

/// Appends the batch to `out`.
pub(crate) fn encode_batch(batch: &Batch, out: &mut Vec<u8>) {
    put_batch(batch, out);
}

/// What `encode_batch` would append, in bytes.
pub(crate) fn batch_bytes(batch: &Batch) -> usize {
    let mut counted = Counted::default();
    put_batch(batch, &mut counted);
    counted.bytes
}

/// What the record adds to its batch, in bytes.
pub(crate) fn record_bytes(record: &Record) -> usize {
    let mut counted = Counted::default();
    put_record(record, &mut counted);
    counted.bytes
}

/// The same of the record that the append will be.
pub(crate) fn append_bytes(append: &Append) -> usize {
    effects_bytes(append) + writes_bytes(&[], &append.writes)
}

/// What the append's record takes beside its writes, in bytes.
pub(crate) fn effects_bytes(append: &Append) -> usize {
    let mut counted = Counted::default();
    put_head(append.origin, append.writes.len(), &mut counted);
    sysop::put(append.sysop.as_ref(), &mut counted);
    counted.bytes
}

/// What these writes take in a record, in bytes, where `previous` is the key of the write before them.
pub(crate) fn writes_bytes(previous: &[u8], writes: &[Write]) -> usize {
    let mut counted = Counted::default();
    put_writes(previous, writes, &mut counted);
    counted.bytes
}

/// What an append changes, as it travels to the leader: version, then a record.
pub(crate) fn encode_effects(append: &Append) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + append_bytes(append));
    put_byte(&mut out, VERSION);
    put_effects(append.origin, &append.writes, append.sysop.as_ref(), &mut out);
    out
}

/// Reads what `encode_effects` wrote.
///
/// # Errors
/// As `decode_batch`.
pub(crate) fn decode_effects(bytes: Bytes) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte("version of the effects")?;
    if version != VERSION {
        return Err(DecodeError::Newer { what: "version of the effects", found: u64::from(version) });
    }
    let record = record(&mut reader, &mut Keys::default())?;
    reader.end("effects")?;
    Ok(record)
}

fn put_batch(batch: &Batch, out: &mut impl Sink) {
    put_byte(out, VERSION);
    put_varint(out, batch.term);
    put_varint(out, batch.base_revision.0);
    put_varint(out, batch.wall_clock_ms);
    put_length(out, batch.records.len());
    for record in &batch.records {
        put_record(record, out);
    }
}

fn put_record(record: &Record, out: &mut impl Sink) {
    put_effects(record.origin, &record.writes, record.sysop.as_ref(), out);
}

fn put_effects(origin: Origin, writes: &[Write], sysop: Option<&SysOp>, out: &mut impl Sink) {
    put_head(origin, writes.len(), out);
    put_writes(&[], writes, out);
    sysop::put(sysop, out);
}

fn put_head(origin: Origin, writes: usize, out: &mut impl Sink) {
    out.slice(&origin.frontend.to_le_bytes());
    put_varint(out, origin.seq);
    put_varint(out, u64::from(origin.attempt));
    put_length(out, writes);
}

fn put_writes<'a>(mut previous: &'a [u8], writes: &'a [Write], out: &mut impl Sink) {
    for write in writes {
        put_write(write, previous, out);
        previous = write.key();
    }
}

fn put_write(write: &Write, previous: &[u8], out: &mut impl Sink) {
    match write {
        Write::Put { key, value, lease } => {
            put_byte(out, if *lease == LeaseId::NONE { PUT } else { PUT_WITH_LEASE });
            put_bytes(out, key);
            put_bytes(out, value);
            if *lease != LeaseId::NONE {
                put_signed(out, lease.0);
            }
        }
        Write::Delete { key } => {
            let shared = shared_prefix(previous, key);
            put_byte(out, DELETE);
            put_length(out, shared);
            put_bytes(out, &key[shared..]);
        }
    }
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Reads a batch that fills `bytes`.
///
/// # Errors
/// `Newer` where a later version wrote it, `Malformed` where nobody did.
pub(crate) fn decode_batch(bytes: Bytes) -> Result<Batch, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte("batch version")?;
    if version != VERSION {
        return Err(DecodeError::Newer { what: "batch version", found: u64::from(version) });
    }
    let term = reader.varint("term")?;
    let base_revision = Revision(reader.varint("base revision")?);
    let wall_clock_ms = reader.varint("wall clock")?;
    let count = reader.count(RECORD_BYTES_MIN, "number of records")?;
    // The last record's revision is `base_revision - 1 + count` at the most: it must be a number.
    if base_revision == Revision::ZERO || base_revision.0.checked_add(count as u64).is_none() {
        return Err(reader.malformed("base revision"));
    }
    let mut keys = Keys::default();
    let records = (0..count).map(|_| record(&mut reader, &mut keys)).collect::<Result<_, _>>()?;
    reader.end("batch")?;
    Ok(Batch { term, base_revision, wall_clock_ms, records })
}

fn record(reader: &mut Reader, keys: &mut Keys) -> Result<Record, DecodeError> {
    let frontend = reader.fixed("frontend")?;
    let seq = reader.varint("seq")?;
    let attempt = u32::try_from(reader.varint("attempt")?).map_err(|_| reader.malformed("attempt"))?;
    let count = reader.count(WRITE_BYTES_MIN, "number of writes")?;
    let mut writes: Vec<Write> = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let previous = writes.last().map_or(&[][..], |write| write.key());
        let write = self::write(reader, previous, keys)?;
        writes.push(write);
    }
    let sysop = sysop::read(reader)?;
    Ok(Record { origin: Origin { frontend, seq, attempt }, writes, sysop })
}

fn write(reader: &mut Reader, previous: &[u8], keys: &mut Keys) -> Result<Write, DecodeError> {
    let kind = reader.byte("kind of write")?;
    match kind {
        PUT | PUT_WITH_LEASE => {
            let key = reader.bytes("key")?;
            let value = reader.bytes("value")?;
            let lease = if kind == PUT { LeaseId::NONE } else { LeaseId(reader.signed("lease")?) };
            Ok(Write::Put { key, value, lease })
        }
        DELETE => Ok(Write::Delete { key: keys.read(reader, previous)? }),
        _ => Err(DecodeError::Newer { what: "kind of write", found: u64::from(kind) }),
    }
}

/// Where deleted keys are put together from what they share with the key before and what they do not.
#[derive(Default)]
struct Keys {
    chunk: BytesMut,
    bytes: usize,
}

impl Keys {
    fn read(&mut self, reader: &mut Reader, previous: &[u8]) -> Result<Bytes, DecodeError> {
        let shared = usize::try_from(reader.varint("shared prefix")?).unwrap_or(usize::MAX);
        let shared = previous.get(..shared).ok_or_else(|| reader.malformed("shared prefix"))?;
        let rest = reader.bytes("key")?;
        if shared.is_empty() {
            return Ok(rest);
        }
        let length = shared.len() + rest.len();
        self.bytes += length;
        if self.bytes > KEY_BYTES_MAX {
            return Err(reader.malformed("sum of the keys"));
        }
        if self.chunk.capacity() < length {
            self.chunk = BytesMut::with_capacity(length.max(KEYS_CHUNK_BYTES));
        }
        self.chunk.extend_from_slice(shared);
        self.chunk.extend_from_slice(&rest);
        Ok(self.chunk.split().freeze())
    }
}

#[cfg(test)]
pub(crate) mod tests;
