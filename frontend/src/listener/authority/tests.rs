//! Frames as clients send them, whole and in pieces.

use proptest::prelude::*;

use super::hpack::huffman;
use super::*;

/// What clientv3 3.5.0 calls a server.
const ODD: &[u8] = b"#initially=[127.0.0.1:2379]";
const MENDED: &[u8] = b"-initially--127.0.0.1-2379-";

fn frame_of(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// POST http /a, and :authority by its index, with incremental indexing.
fn block(value: &[u8]) -> Vec<u8> {
    [&[0x83, 0x86, 0x44, 2, b'/', b'a', 0x41][..], value].concat()
}

fn literal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_text(&mut out, text);
    out
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

fn passed(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut frames = Frames::default();
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        out.extend(frames.pass(piece).unwrap_or_else(|| piece.to_vec()));
    }
    [out, frames.held].concat()
}

#[test]
fn a_name_that_is_none_is_mended_and_nothing_else_changes() {
    let settings = frame_of(4, 0, &[0, 4, 0, 0, 255, 255]);
    let data = frame_of(0, 1, b"\0\0\0\0\0");
    let calls = |name: &[u8]| {
        let (plain, never) = (block(&literal(name)), [&[0x11], &literal(name)[..]].concat());
        let padded = [&[2, 0, 0, 0, 0, 16], &plain[..], &[0, 0]].concat();
        let named = [&[0x40], &literal(b":authority")[..], &literal(name)].concat();
        let headers = [
            frame_of(HEADERS, END_HEADERS, &plain),
            frame_of(HEADERS, END_HEADERS | PADDED | PRIORITY, &padded),
            frame_of(HEADERS, END_HEADERS, &never),
            frame_of(HEADERS, END_HEADERS, &named),
        ];
        connection(&[std::slice::from_ref(&settings), &headers[..], std::slice::from_ref(&data)].concat())
    };
    let (odd, expected) = (calls(ODD), calls(MENDED));
    for piece in [1, 2, 7, 30, 100, 10_000] {
        assert_eq!(passed(&odd, piece), expected, "{piece}");
        assert_eq!(passed(&expected, piece), expected, "{piece}");
    }
}

#[test]
fn names_that_the_library_takes_pass_as_they_are() {
    for name in ["127.0.0.1:2379", "[::1]:2379", "etcd.example", "a_b~c", "etcd-endpoints"] {
        let bytes = connection(&[frame_of(HEADERS, END_HEADERS, &block(&literal(name.as_bytes())))]);
        assert_eq!(Frames::default().pass(&bytes), None, "{name}");
    }
    // One that is longer than a byte can say.
    let long = [&[b'#'; 300][..], b"x"].concat();
    let bytes = connection(&[frame_of(HEADERS, END_HEADERS, &block(&literal(&long)))]);
    let mended = [&[b'-'; 300][..], b"x"].concat();
    assert_eq!(
        passed(&bytes, 10_000),
        connection(&[frame_of(HEADERS, END_HEADERS, &block(&literal(&mended)))])
    );
}

#[test]
fn fields_in_several_frames_are_mended() {
    let calls = |name: &[u8], at: usize| {
        let block = block(&literal(name));
        let (first, rest) = block.split_at(at);
        let (second, third) = rest.split_at(rest.len() / 2);
        connection(&[
            frame_of(HEADERS, PRIORITY, &[&[0, 0, 0, 0, 16], first].concat()),
            frame_of(CONTINUATION, 0, second),
            frame_of(CONTINUATION, END_HEADERS, third),
            frame_of(0, 1, b"\0\0\0\0\0"),
        ])
    };
    let one = [&[0, 0, 0, 0, 16][..], &block(&literal(MENDED))].concat();
    let expected =
        connection(&[frame_of(HEADERS, PRIORITY | END_HEADERS, &one), frame_of(0, 1, b"\0\0\0\0\0")]);
    for at in [0, 1, 8, 12] {
        for piece in [1, 7, 10_000] {
            assert_eq!(passed(&calls(ODD, at), piece), expected, "{at}, {piece}");
            assert_eq!(passed(&calls(b"localhost", at), piece), calls(b"localhost", at), "{at}, {piece}");
        }
    }
}

