//! The common name in a certificate's subject.
//!
//!     subject = { SEQUENCE of SET of SEQUENCE { which: OBJECT IDENTIFIER, value: a string } }
//!
//! The libraries underneath look at alternative names only, which is right for telling who a server is; etcd names
//! users by the common name.

use super::der::{OBJECT, SEQUENCE, SET, element};

/// UTF8String, PrintableString, IA5String: texts that can be read as UTF-8.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// 2.5.4.3, common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The last common name, which is the one that Go answers; `None` where there is none that can be read.
pub(super) fn common_name(subject: &[u8]) -> Option<String> {
    let mut found = None;
    let mut names = subject;
    while let Some((SET, mut name, after)) = element(names) {
        names = after;
        while let Some((SEQUENCE, attribute, more)) = element(name) {
            name = more;
            let Some((OBJECT, which, value)) = element(attribute) else { continue };
            let Some((tag, text, _)) = element(value) else { continue };
            if which == COMMON_NAME && TEXTS.contains(&tag) {
                found = std::str::from_utf8(text).ok().map(str::to_owned);
            }
        }
    }
    found.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(which: u8, tag: u8, text: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let value = [wrap(OBJECT, &[0x55, 0x04, which]), wrap(tag, text)].concat();
        wrap(SET, &wrap(SEQUENCE, &value))
    }

    #[test]
    fn the_last_common_name_counts() {
        let check = |subject: &[Vec<u8>], expected: Option<&str>| {
            assert_eq!(common_name(&subject.concat()).as_deref(), expected);
        };
        check(&[], None);
        check(&[attribute(10, 0x0c, b"organisation")], None);
        check(&[attribute(10, 0x0c, b"o"), attribute(3, 0x13, b"root")], Some("root"));
        check(&[attribute(3, 0x0c, b"a"), attribute(3, 0x0c, b"b")], Some("b"));
        check(&[attribute(3, 0x0c, b"")], None);
        check(&[attribute(3, 0x0c, b"\xff")], None);
        // BMPString: nobody issues it any more.
        check(&[attribute(3, 0x1e, b"\0a")], None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            common_name(&bytes);
        }
    }
}
