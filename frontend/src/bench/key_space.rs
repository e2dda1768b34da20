//! The keys that a load touches, what they hold, and the revision at which each was last seen.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

/// In front of every key. `0` comes after `/`, so everything between the two is ours.
const START: &[u8] = b"bench/";
const END: &[u8] = b"bench0";

/// Keys are numbered, and padded to their length: `bench/0000000042`.
pub(super) struct KeySpace {
    key_bytes: usize,
    /// Revisions, by the number of the key; 0 is a key that was never seen, as in a compare of etcd.
    /// Clients share them as the clients of one API server share its cache.
    seen: Box<[AtomicI64]>,
}

impl KeySpace {
    pub(super) fn new(keys: usize, key_bytes: usize) -> Result<Self, String> {
        let key_bytes_min = START.len() + (keys - 1).to_string().len();
        if key_bytes < key_bytes_min {
            return Err(format!("{keys} keys need --key-bytes of at least {key_bytes_min}"));
        }
        Ok(Self { key_bytes, seen: (0..keys).map(|_| AtomicI64::new(0)).collect() })
    }

    pub(super) fn keys(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn key(&self, number: usize) -> Bytes {
        let mut key = vec![b'0'; self.key_bytes];
        key[..START.len()].copy_from_slice(START);
        let mut rest = number;
        for digit in key.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
        }
        key.into()
    }

    pub(super) fn start() -> Bytes {
        Bytes::from_static(START)
    }

    pub(super) fn end() -> Bytes {
        Bytes::from_static(END)
    }

    pub(super) fn seen(&self, number: usize) -> i64 {
        self.seen[number].load(Ordering::Relaxed)
    }

    /// Answers may overtake each other: the later revision stays.
    pub(super) fn see(&self, number: usize, revision: i64) {
        self.seen[number].fetch_max(revision, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_number_padded() {
        let space = KeySpace::new(1000, 10).expect("it fits");
        assert_eq!(space.key(0), "bench/0000");
        assert_eq!(space.key(907), "bench/0907");
        assert!(KeySpace::start() < space.key(0) && space.key(999) < KeySpace::end());
    }

    #[test]
    fn keys_have_room_for_their_numbers() {
        assert!(KeySpace::new(1000, 9).is_ok());
        assert!(KeySpace::new(1001, 9).is_err());
    }

    #[test]
    fn a_later_revision_stays() {
        let space = KeySpace::new(1, 8).expect("it fits");
        space.see(0, 7);
        space.see(0, 5);
        assert_eq!(space.seen(0), 7);
    }
}
