//! Windows: which of the records a table holds, as the settings say it.
//!
//! **Invariant**: a window that slides has no end where a feed tells of what comes, and ends now
//! where nobody does: what nobody tells of is loaded by the reads that ask for it.

use std::{ops::Bound, time::Duration};

use larder::{Error, ErrorKind, Value};
use larder_core::clock::WallMillis;
use larder_table::{Ranges, Slack, sql::RowKey};

use crate::{
    config::table::{Key, PRIMARY, Unit, Window as Settings},
    moment::Moment,
};

use super::{
    Index,
    key::{self, Column},
};

/// Which records are held, by which index.
#[derive(Clone, Debug)]
pub struct Window {
    /// The name of the index.
    pub by: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Ranges<RowKey>),
    Last(Last),
}

/// The last so much time.
#[derive(Clone, Debug)]
pub struct Last {
    last: Duration,
    /// How often it moves.
    pub step: Duration,
    unit: Unit,
    slack: Duration,
    end: End,
}

/// Where a sliding window ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Never,
    Now,
}

impl Window {
    /// The window of `settings` over one of the `indexes`; whether somebody tells of changes is
    /// said with `is_told`.
    pub(super) fn new(
        table: &str,
        settings: &Settings,
        indexes: &[Index],
        is_told: bool,
    ) -> Result<Self, Error> {
        let (by, kind) = match settings {
            Settings::Everything => (PRIMARY, Kind::Fixed(Ranges::all())),
            Settings::Between { index, from, to } => {
                let columns = columns(indexes, index);
                let read = |name: &str, key: &Option<Key>| -> Result<_, Error> {
                    let read = key.as_ref().map(|Key(values)| key::from_setting(values, columns));
                    read.transpose().map_err(|why| refused(table, &format!("`{name}`: {why}")))
                };
                let ranges = range(read("from", from)?, read("to", to)?);
                let ranges = ranges.map_err(|_| refused(table, "it ends before it begins"))?;
                (&**index, Kind::Fixed(ranges))
            }
            Settings::Last { index, last, step, unit, slack } => {
                let end = if is_told { End::Never } else { End::Now };
                let (last, step, unit, slack) = (*last, *step, *unit, *slack);
                (&**index, Kind::Last(Last { last, step, unit, slack, end }))
            }
        };
        Ok(Self { by: by.to_owned(), kind })
    }

    /// The window of a replica, which is on that index and moved by its owner.
    pub(super) fn of_owner(by: &str) -> Self {
        Self { by: by.to_owned(), kind: Kind::Fixed(Ranges::all()) }
    }

    /// The index that it is on.
    pub(super) fn index<'i>(&self, indexes: &'i [Index]) -> Result<&'i Index, Error> {
        let found = indexes.iter().find(|index| index.name == self.by);
        found.ok_or_else(|| refused(&self.by, "there is no such index"))
    }

    /// The window at this time.
    pub fn at(&self, now: WallMillis) -> Ranges<RowKey> {
        match &self.kind {
            Kind::Fixed(ranges) => ranges.clone(),
            Kind::Last(last) => last.at(now),
        }
    }

    /// How far reads may reach beyond it; `None` where they may not.
    pub(super) fn slack(&self) -> Option<Slack<RowKey>> {
        let Last { unit, slack, .. } = *self.slides()?;
        let later = move |end: &RowKey| match end.values() {
            [time, ..] => RowKey::new([unit.later(time, slack)]),
            [] => end.clone(),
        };
        (!slack.is_zero()).then(|| Slack::behind(later))
    }

    /// How it slides; `None` where it stays.
    pub fn slides(&self) -> Option<&Last> {
        match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Last(last) => Some(last),
        }
    }
}

impl Last {
    fn at(&self, WallMillis(now): WallMillis) -> Ranges<RowKey> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        // At whole steps, so that windows are the same wherever they are worked out.
        let from = now.saturating_sub(millis(self.last));
        let from = from - from % millis(self.step).max(1);
        let key = |at| vec![self.unit.value(at)];
        let high = match self.end {
            End::Never => Bound::Unbounded,
            End::Now => Bound::Excluded(key(now)),
        };
        // A window that began behind its end would be one of no time.
        RowKey::within(Bound::Included(key(from)), high).unwrap_or_else(|_| Ranges::none())
    }
}

