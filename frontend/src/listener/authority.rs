//! `:authority` that is no authority of a URI, as old clients of etcd send it with every call.
//!
//! clientv3 3.5.0 calls a server `#initially=[127.0.0.1:2379]`. Go's server takes any text; the library underneath ours
//! reads it as a part of a URI and resets the call with PROTOCOL_ERROR. Nothing here depends on what a client calls us,
//! so a text that is none has the characters replaced that make it none, before the library sees it:
//!
//!     bytes ──► frames ──► HEADERS, CONTINUATION ──► fields (HPACK, RFC 7541) ──► the literal of :authority
//!               others pass as they are
//!
//! Only literals are looked at, so no table of header fields has to be kept here: a later call names the entry of the
//! library's own table, where the replacement stands. It has as many characters as what it replaces, because both
//! sides count the sizes of entries. A field without text is left out, where neither side keeps it in its table.

mod hpack;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::hpack::{number, text, write_text};
use super::connection::HEADER_BYTES_MAX;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Payload of the largest frame that the library takes from a client.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// The fields of a call are held until they are whole. Those of more bytes, which the library refuses, pass as they are, and
/// those in more frames.
const HELD_BYTES_MAX: usize = HEADER_BYTES_MAX as usize + (64 << 10);
const HELD_FRAMES_MAX: usize = 128;

/// Reads from a connection as if its client named us well.
pub(super) struct Renamed<S> {
    stream: S,
    frames: Frames,
    /// To be read before anything else, from the position on.
    ready: (Vec<u8>, usize),
}

