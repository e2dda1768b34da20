//! Integers and texts of HPACK (RFC 7541), as far as the name of a server needs them.

/// An integer whose first byte has so many bits of it (RFC 7541, 5.1).
pub(super) fn number(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
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
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

pub(super) fn text(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let is_huffman = bytes.first()? & 0x80 != 0;
    let (length, rest) = number(bytes, 7)?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((Text { bytes, is_huffman }, rest))
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
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
    pub(super) fn decoded(&self) -> Option<Vec<u8>> {
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

pub(super) fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
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