impl Unit {
    /// The time that a column has, so much later; one that is none stays as it is.
    fn later(self, time: &Value, by: Duration) -> Value {
        let more = |count: u128| i64::try_from(count).unwrap_or(i64::MAX);
        match (self, time) {
            (Self::Seconds, Value::Integer(time)) => {
                Value::Integer(time.saturating_add(more(u128::from(by.as_secs()))))
            }
            (Self::Milliseconds, Value::Integer(time)) => {
                Value::Integer(time.saturating_add(more(by.as_millis())))
            }
            (Self::Microseconds, Value::Integer(time)) => {
                Value::Integer(time.saturating_add(more(by.as_micros())))
            }
            (Self::Rfc3339, Value::Text(text)) => match text.parse::<Moment>() {
                Ok(Moment(millis)) => self.value(WallMillis(millis).plus(by).0),
                Err(_) => time.clone(),
            },
            _ => time.clone(),
        }
    }

    /// The time, in milliseconds since 1970, as a column has it. Text is cut to what any moment of
    /// that second begins with, whatever follows: a fraction or a zone.
    fn value(self, millis: u64) -> Value {
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        match self {
            Self::Seconds => number(millis / 1000),
            Self::Milliseconds => number(millis),
            Self::Microseconds => number(millis.saturating_mul(1000)),
            Self::Rfc3339 => {
                let text = Moment(millis).to_string().replace(' ', "T");
                text.chars().take(19).collect::<String>().as_str().into()
            }
        }
    }
}

/// The keys from `from` on, up to `to`, which is not one of them; either may be the first columns
/// of a key.
///
/// # Errors
/// `Config` when the range ends before it begins.
pub fn range(from: Option<Vec<Value>>, to: Option<Vec<Value>>) -> Result<Ranges<RowKey>, Error> {
    let low = from.map_or(Bound::Unbounded, Bound::Included);
    let high = to.map_or(Bound::Unbounded, Bound::Excluded);
    RowKey::within(low, high)
}

fn columns<'i>(indexes: &'i [Index], name: &str) -> &'i [Column] {
    indexes.iter().find(|index| index.name == name).map_or(&[], |index| &index.columns)
}

#[cold]
fn refused(table: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, "set the window of table")
        .subject(format!("`{table}`"))
        .detail(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_SLACK: Duration = Duration::ZERO;

    fn at(unit: Unit, end: End, now: u64) -> String {
        let (last, step) = (Duration::from_secs(60), Duration::from_secs(10));
        format!("{:?}", Last { last, step, unit, slack: NO_SLACK, end }.at(WallMillis(now)))
    }

    #[test]
    fn a_window_slides_in_whole_steps_and_in_the_unit_of_its_column() {
        let now = 1_767_225_600_000 + 123_456;
        let seconds = format!("[{:?}, ..)", key(1_767_225_660));
        assert_eq!(at(Unit::Seconds, End::Never, now), seconds);
        assert_eq!(at(Unit::Seconds, End::Never, now + 6_000), seconds, "within the step");
        assert_ne!(at(Unit::Seconds, End::Never, now + 7_000), seconds);
        let closed = format!("[{:?}, {:?})", key(1_767_225_660_000), key(1_767_225_723_456));
        assert_eq!(at(Unit::Milliseconds, End::Now, now), closed);
        let micros = format!("[{:?}, ..)", key(1_767_225_660_000_000));
        assert_eq!(at(Unit::Microseconds, End::Never, now), micros);
        let text = at(Unit::Rfc3339, End::Never, now);
        assert!(text.contains("2026-01-01T00:01:00") && !text.contains('Z'), "{text}");
        assert_eq!(at(Unit::Seconds, End::Now, 5), "none", "it would end where it begins");
    }

    fn key(number: i64) -> RowKey {
        RowKey::new([Value::Integer(number)])
    }

    #[test]
    fn slack_is_counted_in_the_unit_of_the_column() {
        let by = Duration::from_secs(20);
        let later = |unit: Unit, value: Value| unit.later(&value, by);
        assert_eq!(later(Unit::Seconds, 100.into()), 120.into());
        assert_eq!(later(Unit::Milliseconds, 100.into()), 20_100.into());
        assert_eq!(later(Unit::Microseconds, 100.into()), 20_000_100.into());
        let text = later(Unit::Rfc3339, "2026-01-01T23:59:50".into());
        assert_eq!(text, "2026-01-02T00:00:10".into());
        assert_eq!(later(Unit::Seconds, "no time".into()), "no time".into());
    }
}