impl<S> Renamed<S> {
    pub(super) fn new(stream: S) -> Renamed<S> {
        Renamed { stream, frames: Frames::default(), ready: (Vec::new(), 0) }
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let (bytes, at) = &mut self.ready;
        let count = (bytes.len() - *at).min(buffer.remaining());
        buffer.put_slice(&bytes[*at..*at + count]);
        *at += count;
        if *at == bytes.len() {
            self.ready = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Renamed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.0.is_empty() {
                self.give(buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(context, buffer) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let came = &buffer.filled()[before..];
            let changed = match came.is_empty() {
                // The client has closed: nothing that is held becomes whole.
                true => Some(std::mem::take(&mut self.frames.held)).filter(|held| !held.is_empty()),
                false => self.frames.pass(came),
            };
            let Some(changed) = changed else { return Poll::Ready(Ok(())) };
            buffer.set_filled(before);
            self.ready = (changed, 0);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Renamed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The frames of a connection.
#[derive(Default)]
struct Frames {
    /// How much of the preface has come.
    preface: usize,
    /// It is no HTTP/2: all passes.
    is_other: bool,
    /// What is left of a frame that passes as it is.
    left: usize,
    /// The beginning of frames that are not whole yet.
    held: Vec<u8>,
    /// Length that it has to reach until there is something new to see.
    wanted: usize,
}

impl Frames {
    /// Returns what the library is to read for what came; `None`: that itself.
    fn pass(&mut self, came: &[u8]) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            let (changed, held_from) = self.scan(came);
            self.held.extend_from_slice(&came[held_from..]);
            return changed.or_else(|| (held_from < came.len()).then(|| came[..held_from].to_vec()));
        }
        self.held.extend_from_slice(came);
        if self.held.len() < self.wanted {
            return Some(Vec::new());
        }
        let mut all = std::mem::take(&mut self.held);
        let (changed, held_from) = self.scan(&all);
        self.held = all.split_off(held_from);
        Some(changed.unwrap_or(all))
    }

    /// Looks at bytes that begin with a frame, or in one that passes. Returns what the library is to read instead of them,
    /// unless it is they, and from where on they are held.
    fn scan(&mut self, bytes: &[u8]) -> (Option<Vec<u8>>, usize) {
        let mut at = self.skip_preface(bytes);
        let (mut changed, mut copied, mut held_from) = (None::<Vec<u8>>, 0, bytes.len());
        while !self.is_other && at < bytes.len() {
            if self.left > 0 {
                let passes = self.left.min(bytes.len() - at);
                (self.left, at) = (self.left - passes, at + passes);
                continue;
            }
            match frame(&bytes[at..]) {
                Frame::Partial { wanted } => {
                    self.wanted = wanted;
                    held_from = at;
                    break;
                }
                Frame::Other { bytes } => self.left = bytes,
                Frame::Headers { whole } => {
                    if let Some(renamed) = renamed(whole) {
                        let out = changed.get_or_insert_default();
                        out.extend_from_slice(&bytes[copied..at]);
                        out.extend_from_slice(&renamed);
                        copied = at + whole.len();
                    }
                    at += whole.len();
                }
            }
        }
        if let Some(out) = &mut changed {
            out.extend_from_slice(&bytes[copied..held_from]);
        }
        (changed, held_from)
    }

    fn skip_preface(&mut self, bytes: &[u8]) -> usize {
        let expected = &PREFACE[self.preface..];
        let count = expected.len().min(bytes.len());
        self.is_other |= bytes[..count] != expected[..count];
        self.preface += count;
        count
    }
}

/// The header of a frame.
struct FrameHeader {
    payload_bytes: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl FrameHeader {
    /// `None`: more has to come.
    fn of(bytes: &[u8]) -> Option<FrameHeader> {
        let [high, middle, low, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        let payload_bytes = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(FrameHeader { payload_bytes, kind, flags, stream })
    }
}

/// What bytes begin with.
enum Frame<'a> {
    /// A frame, with its header, or frames.
    Other { bytes: usize },
    /// The frames in which the fields of a call come.
    Headers { whole: &'a [u8] },
    /// More has to come: so many bytes in all, until there is more to see.
    Partial { wanted: usize },
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let Some(header) = FrameHeader::of(bytes) else { return Frame::Partial { wanted: FRAME_HEADER_BYTES } };
    let mut end = FRAME_HEADER_BYTES + header.payload_bytes;
    if header.kind != HEADERS || FRAME_BYTES_MAX < header.payload_bytes {
        return Frame::Other { bytes: end };
    }
    let (mut flags, mut frames) = (header.flags, 1);
    while flags & END_HEADERS == 0 {
        let Some(next) = bytes.get(end..).and_then(FrameHeader::of) else {
            return Frame::Partial { wanted: end + FRAME_HEADER_BYTES };
        };
        let goes_on = next.kind == CONTINUATION && next.stream == header.stream;
        let is_small = next.payload_bytes <= FRAME_BYTES_MAX && end + next.payload_bytes <= HELD_BYTES_MAX;
        if !goes_on || !is_small || frames == HELD_FRAMES_MAX {
            return Frame::Other { bytes: end };
        }
        flags = next.flags;
        end += FRAME_HEADER_BYTES + next.payload_bytes;
        frames += 1;
    }
    match bytes.get(..end) {
        Some(whole) => Frame::Headers { whole },
        None => Frame::Partial { wanted: end },
    }
}

/// The frames with another authority. `None`: it is well as it is, or not for us to mend.
fn renamed(whole: &[u8]) -> Option<Vec<u8>> {
    let header = FrameHeader::of(whole)?;
    let (payload, mut rest) = whole[FRAME_HEADER_BYTES..].split_at(header.payload_bytes);
    let padding = if header.flags & PADDED == 0 { 0 } else { usize::from(*payload.first()?) };
    let begin = usize::from(header.flags & PADDED != 0) + if header.flags & PRIORITY == 0 { 0 } else { 5 };
    let end = payload.len().checked_sub(padding)?;
    let mut block = Cow::Borrowed(payload.get(begin..end)?);
    while let Some(next) = FrameHeader::of(rest) {
        let (payload, after) = rest[FRAME_HEADER_BYTES..].split_at(next.payload_bytes);
        block.to_mut().extend_from_slice(payload);
        rest = after;
    }
    let (field, text) = authority(&block)?;
    let block = [&block[..field.start], &text, &block[field.end..]].concat();
    Some(reframed(&header, &payload[..begin], &block, &payload[end..]))
}

/// A block of fields in frames that the library takes, the first one as it was but for its length.
fn reframed(header: &FrameHeader, before: &[u8], block: &[u8], after: &[u8]) -> Vec<u8> {
    let room = FRAME_BYTES_MAX - before.len() - after.len();
    let (first, mut rest) = block.split_at(room.min(block.len()));
    let mut out = Vec::with_capacity(block.len() + 2 * FRAME_HEADER_BYTES + before.len() + after.len());
    let mut write = |kind, flags, is_last: bool, parts: [&[u8]; 3]| {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(bytes).expect("a frame is short").to_be_bytes();
        let end = if is_last { END_HEADERS } else { 0 };
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&[kind, flags & !END_HEADERS | end]);
        out.extend_from_slice(&header.stream);
        parts.iter().for_each(|part| out.extend_from_slice(part));
    };
    write(HEADERS, header.flags, rest.is_empty(), [before, first, after]);
    while !rest.is_empty() {
        let (next, last) = rest.split_at(FRAME_BYTES_MAX.min(rest.len()));
        rest = last;
        write(CONTINUATION, 0, rest.is_empty(), [next, &[], &[]]);
    }
    out
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-".contains(&byte)
}

/// Where the field of an authority stands that is none, and what is to stand there.
fn authority(block: &[u8]) -> Option<(Range<usize>, Vec<u8>)> {
    /// Of `:authority`, without text, in the table that every connection begins with.
    const NAME_INDEX: usize = 1;
    let mut rest = block;
    while let Some(first) = rest.first() {
        let begin = block.len() - rest.len();
        let (is_literal, is_kept, index_bits) = match first {
            0x80.. => (false, false, 7),
            0x40..=0x7f => (true, true, 6),
            0x20..=0x3f => (false, false, 5),
            0x00..=0x1f => (true, false, 4),
        };
        let is_indexed = *first >= 0x80;
        let (index, after) = number(rest, index_bits)?;
        rest = after;
        if !is_literal {
            if is_indexed && index == NAME_INDEX {
                return Some((begin..block.len() - rest.len(), Vec::new()));
            }
            continue;
        }
        let is_authority = match index {
            0 => {
                let (name, after) = text(rest)?;
                rest = after;
                name.decoded().as_deref() == Some(b":authority")
            }
            index => index == NAME_INDEX,
        };
        let value_begin = block.len() - rest.len();
        let (value, after) = text(rest)?;
        let end = block.len() - after.len();
        if is_authority {
            let decoded = value.decoded()?;
            if decoded.is_empty() {
                return (!is_kept).then_some((begin..end, Vec::new()));
            }
            let mended = || {
                let mut mended = Vec::new();
                let plain = decoded.iter().map(|byte| if is_plain(*byte) { *byte } else { b'-' });
                write_text(&mut mended, &plain.collect::<Vec<u8>>());
                (value_begin..end, mended)
            };
            return Authority::try_from(&decoded[..]).is_err().then(mended);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests;
