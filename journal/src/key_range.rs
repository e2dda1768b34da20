//! Which keys are meant: etcd's `key` and `range_end`, read once and then never again as two fields.
//!
//!     key  range_end   means
//!     k    (empty)     the key k
//!     k    "\0"        every key from k on
//!     k    e           k <= key < e; nothing when e <= k
//!
//! Authorising one reading of the fields and executing another has opened stores before
//! (GHSA-xg4h-6gfc-h4m8), so everyone works on this value.

use bytes::Bytes;

/// A set of neighbouring keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key.
    Single(Bytes),
    /// `start <= key < end`; empty when `end <= start`.
    Range { start: Bytes, end: Bytes },
    /// `start <= key`.
    From(Bytes),
}

impl KeyRange {
    /// Every key there can be.
    #[must_use]
    pub fn all() -> KeyRange {
        KeyRange::From(Bytes::new())
    }

    /// Reads etcd's two fields. A `key` of one zero byte is, as in etcd, the least key that can exist.
    #[must_use]
    pub fn from_wire(key: Bytes, range_end: Bytes) -> KeyRange {
        match &range_end[..] {
            [] => KeyRange::Single(key),
            [0] => KeyRange::From(key),
            _ => KeyRange::Range { start: key, end: range_end },
        }
    }

    /// The first key that may be in the range.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        match self {
            KeyRange::Single(key) => key,
            KeyRange::Range { start, .. } | KeyRange::From(start) => start,
        }
    }

    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Single(single) => single[..] == *key,
            KeyRange::Range { start, end } => start[..] <= *key && *key < end[..],
            KeyRange::From(start) => start[..] <= *key,
        }
    }

    /// Whether no key can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, KeyRange::Range { start, end } if end <= start)
    }

    /// The part of this range that lies in `[from, to)`; `to` of `None` means without end.
    /// `None` where the two share no key.
    #[must_use]
    pub fn clip(&self, from: &Bytes, to: Option<&Bytes>) -> Option<KeyRange> {
        let below = |key: &[u8]| to.is_none_or(|to| *key < to[..]);
        match self {
            KeyRange::Single(key) => (from <= key && below(key)).then(|| self.clone()),
            KeyRange::Range { start, end } => {
                let start = start.max(from).clone();
                let end = to.map_or(end, |to| end.min(to)).clone();
                (start < end).then_some(KeyRange::Range { start, end })
            }
            KeyRange::From(start) => {
                let start = start.max(from).clone();
                match to {
                    None => Some(KeyRange::From(start)),
                    Some(to) => (start < *to).then(|| KeyRange::Range { start, end: to.clone() }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn wire(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(bytes(key), bytes(end))
    }

    #[test]
    fn no_end_is_one_key() {
        assert!(wire("b", "").contains(b"b"));
        assert!(!wire("b", "").contains(b"ba"));
    }

    #[test]
    fn a_zero_end_is_every_key_from_there_on() {
        assert!(wire("b", "\0").contains(b"zzz"));
        assert!(!wire("b", "\0").contains(b"az"));
    }

    #[test]
    fn an_end_at_or_below_the_key_holds_nothing() {
        assert!(wire("b", "b").is_empty());
        assert!(wire("b", "a").is_empty());
        assert!(!wire("b", "a").contains(b"b"));
    }

    #[test]
    fn clipping_keeps_exactly_the_shared_keys() {
        let ranges = [wire("b", ""), wire("b", "d"), wire("b", "\0"), wire("", "\0"), wire("d", "b")];
        let bounds = [("", None), ("b", None), ("a", Some("c")), ("c", Some("d")), ("d", Some("e"))];
        for range in &ranges {
            for (from, to) in bounds {
                let clipped = range.clip(&bytes(from), to.map(bytes).as_ref());
                for key in ["a", "b", "bb", "c", "cz", "d", "e", "z"] {
                    let inside = from <= key && to.is_none_or(|to| key < to);
                    let expected = range.contains(key.as_bytes()) && inside;
                    let got = clipped.as_ref().is_some_and(|range| range.contains(key.as_bytes()));
                    assert_eq!(got, expected, "{range:?} clipped to [{from:?}, {to:?}) at {key}");
                }
            }
        }
    }
}
