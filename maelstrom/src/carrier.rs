//! Carries the bytes of one connection as messages, and the other end's messages as bytes.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::stream::{CHUNK_BYTES, Chunk, Incoming, Outgoing};

/// Nothing was heard of the other end for so long that it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Bytes that have come and were not taken yet. What comes beyond is lost, and sent again.
const UNTAKEN_MAX: usize = 2 << 20;

/// What one end tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Chunk(Chunk),
    /// So many bytes have arrived.
    Upto(u64),
    /// The connection has broken.
    Gone,
}

/// The other end.
pub(crate) struct Link {
    pub(crate) mail: mpsc::Receiver<Carried>,
    pub(crate) post: Box<dyn Fn(Carried) + Send + Sync>,
}

impl Link {
    /// There is nobody to connect to.
    pub(crate) fn refuse(&self) {
        (self.post)(Carried::Gone);
    }
}

/// Until both directions have ended, or the connection has broken.
pub(crate) async fn carry(io: impl AsyncRead + AsyncWrite, mut link: Link) {
    let (mut reads, mut writes) = tokio::io::split(io);
    let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
    let (mut untaken, mut taken_whole, mut given_whole) = (BytesMut::new(), false, false);
    let mut buffer = vec![0; CHUNK_BYTES];
    let (begun, mut heard) = (Instant::now(), Instant::now());
    let mut ended = false;
    while !(outgoing.is_done() && taken_whole) {
        for chunk in outgoing.send(begun.elapsed()) {
            (link.post)(Carried::Chunk(chunk));
        }
        let due = outgoing.due().map_or(heard + SILENCE_MAX, |due| begun + due);
        let room = outgoing.room().min(CHUNK_BYTES);
        tokio::select! {
            read = reads.read(&mut buffer[..room]), if 0 < room && !given_whole => match read {
                Ok(0) => {
                    given_whole = true;
                    outgoing.close();
                }
                Ok(count) => outgoing.give(&buffer[..count]),
                Err(_) => return link.refuse(),
            },
            written = writes.write(&untaken), if !untaken.is_empty() => match written {
                Ok(count) => untaken.advance(count),
                Err(_) => return link.refuse(),
            },
            mail = link.mail.recv() => {
                heard = Instant::now();
                match mail {
                    Some(Carried::Chunk(chunk)) if untaken.len() <= UNTAKEN_MAX => {
                        let arrived = incoming.take(chunk);
                        arrived.bytes.iter().for_each(|bytes| untaken.extend_from_slice(bytes));
                        ended |= arrived.ends;
                        (link.post)(Carried::Upto(incoming.upto()));
                    }
                    Some(Carried::Chunk(_)) => {}
                    Some(Carried::Upto(upto)) => outgoing.acknowledge(upto, begun.elapsed()),
                    Some(Carried::Gone) | None => return,
                }
            },
            () = tokio::time::sleep_until(due) => {}
        }
        if ended && untaken.is_empty() && !taken_whole {
            taken_whole = true;
            // An error means that it has hung up itself.
            drop(writes.shutdown().await);
        }
        if heard.elapsed() > SILENCE_MAX {
            return link.refuse();
        }
    }
}
