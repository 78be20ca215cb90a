//! Sizes in bytes as people write them: `512KiB`, `256MiB`, `2GiB`, `100B`.
//!
//! Only binary units exist, so that nobody has to know what `MB` means here. **Invariant**: what is
//! printed reads back as the same number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A number of bytes in a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Size {
    /// A number of KiB.
    pub const fn kib(number: u64) -> Self {
        Self(number << 10)
    }

    /// A number of MiB.
    pub const fn mib(number: u64) -> Self {
        Self(number << 20)
    }

    /// The number for what lives in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "\"{text}\" is no size: write a whole number and a unit, such as \"512KiB\", \
                 \"256MiB\" or \"2GiB\""
            )
        };
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
        let (number, unit) = text.split_at_checked(split).ok_or_else(wanted)?;
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wanted)?;
        number.checked_mul(*bytes).map(Self).ok_or_else(wanted)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, size)| self.0.is_multiple_of(*size));
        let (name, size) = unit.filter(|_| 0 < self.0).copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_back_as_printed() {
        for text in ["0B", "100B", "512KiB", "256MiB", "2GiB", "1025B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_ambiguous_size_is_refused() {
        for text in ["10", "10MB", "10M", "", "-1KiB", "1.5GiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().unwrap_err().contains("256MiB"), "{text}");
        }
    }
}
