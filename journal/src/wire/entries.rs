//! Committed entries, from and to messages.

use std::sync::Arc;

use bytes::Bytes;
use proto::journal as message;

use super::Malformed;
use crate::codec;
use crate::lsn::Lsn;
use crate::record::Entry;

pub(crate) fn write(entry: &Entry) -> message::Entry {
    let encode = |batch: &Arc<crate::record::Batch>| {
        let mut bytes = Vec::with_capacity(codec::batch_bytes(batch));
        codec::encode_batch(batch, &mut bytes);
        Bytes::from(bytes)
    };
    let batch = entry.batch.as_ref().map(encode).unwrap_or_default();
    message::Entry { lsn: entry.lsn.0, term: entry.term, batch }
}

/// Takes the entry apart that a peer has sent. Keys and values share the message's memory.
pub(crate) fn read(entry: message::Entry) -> Result<Entry, Malformed> {
    let message::Entry { lsn, term, batch } = entry;
    let batch = (!batch.is_empty()).then(|| codec::decode_batch(batch).map(Arc::new)).transpose()?;
    Ok(Entry { lsn: Lsn(lsn), term, batch })
}
