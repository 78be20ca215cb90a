//! Durations as people write them: `250ms`, `10s`, `10m`, `1h`, `7d`.
//!
//! A bare number is refused, because whoever reads it must guess the unit. **Invariant**: what is
//! printed reads back as the same duration.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A length of time in a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    /// A number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "\"{text}\" is no duration: write a whole number and a unit, such as \"250ms\", \
                 \"10s\", \"10m\", \"1h\" or \"7d\""
            )
        };
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
        let (number, unit) = text.split_at_checked(split).ok_or_else(wanted)?;
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wanted)?;
        let millis = number.checked_mul(*millis);
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(wanted)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0");
        }
        let unit = UNITS.iter().rev().find(|(_, size)| millis.is_multiple_of(*size));
        let (name, size) = unit.copied().unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / size)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(de::Error::custom)
    }
}

/// How long a value lives: a duration, or for ever, which must be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until this long after it was loaded.
    For(Span),
    /// Until a change invalidates it.
    Never,
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(span) => span.fmt(f),
            Self::Never => f.write_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        match text.as_str() {
            "never" => Ok(Self::Never),
            _ => text.parse().map(Self::For).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_back_as_printed() {
        for text in ["0", "250ms", "10s", "10m", "1h", "7d", "90s", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("60s".parse::<Span>().unwrap(), "1m".parse().unwrap());
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["10", "", "s", "1.5s", "-1s", "1 hour", "99999999999999999999d"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains("250ms"), "{error}");
        }
    }
}
