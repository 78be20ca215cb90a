//! How a writer in another process hands over its notes: one line for each row.
//!
//! Text, so that a run can be looked at and repeated by hand. **Invariant**: a line that was not
//! written whole is an error, never a note.

use std::{fmt, str::FromStr};

use super::{Outcome, Written};

/// A line that holds no note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine(String);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no note of a writer: {:?}", self.0)
    }
}

impl std::error::Error for BadLine {}

/// `row version bucket began ended outcome.`, the bucket `-` for a row that was removed.
impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, version, bucket, began, ended, outcome } = self;
        let bucket = bucket.map_or_else(|| "-".to_owned(), |bucket| bucket.to_string());
        let outcome = match outcome {
            Outcome::Committed => "committed.",
            Outcome::Softened => "softened.",
            Outcome::RolledBack => "rolled-back.",
        };
        write!(f, "{row} {version} {bucket} {began} {ended} {outcome}")
    }
}

impl FromStr for Written {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        parse(line).ok_or_else(|| BadLine(line.to_owned()))
    }
}

fn parse(line: &str) -> Option<Written> {
    let mut words = line.split(' ');
    let row = words.next()?.parse().ok()?;
    let version = words.next()?.parse().ok()?;
    let bucket = match words.next()? {
        "-" => None,
        bucket => Some(bucket.parse().ok()?),
    };
    let began = words.next()?.parse().ok()?;
    let ended = words.next()?.parse().ok()?;
    let outcome = match words.next()? {
        "committed." => Outcome::Committed,
        "softened." => Outcome::Softened,
        "rolled-back." => Outcome::RolledBack,
        _ => return None,
    };
    words.next().is_none().then_some(Written { row, version, bucket, began, ended, outcome })
}
