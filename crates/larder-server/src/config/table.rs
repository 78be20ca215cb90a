//! `[table.NAME]`: how a cached table is written, and what the server makes of it.
//!
//! Apart from `file.rs`, because a window is written in three ways. **Invariant**: an index that a
//! window or a rule names is one of the table; which columns there are only its origin knows.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use larder_core::Value;
use serde::{Deserialize, Deserializer, de};

use super::{
    ConfigError,
    duration::Span,
    resolve::{DAY, MOMENT, Taker, within},
    size::Size,
};

/// The index by primary key, which every table has.
pub const PRIMARY: &str = "primary";

/// `[table.NAME]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// The name of its origin.
    pub origin: Option<String>,
    /// One statement that reads, without parameters.
    pub sql: Option<String>,
    /// The columns of the primary key.
    pub key: Option<Vec<String>>,
    /// The other orders of the records, each by some of the columns.
    pub indexes: BTreeMap<String, Vec<String>>,
    /// Which of the records are held.
    pub window: Option<WrittenWindow>,
    /// What the records may count at most.
    pub memory: Option<Size>,
    /// How long one load of records may take.
    pub load_timeout: Option<Span>,
    /// How long a read waits for the first load.
    pub load_wait: Option<Span>,
    /// The most time this node may go without hearing of the origin before a read asks it.
    pub max_staleness: Option<Span>,
    /// The server whose table of this name is followed: `http://HOST:PORT`. What that says is not
    /// said here.
    pub replica_of: Option<String>,
    /// A file that holds the token which that server is shown.
    pub token_file: Option<String>,
    /// The file in which the records outlive the process.
    pub keep: Option<String>,
    /// How often it is written while the server runs, besides when that stops.
    pub keep_every: Option<Span>,
    /// What a changed row of one of the origin's tables touches, where that is not plain from the
    /// statement; without a word everything.
    pub follows: BTreeMap<String, Follow>,
}

/// A row of one of the origin's tables touches the records with the values of these columns in the
/// first ones of an index.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Follow {
    /// The columns of the origin's table.
    pub columns: Option<Vec<String>>,
    /// The index of this table whose first columns have the same values.
    pub index: Option<String>,
}

/// A window as it is written: `"everything"`, or a range, or a time that slides.
#[derive(Debug)]
pub enum WrittenWindow {
    /// `"everything"`.
    Everything,
    /// `{ index = ... }`.
    Part(Box<Part>),
}

/// `{ index, from, to }` or `{ index, last, step, unit }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    /// The index of which the window is a range.
    pub index: Option<String>,
    /// The first key, or what the first ones begin with.
    pub from: Option<Key>,
    /// The first key behind the window, or what it begins with.
    pub to: Option<Key>,
    /// How far back a sliding window reaches.
    pub last: Option<Span>,
    /// How often it moves.
    pub step: Option<Span>,
    /// What the first column of the index holds.
    pub unit: Option<Unit>,
    /// How far behind the end of a sliding window a read may reach and count as covered, although
    /// nobody knows what is there.
    pub slack: Option<Span>,
}

/// A key as it is written: one value, or one for each of the first columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(pub Vec<Value>);

/// How a column tells the time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// Text in UTC such as `2026-11-22T05:33:12Z`.
    Rfc3339,
}

/// A table as the server works with it. [`Written`] says what each setting means.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are documented where they are written")]
pub struct Table {
    pub origin: String,
    pub sql: String,
    pub key: Vec<String>,
    pub indexes: BTreeMap<String, Vec<String>>,
    pub window: Window,
    pub memory_bytes: u64,
    pub load_timeout: Duration,
    pub load_wait: Duration,
    pub max_staleness: Duration,
    pub keep: Option<Keep>,
    pub follows: Vec<(String, Followed)>,
}

/// Where records outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The file.
    pub path: PathBuf,
    /// How often it is written.
    pub every: Duration,
}

/// A rule of [`Written::follows`], whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The columns of the origin's table.
    pub columns: Vec<String>,
    /// The index of the table.
    pub index: String,
}

/// Which of the records are held.
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    /// All.
    Everything,
    /// Those of a range of an index, the end not included.
    Between {
        /// The index.
        index: String,
        /// Where it begins; with the first one if nothing is said.
        from: Option<Key>,
        /// Where it ends; behind the last one if nothing is said.
        to: Option<Key>,
    },
    /// Those of the last so much time.
    Last {
        /// The index, by time first.
        index: String,
        /// How far back it reaches.
        last: Duration,
        /// How often it moves.
        step: Duration,
        /// What its first column holds.
        unit: Unit,
        /// How far behind its end reads may reach.
        slack: Duration,
    },
}

