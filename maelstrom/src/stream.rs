//! One direction of a connection over messages that may be lost, doubled and reordered: bytes in, the same bytes out.
//!
//!     Outgoing    [ acknowledged )[ on the way )[ not sent yet )      a message has its place: the number of bytes before it
//!     Incoming    [ handed out )·····[ early )···[ early )            what is early waits for what is missing
//!
//! What is not acknowledged in time is sent again, from the first byte that is missing. The time is RFC 6298's: what an
//! answer has taken lately and how much that varied, doubled whenever it was too short.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

/// Of one message. With its envelope it stays well below what a harness takes for a line.
pub(crate) const CHUNK_BYTES: usize = 48 << 10;
/// What may be on the way.
const WINDOW_BYTES: usize = 1 << 20;
/// The bounds of the time until something is sent again.
const AGAIN_MIN: Duration = Duration::from_millis(40);
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// Before anything is known.
const AGAIN_FIRST: Duration = Duration::from_millis(500);

/// A message of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// How many bytes come before it.
    pub(crate) place: u64,
    pub(crate) bytes: Bytes,
    /// Nothing comes behind it.
    pub(crate) ends: bool,
}

impl Chunk {
    /// Where it ends; the end of everything counts as a byte.
    fn upto(&self) -> u64 {
        self.place + self.bytes.len() as u64 + u64::from(self.ends)
    }
}

/// Sends.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Not acknowledged, in order, each with when it was sent last, and whether that was the first time.
    on_the_way: Vec<(Chunk, Duration, bool)>,
    waiting: BytesMut,
    /// Of what waits.
    next: u64,
    acknowledged: u64,
    closes: bool,
    closed: bool,
    smoothed: Option<(Duration, Duration)>,
    again: Option<Duration>,
}

impl Outgoing {
    /// How much more may be given to it now.
    pub(crate) fn room(&self) -> usize {
        let on_the_way = usize::try_from(self.next - self.acknowledged).unwrap_or(usize::MAX);
        WINDOW_BYTES.saturating_sub(on_the_way.saturating_add(self.waiting.len()))
    }

    pub(crate) fn give(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Nothing more is given to it.
    pub(crate) fn close(&mut self) {
        self.closes = true;
    }

    /// Whether everything has arrived, and that it was everything.
    pub(crate) fn is_done(&self) -> bool {
        self.closed && self.on_the_way.is_empty()
    }

    /// What is to be sent now: the first message that is overdue, and what was not sent yet.
    pub(crate) fn send(&mut self, now: Duration) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let again = self.again();
        if let Some((chunk, sent, first)) =
            self.on_the_way.first_mut().filter(|(_, sent, _)| *sent + again <= now)
        {
            (*sent, *first) = (now, false);
            chunks.push(chunk.clone());
            self.again = Some((again * 2).min(AGAIN_MAX));
        }
        while !self.closed && (!self.waiting.is_empty() || self.closes) {
            let bytes = self.waiting.split_to(self.waiting.len().min(CHUNK_BYTES)).freeze();
            let ends = self.closes && self.waiting.is_empty();
            let chunk = Chunk { place: self.next, bytes, ends };
            self.next = chunk.upto();
            self.closed = ends;
            self.on_the_way.push((chunk.clone(), now, true));
            chunks.push(chunk);
        }
        chunks
    }

    /// When something has to be sent again. `None`: nothing is on the way.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.on_the_way.first().map(|(_, sent, _)| *sent + self.again())
    }

    /// Everything before `upto` has arrived.
    pub(crate) fn acknowledge(&mut self, upto: u64, now: Duration) {
        if upto <= self.acknowledged || self.next < upto {
            return;
        }
        self.acknowledged = upto;
        let arrived = self.on_the_way.iter().take_while(|(chunk, ..)| chunk.upto() <= upto).count();
        for (_, sent, first) in self.on_the_way.drain(..arrived) {
            // What was sent twice does not tell which of the two was answered (Karn's rule).
            if first {
                let took = now.saturating_sub(sent);
                let (mean, varies) = self.smoothed.map_or((took, took / 2), |(mean, varies)| {
                    (mean * 7 / 8 + took / 8, varies * 3 / 4 + mean.abs_diff(took) / 4)
                });
                self.smoothed = Some((mean, varies));
            }
        }
        self.again = None;
    }

    fn again(&self) -> Duration {
        let usual = self.smoothed.map_or(AGAIN_FIRST, |(mean, varies)| mean + varies * 4);
        self.again.unwrap_or(usual).clamp(AGAIN_MIN, AGAIN_MAX)
    }
}

/// Receives.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// How much was handed out.
    place: u64,
    /// What came before its time.
    early: BTreeMap<u64, Chunk>,
    ended: bool,
}

/// What has come by a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) bytes: Vec<Bytes>,
    /// Nothing comes any more.
    pub(crate) ends: bool,
}

impl Incoming {
    /// Everything before this has arrived.
    pub(crate) fn upto(&self) -> u64 {
        self.place
    }

    /// Takes a message, and hands out what is in order by now.
    pub(crate) fn take(&mut self, chunk: Chunk) -> Arrived {
        let mut arrived = Arrived::default();
        // Nobody who keeps to the window sends more.
        if self.place.saturating_add(WINDOW_BYTES as u64) < chunk.upto() || chunk.upto() <= self.place {
            return arrived;
        }
        self.early.insert(chunk.place, chunk);
        while !self.ended
            && let Some(first) = self.early.first_entry()
            && *first.key() <= self.place
        {
            let chunk = first.remove();
            if chunk.upto() <= self.place {
                continue;
            }
            let known = usize::try_from(self.place - chunk.place).unwrap_or(usize::MAX);
            self.place = chunk.upto();
            let Chunk { mut bytes, ends, .. } = chunk;
            bytes.advance(known.min(bytes.len()));
            self.ended = ends;
            arrived.ends = ends;
            if !bytes.is_empty() {
                arrived.bytes.push(bytes);
            }
        }
        arrived
    }
}

#[cfg(test)]
mod tests;