#[test]
fn a_name_of_any_length_is_mended_in_frames_that_the_library_takes() {
    for bytes in [FRAME_BYTES_MAX - 10, 40_000, 1 << 20] {
        let fields = block(&literal(&vec![b'#'; bytes]));
        let mut frames: Vec<Vec<u8>> =
            fields.chunks(FRAME_BYTES_MAX).map(|part| frame_of(CONTINUATION, 0, part)).collect();
        frames[0][3] = HEADERS;
        frames.last_mut().expect("there is one")[4] = END_HEADERS;
        let mended = passed(&connection(&frames), 5_000);
        let expected = block(&literal(&vec![b'-'; bytes]));
        let (mut rest, mut joined) = (&mended[PREFACE.len()..], Vec::new());
        while let Some(header) = FrameHeader::of(rest) {
            assert!(header.payload_bytes <= FRAME_BYTES_MAX);
            joined.extend_from_slice(&rest[FRAME_HEADER_BYTES..][..header.payload_bytes]);
            rest = &rest[FRAME_HEADER_BYTES + header.payload_bytes..];
            assert_eq!(header.flags & END_HEADERS != 0, rest.is_empty());
        }
        assert!(joined == expected, "{bytes}");
    }
}

#[test]
fn fields_in_too_many_frames_are_not_held() {
    let mut frames = vec![frame_of(HEADERS, 0, &block(&literal(ODD)))];
    frames.extend(vec![frame_of(CONTINUATION, 0, &[]); 1_000]);
    let mut passing = Frames::default();
    passing.pass(&connection(&frames));
    assert!(passing.held.is_empty(), "{} bytes", passing.held.len());
}

/// As Go's encoder has it, by the table that every connection begins with, and as a literal.
#[test]
fn an_empty_name_is_left_out() {
    let without = [0x83, 0x86, 0x44, 2, b'/', b'a'];
    let expected = connection(&[frame_of(HEADERS, END_HEADERS, &without)]);
    for field in [&[0x81][..], &[0x01, 0], &[0x11, 0x80]] {
        let bytes = connection(&[frame_of(HEADERS, END_HEADERS, &[&without[..], field].concat())]);
        assert_eq!(passed(&bytes, 3), expected, "{field:?}");
    }
}

/// The examples of RFC 7541, appendix C, and what Go's encoder makes of the name above.
#[test]
fn huffmans_code_is_read() {
    let check = |hex: &str, expected: Option<&[u8]>| {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("it is ASCII"));
        let bytes: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).expect("it is hex")).collect();
        assert_eq!(huffman(&bytes).as_deref(), expected, "{hex}");
    };
    check("f1e3c2e5f23a6ba0ab90f4ff", Some(b"www.example.com"));
    check("a8eb10649cbf", Some(b"no-cache"));
    check("9d29ad171863c78f0b97c8e9ae82ae43d3", Some(b"https://www.example.com"));
    check("d07abe941054d444a8200595040b8166e082a62d1bff", Some(b"Mon, 21 Oct 2013 20:13:21 GMT"));
    check("ffa35464987451ea0ffd844eae05c0b86e09975fffe7", Some(ODD));
    // No padding is as long as a byte, or has a zero in it.
    check("ff", None);
    check("00", None);
    check("1e", None);
}

#[test]
fn what_is_no_http_2_passes_as_it_is() {
    for bytes in [&b"GET / HTTP/1.1\r\nHost: #\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        assert_eq!(Frames::default().pass(bytes), None);
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        let payload = frame_of(HEADERS, END_HEADERS | bytes.first().unwrap_or(&0), &bytes);
        passed(&connection(&[payload]), piece);
        passed(&[PREFACE, &bytes].concat(), piece);
        huffman(&bytes);
    }
}