impl<'de> Deserialize<'de> for WrittenWindow {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct OfAnyForm;

        impl<'de> de::Visitor<'de> for OfAnyForm {
            type Value = WrittenWindow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"everything\", { index = \"time\", from = 1, to = 9 }, or { index = \
                     \"time\", last = \"24h\", step = \"1m\", unit = \"seconds\" }",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenWindow, E> {
                match text {
                    "everything" => Ok(WrittenWindow::Everything),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<WrittenWindow, A::Error> {
                let part = Part::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(WrittenWindow::Part(Box::new(part)))
            }
        }

        source.deserialize_any(OfAnyForm)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let value = |value| match value {
            toml::Value::String(text) => Ok(Value::from(text.as_str())),
            toml::Value::Integer(number) => Ok(Value::Integer(number)),
            toml::Value::Float(number) => Ok(Value::Real(number)),
            _ => Err(de::Error::custom("a key is a text, a number, or a list of them")),
        };
        let values = match toml::Value::deserialize(source)? {
            toml::Value::Array(list) => list.into_iter().map(value).collect(),
            one => value(one).map(|one| vec![one]),
        };
        values.map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(Value::to_string).collect();
        f.write_str(&shown.join(", "))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Rfc3339 => "rfc3339",
        })
    }
}

/// What the records of a table may count unless it says otherwise: as much as the cache may. Ten
/// times more would surprise a small machine, a tenth would refuse a window of a million rows.
pub(super) const MEMORY: Size = Size::mib(256);

/// How long one load may take: that of a big join.
const LOAD_TIMEOUT: Span = Span::seconds(300);

/// How long a read waits for the first load: less than a client waits for an answer.
pub(super) const LOAD_WAIT: Span = Span::seconds(10);

/// How often a sliding window moves: each step costs one load of what came.
const STEP: Span = Span::seconds(60);

/// How often what a table holds is written: what a crash costs is telling as much again. Each time
/// all records are written, so a tenth would be a gigabyte a minute for a large table.
const KEEP_EVERY: Span = Span::seconds(600);

/// The table that was written.
pub(super) fn resolve(
    name: &str,
    written: Written,
    base: &Path,
    to: &mut Taker,
) -> Result<Table, ConfigError> {
    let at = |setting: &str| format!("table.{name}.{setting}");
    let advice = "Name one of the [origin.NAME] sections";
    let origin = to.require(at("origin"), written.origin, advice)?;
    let sql = to.require(at("sql"), written.sql, "Write one SELECT statement")?;
    let key = written.key.unwrap_or_default();
    check_columns(&at("key"), &key)?;
    to.show(at("key"), format!("[{}]", key.join(", ")));
    for (index, columns) in &written.indexes {
        let path = at(&format!("indexes.{index}"));
        super::resolve::check_name("index", index)?;
        if index == PRIMARY {
            let problem = "is the index by `key`, which every table has. Choose another name";
            return Err(ConfigError::new(path, problem));
        }
        check_columns(&path, columns)?;
        to.show(path, format!("[{}]", columns.join(", ")));
    }
    let known = |path: String, index: String| check_index(path, index, &written.indexes);
    let window = window(&at("window"), written.window, to, known)?;
    let memory = to.take(at("memory"), written.memory, MEMORY);
    within(&at("memory"), memory, Size::kib(1), Size(1 << 50))?;
    let timeout = to.take(at("load_timeout"), written.load_timeout, LOAD_TIMEOUT);
    within(&at("load_timeout"), timeout, MOMENT, DAY)?;
    let wait = to.take(at("load_wait"), written.load_wait, LOAD_WAIT);
    within(&at("load_wait"), wait, MOMENT, DAY)?;
    let staleness = to.take(at("max_staleness"), written.max_staleness, Span::seconds(1));
    let keep = keep(&at, written.keep, written.keep_every, base, to)?;
    let mut follows = Vec::new();
    for (table, Follow { columns, index }) in written.follows {
        let at = |setting: &str| at(&format!("follows.{table}.{setting}"));
        let columns = columns.unwrap_or_default();
        check_columns(&at("columns"), &columns)?;
        to.show(at("columns"), format!("[{}]", columns.join(", ")));
        let advice = "Name the index whose first columns have the same values";
        let index = known(at("index"), to.require(at("index"), index, advice)?)?;
        let own = written.indexes.get(&index).unwrap_or(&key);
        if own.len() < columns.len() {
            let problem = format!(
                "names {} columns, the index `{index}` is by {}: name those that equal its first \
                 ones",
                columns.len(),
                own.join(", ")
            );
            return Err(ConfigError::new(at("columns"), problem));
        }
        follows.push((table, Followed { columns, index }));
    }
    Ok(Table {
        origin,
        sql,
        key,
        window,
        memory_bytes: memory.0,
        load_timeout: timeout.0,
        load_wait: wait.0,
        max_staleness: staleness.0,
        keep,
        follows,
        indexes: written.indexes,
    })
}

