//! gzip, within limits.

use std::io::{ErrorKind, Read, Write};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use tonic::Status;

/// A third of the default level's work for nine tenths of what it saves.
const LEVEL: flate2::Compression = flate2::Compression::fast();

/// Why a message was not decompressed.
#[derive(Debug)]
pub(crate) enum Error {
    /// It is larger than allowed.
    TooLarge,
    Malformed(Status),
}

/// The gzip form of `plain`.
pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4 + 64), LEVEL);
    encoder.write_all(plain).expect("a vector takes whatever is written to it");
    encoder.finish().expect("a vector takes whatever is written to it")
}

/// The plain form of `compressed`, of at most `bytes_max` bytes. More is never made.
///
/// # Errors
/// `Internal`, in the words of grpc-go and of Go's gzip, where it is malformed.
pub(crate) fn decompress(compressed: &[u8], bytes_max: usize) -> Result<Bytes, Error> {
    let mut decoder = MultiGzDecoder::new(compressed);
    if let Some(reason) = bad_head(compressed, &decoder) {
        let text = format!("grpc: failed to decompress the message: {reason}");
        return Err(Error::Malformed(Status::internal(text)));
    }
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.by_ref().take(limit).read_to_end(&mut plain);
    if let Err(error) = read {
        let left = decoder.get_ref().len();
        let reason = reason(&error, compressed.len() - left);
        let text = format!("grpc: failed to read decompressed data: {reason}");
        return Err(Error::Malformed(Status::internal(text)));
    }
    match plain.len() <= bytes_max {
        true => Ok(plain.into()),
        false => Err(Error::TooLarge),
    }
}

/// The reason for which Go would not begin to decompress.
fn bad_head(compressed: &[u8], decoder: &MultiGzDecoder<&[u8]>) -> Option<&'static str> {
    match compressed {
        [] => Some("EOF"),
        _ if compressed.len() < 10 => Some("unexpected EOF"),
        [0x1f, 0x8b, 8, ..] if decoder.header().is_some() => None,
        [0x1f, 0x8b, 8, ..] => Some("unexpected EOF"),
        _ => Some("gzip: invalid header"),
    }
}

/// An error of flate2's in the words of Go's packages.
fn reason(error: &std::io::Error, offset: usize) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ if text.contains("checksum") => "gzip: invalid checksum".to_owned(),
        _ if text.contains("header") => "gzip: invalid header".to_owned(),
        _ => format!("flate: corrupt input before offset {offset}"),
    }
}
