//! A key and its value, copied into one allocation of their own.
//!
//!     references │ length │ key ········ │ value ············ │ unused, at most 15 bytes below 640, 63 above
//!          8         2
//!
//! What arrives is a slice of a network buffer or of a whole batch, and keeping it would keep all of that. The
//! copy is made once, when a record is applied; everyone else shares it. A `Bytes` made from a `Vec` makes a
//! second allocation when it is first cloned, which here is every time, so for all usual sizes the bytes stand
//! behind the count of references.

use bytes::Bytes;

/// Bytes in place, in one of the sizes that fill what an allocator hands out.
struct InPlace<const SIZE: usize> {
    length: u16,
    bytes: [u8; SIZE],
}

impl<const SIZE: usize> AsRef<[u8]> for InPlace<SIZE> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The key with the value behind it.
pub(super) fn pack(key: &[u8], value: &[u8]) -> Bytes {
    macro_rules! smallest {
        ($($size:literal),*) => {
            match key.len() + value.len() {
                0 => Bytes::new(),
                $(length if length <= $size => Bytes::from_owner(in_place::<$size>(key, value)),)*
                _ => [key, value].concat().into_boxed_slice().into(),
            }
        };
    }
    smallest!(
        14, 30, 46, 62, 78, 94, 110, 126, 142, 158, 174, 190, 206, 222, 238, 254, 270, 286, 302, 318, 334,
        350, 366, 382, 398, 414, 430, 446, 462, 478, 494, 510, 526, 542, 558, 574, 590, 606, 622, 686, 750,
        814, 878, 942, 1006, 1070, 1134, 1198, 1262, 1326, 1390, 1454, 1518, 1582, 1646, 1710, 1774, 1838,
        1902, 1966, 2030, 2094
    )
}

fn in_place<const SIZE: usize>(key: &[u8], value: &[u8]) -> InPlace<SIZE> {
    let mut bytes = [0; SIZE];
    bytes[..key.len()].copy_from_slice(key);
    bytes[key.len()..key.len() + value.len()].copy_from_slice(value);
    let length = u16::try_from(key.len() + value.len()).expect("the largest size fits 16 bits");
    InPlace { length, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(3_000).collect();
        for length in 0..bytes.len() {
            let key = length.min(length / 3 + 1);
            assert_eq!(pack(&bytes[..key], &bytes[key..length]), bytes[..length]);
        }
    }
}
