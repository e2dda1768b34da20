//! `:authority` that is no authority of a URI, as old clients of etcd send it with every call.
//!
//! clientv3 3.5.0 calls a server `#initially=[127.0.0.1:2379]`. Go's server takes any text; the library underneath ours
//! reads it as a part of a URI and resets the call with PROTOCOL_ERROR. Nothing here depends on what a client calls us,
//! so a text that is none has the characters replaced that make it none, before the library sees it:
//!
//!     bytes ──► frames ──► HEADERS ──► fields (HPACK, RFC 7541) ──► the literal of :authority
//!               others pass as they are
//!
//! Only literals are looked at, so no table of header fields has to be kept here: a later call names the entry of the
//! library's own table, where the replacement stands. It has as many characters as what it replaces, because both
//! sides count the sizes of entries.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// A frame is held until it is whole. A larger one, or one that goes on in others, passes as it is: those that need
/// the change are below 1 KiB.
const FRAME_BYTES_MAX: usize = 16 << 10;

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
    /// The beginning of a frame that is not whole yet.
    held: Vec<u8>,
}

impl Frames {
    /// Returns what the library is to read for what came; `None`: that itself.
    fn pass(&mut self, came: &[u8]) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            return self.scan(came);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(came);
        Some(self.scan(&all).unwrap_or(all))
    }

    fn scan(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut at = self.skip_preface(bytes);
        let (mut changed, mut copied) = (None::<Vec<u8>>, 0);
        while !self.is_other && at < bytes.len() {
            if self.left > 0 {
                let passes = self.left.min(bytes.len() - at);
                (self.left, at) = (self.left - passes, at + passes);
                continue;
            }
            let rest = &bytes[at..];
            let Some(frame) = frame(rest) else {
                self.held = rest.to_vec();
                let out = changed.get_or_insert_default();
                out.extend_from_slice(&bytes[copied..at]);
                return changed;
            };
            match frame {
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
            out.extend_from_slice(&bytes[copied..]);
        }
        changed
    }

    fn skip_preface(&mut self, bytes: &[u8]) -> usize {
        let expected = &PREFACE[self.preface..];
        let count = expected.len().min(bytes.len());
        self.is_other |= bytes[..count] != expected[..count];
        self.preface += count;
        count
    }
}

/// The next frame.
enum Frame<'a> {
    /// With its header.
    Other {
        bytes: usize,
    },
    Headers {
        whole: &'a [u8],
    },
}

/// `None`: more has to come.
fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
    let payload = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    let total = FRAME_HEADER_BYTES + payload;
    if header[3] != HEADERS || header[4] & END_HEADERS == 0 || payload > FRAME_BYTES_MAX {
        return Some(Frame::Other { bytes: total });
    }
    Some(Frame::Headers { whole: bytes.get(..total)? })
}

/// The frame with another authority. `None`: it is well as it is, or not for us to mend.
fn renamed(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = frame.split_at(FRAME_HEADER_BYTES);
    let flags = header[4];
    let padding = if flags & PADDED == 0 { 0 } else { usize::from(*payload.first()?) };
    let begin = usize::from(flags & PADDED != 0) + if flags & PRIORITY == 0 { 0 } else { 5 };
    let block = payload.get(begin..payload.len().checked_sub(padding)?)?;
    let (value, text) = authority(block)?;
    let text: Vec<u8> = text.into_iter().map(|byte| if is_plain(byte) { byte } else { b'-' }).collect();
    let mut renamed = header.to_vec();
    renamed.extend_from_slice(&payload[..begin + value.start]);
    write_text(&mut renamed, &text);
    renamed.extend_from_slice(&payload[begin + value.end..]);
    let length = u32::try_from(renamed.len() - FRAME_HEADER_BYTES).ok()?;
    renamed[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    Some(renamed)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-".contains(&byte)
}

/// Where the literal of an authority stands that is none, and what it says.
fn authority(block: &[u8]) -> Option<(std::ops::Range<usize>, Vec<u8>)> {
    /// Of `:authority` in the table that every connection begins with.
    const NAME_INDEX: usize = 1;
    let mut rest = block;
    while let Some(first) = rest.first() {
        let (is_literal, index_bits) = match first {
            0x80.. => (false, 7),
            0x40..=0x7f => (true, 6),
            0x20..=0x3f => (false, 5),
            0x00..=0x1f => (true, 4),
        };
        let (index, after) = number(rest, index_bits)?;
        rest = after;
        if !is_literal {
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
        let (value, after) = text(rest)?;
        if is_authority {
            let decoded = value.decoded()?;
            let is_none = !decoded.is_empty() && Authority::try_from(&decoded[..]).is_err();
            let range = block.len() - rest.len()..block.len() - after.len();
            return is_none.then_some((range, decoded));
        }
        rest = after;
    }
    None
}

/// An integer whose first byte has so many bits of it (RFC 7541, 5.1).
fn number(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1 << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    // Nothing is as long as four bytes can say.
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        rest = after;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// A text as it is encoded (RFC 7541, 5.2).
struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

fn text(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let is_huffman = bytes.first()? & 0x80 != 0;
    let (length, rest) = number(bytes, 7)?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((Text { bytes, is_huffman }, rest))
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    const MOST: usize = 0x7f;
    let low = |value: usize| u8::try_from(value & MOST).expect("it has seven bits");
    if text.len() < MOST {
        out.push(low(text.len()));
    } else {
        out.push(low(MOST));
        let mut left = text.len() - MOST;
        while left > MOST {
            out.push(low(left) | 0x80);
            left >>= 7;
        }
        out.push(low(left));
    }
    out.extend_from_slice(text);
}

impl Text<'_> {
    /// `None`: it has characters that no name has.
    fn decoded(&self) -> Option<Vec<u8>> {
        if self.is_huffman { huffman(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

/// The characters of each length in bits, in the order of their codes (RFC 7541, appendix B). The code is a canonical
/// one, so that the codes follow. Longer ones are of characters that no name has.
const LENGTHS: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let (mut text, mut at) = (Vec::new(), 0);
    'characters: while at < bytes.len() * 8 {
        let (mut code, mut code_bits, mut first) = (0, 0, 0);
        for (bits, characters) in LENGTHS {
            first <<= bits - code_bits;
            while code_bits < bits {
                if at == bytes.len() * 8 {
                    // The last byte is filled up with ones.
                    return (code_bits < 8 && code + 1 == 1 << code_bits).then_some(text);
                }
                code = code << 1 | bit(at);
                (code_bits, at) = (code_bits + 1, at + 1);
            }
            if let Some(character) = code.checked_sub(first).and_then(|number| characters.get(number)) {
                text.push(*character);
                continue 'characters;
            }
            first += characters.len();
        }
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests;
