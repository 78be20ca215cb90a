//! Floats with an order, so that they can be keys.

use std::{cmp::Ordering, fmt};

use larder_core::{Key, KeyEncoder, key::KeyDecoder};

use crate::measure::Number;

/// A float as a key: minus infinity comes first, then numbers by value, infinity, and last what is
/// not a number. The two zeros are one key, as they are one number to databases, which may hand out
/// the one where the other was stored.
#[derive(Clone, Copy, Default)]
pub struct Float(pub f64);

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        // What is not a number may have a sign, which would put it first, and so may zero.
        let plain = |own: f64| if own.is_nan() { f64::NAN } else { own + 0.0 };
        plain(self.0).total_cmp(&plain(other.0))
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Float {}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All that is not a number is one key.
impl Key for Float {
    fn encode(&self, out: &mut KeyEncoder) {
        let plain = if self.0.is_nan() { f64::NAN } else { self.0 };
        plain.to_bits().encode(out);
    }

    fn decode(from: &mut KeyDecoder<'_>) -> Option<Self> {
        u64::decode(from).map(|bits| Self(f64::from_bits(bits)))
    }
}

impl Number for Float {
    type Sum = f64;

    fn add_to(self, sum: f64) -> f64 {
        sum + self.0
    }

    fn join(one: f64, other: f64) -> f64 {
        one + other
    }
}
