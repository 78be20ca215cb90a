//! Making values smaller before they are kept, and whole again when they are read.
//!
//! Apart from `put`, because it happens before a write waits for its turn: the writer is one
//! thread, and compressing would hold up everybody. **Invariant**: a row that claims to hold more
//! than an entry may have is refused before any memory is taken for it, and what is unpacked is
//! believed only after the checksum over the packed bytes was right.

use larder_core::{Error, ErrorKind};

/// Between how fast and how small: the fastest of the usual ones, some hundred megabytes in a
/// second. Level 3 takes half as long again for a few percent.
const LEVEL: i32 = 1;

/// Bytes before the packed ones that say how many the value has.
const LENGTH_BYTES: usize = 8;

/// How the bytes of a value are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As they are.
    Plain,
    /// Its length in eight bytes, least first, and then one frame of zstd.
    Zstd,
}

/// The packed form of `value`, if it is worth reading through zstd: an eighth smaller at least.
pub(crate) fn pack(value: &[u8]) -> Option<Vec<u8>> {
    let frame = zstd::bulk::compress(value, LEVEL).ok()?;
    if value.len() - value.len() / 8 < frame.len() + LENGTH_BYTES {
        return None;
    }
    let mut packed = Vec::with_capacity(LENGTH_BYTES + frame.len());
    packed.extend_from_slice(&(value.len() as u64).to_le_bytes());
    packed.extend_from_slice(&frame);
    Some(packed)
}

/// Bytes of the value in `packed`, as it says itself.
pub(crate) fn length(packed: &[u8]) -> u64 {
    packed.first_chunk().map_or(0, |length| u64::from_le_bytes(*length))
}

/// The value in `packed`, which has at most `bytes_max` bytes.
///
/// # Errors
/// `Limit` for a value that is larger, `Corrupt` for what [`pack`] never wrote.
pub(crate) fn unpack(packed: &[u8], bytes_max: u64) -> Result<Vec<u8>, Error> {
    let corrupt = || {
        Error::new(ErrorKind::Corrupt, "read an entry").detail(
            "it cannot be unpacked, so it is not what was written; remove it or write it again",
        )
    };
    let (length, frame) = packed.split_first_chunk::<LENGTH_BYTES>().ok_or_else(corrupt)?;
    let length = u64::from_le_bytes(*length);
    if bytes_max < length {
        return Err(Error::new(ErrorKind::Limit, "read an entry").detail(format!(
            "unpacked it has {length} bytes, the limit for one entry is {bytes_max}; raise \
             `max_value_bytes` and `max_bytes`, or remove it"
        )));
    }
    let length = usize::try_from(length).map_err(|_| corrupt())?;
    // Never more than `length`, whatever the frame says.
    let value = zstd::bulk::decompress(frame, length).map_err(|_| corrupt())?;
    if value.len() == length { Ok(value) } else { Err(corrupt()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_given_back() {
        for value in [vec![0; 100_000], b"one two three ".repeat(50), vec![7; 64]] {
            let packed = pack(&value).unwrap();
            assert!(packed.len() < value.len() / 2, "{} bytes", packed.len());
            assert_eq!(unpack(&packed, value.len() as u64).unwrap(), value);
        }
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let random = blake3::hash(b"seed");
        assert_eq!(pack(random.as_bytes()), None);
        assert_eq!(pack(b""), None);
    }

    #[test]
    fn a_frame_that_holds_more_than_it_says_takes_no_memory_for_it() {
        let bomb = pack(&vec![0; 10_000_000]).unwrap();
        let refused = unpack(&bomb, 1_000_000).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        let mut lying = bomb.clone();
        lying[..LENGTH_BYTES].copy_from_slice(&1000_u64.to_le_bytes());
        assert_eq!(unpack(&lying, 1_000_000).unwrap_err().kind(), ErrorKind::Corrupt);
        for cut in [0, 5, LENGTH_BYTES, bomb.len() - 1] {
            assert_eq!(unpack(&bomb[..cut], u64::MAX).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
