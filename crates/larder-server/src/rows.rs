//! Rows: changes of single rows, as an application or a webhook tells them.
//!
//! It stands apart from `items.rs`, which names things without saying what became of them.
//! **Invariant**: what a change leaves out is unknown, and what is unknown makes more fall, never
//! less; a row without its key is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder::{After, Change, RowChange, TrackedChange, Value};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use crate::{
    items::{APP, Names, Place},
    literal,
    problem::{Code, Problem},
};

/// Columns and values of a row, whole or in part.
pub type Image = Map<String, Json>;

/// One change of a row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// `"shop.Album"`, or `"app.Banner"` for what no origin owns.
    table: String,
    /// How it was: null if it was not there. Left out, nobody knows.
    #[serde(default, deserialize_with = "present")]
    old: Said,
    /// How it is: null if it is gone. It must be said.
    #[serde(default, deserialize_with = "present")]
    new: Said,
    /// The columns that an update may have changed, where `old` is not known.
    modified: Option<Vec<String>>,
    /// That it was there before, whatever `old` says.
    #[serde(default)]
    update: bool,
    /// The columns of the key; only for `app`, where no schema tells.
    key: Option<Vec<String>>,
}

/// Whether something was said of a row, and what.
#[derive(Debug, Default)]
enum Said {
    /// Nothing.
    #[default]
    Nothing,
    /// That there is none.
    Absent,
    /// What it looks like.
    Row(Image),
}

impl Said {
    fn row(&self) -> Option<&Image> {
        match self {
            Self::Row(image) => Some(image),
            Self::Nothing | Self::Absent => None,
        }
    }
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Said, D::Error> {
    Ok(match Option::<Image>::deserialize(source)? {
        None => Said::Absent,
        Some(image) => Said::Row(image),
    })
}

/// A row before and after; at least one is there.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    old: Option<&'a Image>,
    new: Option<&'a Image>,
}

impl Images<'_> {
    /// The row in terms of the columns that both images have. `own` gives the name and the form
    /// that its table has for a column and its value.
    pub fn into_row(
        self,
        table: &Arc<str>,
        key: &[Arc<str>],
        own: impl Fn(&str, Value) -> Result<(Arc<str>, Value), String>,
    ) -> Result<RowChange, String> {
        let read = |image: &Image| {
            let mut row = BTreeMap::new();
            for (column, json) in image {
                let value = literal::value(json).map_err(|why| {
                    let shown: String = column.chars().take(64).collect();
                    format!("`{shown}`: {why}")
                })?;
                let (column, value) = own(column, value)?;
                if row.insert(column.clone(), value).is_some() {
                    return Err(format!("`{column}` is there twice"));
                }
            }
            let missing = key.iter().find(|column| !row.contains_key(*column));
            missing.map_or(Ok(row), |column| {
                Err(format!("the key column `{column}` of {table} is missing"))
            })
        };
        let mut old = self.old.map(read).transpose()?;
        let mut new = self.new.map(read).transpose()?;
        // A column that only one of them names is unknown on the other side, so it counts as not
        // reported at all: then it may have changed in any way.
        if let (Some(old), Some(new)) = (&mut old, &mut new) {
            old.retain(|column, _| new.contains_key(column));
            new.retain(|column, _| old.contains_key(column));
        }
        let either = new.as_ref().or(old.as_ref()).into_iter();
        let columns: Arc<[Arc<str>]> = either.flat_map(BTreeMap::keys).cloned().collect();
        let place = |column: &Arc<str>| columns.binary_search(column).ok();
        let key = key.iter().filter_map(place).collect();
        let values = |row: BTreeMap<Arc<str>, Value>| row.into_values().collect();
        Ok(RowChange {
            table: table.clone(),
            key,
            old: old.map(values),
            new: new.map(values),
            columns,
        })
    }
}

impl Written {
    /// The origin it names, or `app`.
    pub fn origin(&self) -> Option<&str> {
        Some(self.table.split_once('.')?.0)
    }

    /// What it means among these tables.
    pub fn meaning(&self, names: &Names) -> Result<TrackedChange, Problem> {
        let images = self.images()?;
        let place = names.place(&self.table)?;
        let (timeline, row, modified) = match place {
            Place::Origin(tables, table) => {
                if self.key.is_some() {
                    let detail = "the key of an origin's table is known; leave `key` out";
                    return Err(Problem::new(Code::MalformedRequest, detail));
                }
                let modified = self.modified.as_deref();
                let modified = modified.map(|names| tables.columns(table, names)).transpose();
                let origin = self.origin().unwrap_or_default();
                (origin, tables.row(table, images), modified.map_err(unknown)?)
            }
            Place::App(kind) => {
                let own = |column: &str, value| Ok((column.into(), literal::on_app(value)));
                let row = images.into_row(&kind.into(), &self.app_key()?, own);
                let modified = self.modified.iter().flatten().map(|name| name.as_str().into());
                (APP, row, self.modified.is_some().then(|| modified.collect()))
            }
        };
        let row = row.map_err(unknown)?;
        let change = match self.is_past_known() {
            true => Change::Row(row),
            false => Change::After(After { row, modified }),
        };
        Ok(TrackedChange::untyped(timeline, change))
    }

    /// The two images, if they can be those of one change.
    fn images(&self) -> Result<Images<'_>, Problem> {
        let (old, new) = (self.old.row(), self.new.row());
        let detail = match (old, new) {
            (None, None) => "say how the row was (`old`), how it is (`new`), or both",
            (Some(_), None) if !matches!(self.new, Said::Absent) => {
                "say what became of the row: `new`, null if it was deleted"
            }
            (Some(_), None) if self.update => "an update leaves a row; say what is in `new`",
            _ => return Ok(Images { old, new }),
        };
        Err(Problem::new(Code::MalformedRequest, detail))
    }

    /// Whether it is known how the row was, or that it was not there.
    fn is_past_known(&self) -> bool {
        match self.old {
            Said::Row(_) => true,
            Said::Absent => !self.update && self.modified.is_none(),
            Said::Nothing => false,
        }
    }

    fn app_key(&self) -> Result<Vec<Arc<str>>, Problem> {
        let key: Vec<Arc<str>> =
            self.key.iter().flatten().map(|name| name.as_str().into()).collect();
        let distinct: BTreeSet<&Arc<str>> = key.iter().collect();
        match !key.is_empty() && distinct.len() == key.len() {
            true => Ok(key),
            false => {
                let detail = "no schema tells the key of a kind on `app`: name its columns, each \
                              once, as in \"key\": [\"id\"]";
                Err(Problem::new(Code::MalformedRequest, detail))
            }
        }
    }
}

fn unknown(detail: String) -> Problem {
    Problem::new(Code::UnknownItem, detail)
}