fn keep(
    at: &dyn Fn(&str) -> String,
    path: Option<String>,
    every: Option<Span>,
    base: &Path,
    to: &mut Taker,
) -> Result<Option<Keep>, ConfigError> {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return match every {
            None => Ok(None),
            Some(_) => {
                let problem = "is not set. Name the file that is to be written so often";
                Err(ConfigError::new(at("keep"), problem))
            }
        };
    };
    to.show(at("keep"), path.clone());
    let every = to.take(at("keep_every"), every, KEEP_EVERY);
    within(&at("keep_every"), every, Span::seconds(1), Span(DAY.0 * 366))?;
    Ok(Some(Keep { path: base.join(path), every: every.0 }))
}

fn window(
    path: &str,
    written: Option<WrittenWindow>,
    to: &mut Taker,
    known: impl Fn(String, String) -> Result<String, ConfigError>,
) -> Result<Window, ConfigError> {
    let at = |setting: &str| format!("{path}.{setting}");
    let part = match written.unwrap_or(WrittenWindow::Everything) {
        WrittenWindow::Everything => {
            to.show(path, "everything".to_owned());
            return Ok(Window::Everything);
        }
        WrittenWindow::Part(part) => *part,
    };
    let Part { index, from, to: end, last, step, unit, slack } = part;
    let index = to.require(at("index"), index, "Name the index of which the window is a range")?;
    let index = known(at("index"), index)?;
    let Some(last) = last else {
        if step.is_some() || unit.is_some() || slack.is_some() {
            let problem = "is not set. Say how far back the window reaches, such as \"24h\"; or \
                           leave `step`, `unit` and `slack` out";
            return Err(ConfigError::new(at("last"), problem));
        }
        let ends = [("from", &from), ("to", &end)];
        for (name, key) in ends.into_iter().filter_map(|(name, key)| Some((name, key.as_ref()?))) {
            to.show(at(name), key.to_string());
        }
        return Ok(Window::Between { index, from, to: end });
    };
    if from.is_some() || end.is_some() {
        let problem = "the window slides or it stays: leave out `last`, or `from` and `to`";
        return Err(ConfigError::new(path, problem));
    }
    let year = Span(DAY.0 * 36_600);
    within(&at("last"), last, MOMENT, year)?;
    to.show(at("last"), last.to_string());
    let step = to.take(at("step"), step, STEP);
    within(&at("step"), step, MOMENT, DAY)?;
    let advice = "Say what the first column of the index holds: \"seconds\", \"milliseconds\", \
                  \"microseconds\" or \"rfc3339\"";
    let unit = to.require(at("unit"), unit, advice)?;
    let slack = to.take(at("slack"), slack, Span::seconds(0));
    within(&at("slack"), slack, Span::seconds(0), DAY)?;
    Ok(Window::Last { index, last: last.0, step: step.0, unit, slack: slack.0 })
}

fn check_columns(path: &str, columns: &[String]) -> Result<(), ConfigError> {
    let problem = "names no column. Name at least one, such as [\"id\"]";
    match columns {
        [] => Err(ConfigError::new(path, problem)),
        _ => Ok(()),
    }
}

fn check_index(
    path: String,
    index: String,
    indexes: &BTreeMap<String, Vec<String>>,
) -> Result<String, ConfigError> {
    if index == PRIMARY || indexes.contains_key(&index) {
        return Ok(index);
    }
    let known: Vec<&str> =
        std::iter::once(PRIMARY).chain(indexes.keys().map(String::as_str)).collect();
    let known = known.join(", ");
    Err(ConfigError::new(path, format!("there is no index `{index}`; there are: {known}")))
}

#[cfg(test)]
mod tests;
