//! Search for the end of a JSON object that comes in fragments.
//!
//!     {"ID":"7   ──►  inside a string, one brace deep
//!     "}{"ID     ──►  the object ends behind the second byte
//!
//! Each byte is looked at once, however the text is cut. It is not checked to be JSON: whoever reads the object does that.

/// State between two fragments.
#[derive(Default)]
pub(super) struct JsonScanner {
    /// Bytes of the text that were looked at.
    scanned: usize,
    depth: usize,
    in_string: bool,
    /// The next byte of the string is escaped.
    is_escaped: bool,
}

/// Result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// The first object ends behind so many bytes.
    Object(usize),
    /// More has to come.
    Open,
    /// The text begins with something else than an object.
    NoObject,
}

impl JsonScanner {
    /// Goes on where the last call ended: `text` begins as it did then. After an object, the search begins anew.
    pub(super) fn scan(&mut self, text: &[u8]) -> Scanned {
        while let Some(byte) = text.get(self.scanned) {
            self.scanned += 1;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' if self.depth > 0 || *byte == b'{' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' | b']' if self.depth == 1 => {
                    let end = std::mem::take(self).scanned;
                    return Scanned::Object(end);
                }
                byte if self.depth > 0 || byte.is_ascii_whitespace() => {}
                _ => return Scanned::NoObject,
            }
        }
        Scanned::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends of the objects of a text that comes in fragments of so many bytes.
    fn ends(text: &str, fragment: usize) -> Vec<usize> {
        let (mut scanner, mut ends, mut begin) = (JsonScanner::default(), Vec::new(), 0);
        for end in (fragment..text.len() + fragment).step_by(fragment) {
            while let Scanned::Object(bytes) = scanner.scan(&text.as_bytes()[begin..end.min(text.len())]) {
                begin += bytes;
                ends.push(begin);
            }
        }
        ends
    }

    #[test]
    fn objects_end_where_their_braces_do_however_they_are_cut() {
        let text = r#" {"a":"}\"{"} {"b":[{"c":"\\"},[]]}{}  {"d""#;
        for fragment in 1..=text.len() {
            assert_eq!(ends(text, fragment), [13, 35, 37], "fragments of {fragment} bytes");
        }
    }

    #[test]
    fn what_is_no_object_is_seen_at_once() {
        for text in ["[{}]", "  7", "\"{}\"", "}"] {
            assert_eq!(JsonScanner::default().scan(text.as_bytes()), Scanned::NoObject, "{text}");
        }
    }
}
