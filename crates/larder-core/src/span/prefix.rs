//! Prefixes: sixty-four bits of a value that hardly ever leave a comparison open.
//!
//! Apart from the comparison itself (`order`), which is exact and must look at the value, wherever
//! that is. **Invariant**: of two values, the one that comes first never has the larger prefix;
//! where prefixes are equal, the values say which comes first.

use std::ops::Bound;

use crate::value::Value;

/// The prefix of a beginning that lets in everything: before those of all values.
const BEFORE_ALL: u64 = 0;
/// The prefix of an end that stops nothing: behind those of all values.
pub(super) const BEHIND_ALL: u64 = u64::MAX;

/// Bits that say of which kind a value is.
const KIND_BITS: u32 = 2;

/// The prefix of a value.
pub(super) fn of(value: &Value) -> u64 {
    let (kind, bits) = match value {
        Value::Null => (0, 0),
        Value::Integer(integer) => (1, of_number(nearest(*integer))),
        Value::Real(real) => (1, of_number(*real)),
        Value::Text(text) => (2, of_bytes(text.as_bytes())),
        Value::Blob(bytes) => (3, of_bytes(bytes)),
    };
    let prefix = kind << (u64::BITS - KIND_BITS) | bits >> KIND_BITS;
    prefix.clamp(BEFORE_ALL + 1, BEHIND_ALL - 1)
}

pub(super) fn of_low(low: &Bound<Value>) -> u64 {
    match low {
        Bound::Unbounded => BEFORE_ALL,
        Bound::Included(value) | Bound::Excluded(value) => of(value),
    }
}

pub(super) fn of_high(high: &Bound<Value>) -> u64 {
    match high {
        Bound::Unbounded => BEHIND_ALL,
        Bound::Included(value) | Bound::Excluded(value) => of(value),
    }
}

/// Rounding keeps the order: of two integers the smaller one is not rounded to the larger number,
/// nor past a float that lies between them.
fn nearest(integer: i64) -> f64 {
    integer as f64
}

/// As IEEE 754 orders floats by their bits, once the sign is turned round; both zeros are one, and
/// what is not a number follows all numbers.
fn of_number(real: f64) -> u64 {
    if real.is_nan() {
        return u64::MAX;
    }
    let bits = (real + 0.0).to_bits();
    let sign = 1 << (u64::BITS - 1);
    if bits & sign == 0 { bits | sign } else { !bits }
}

fn of_bytes(bytes: &[u8]) -> u64 {
    let mut first = [0; size_of::<u64>()];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
}
