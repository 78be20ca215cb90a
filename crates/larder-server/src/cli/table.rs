//! `larder table`: what can be typed about the tables of a running server.
//!
//! Apart from `cache.rs`, which is about a store and may have no server. **Invariant**: a key is
//! written as in the URLs of the server.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::AtServer;

/// `larder table`
#[derive(Args, Debug)]
pub struct Table {
    /// What to do.
    #[command(subcommand)]
    pub what: TableCommand,
}

/// What `larder table` can do.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// List the tables, and how they are.
    Ls(TableLs),
    /// Show a page of the records in a range of an index.
    Get(TableGet),
    /// Move the window of a table to a range of the index that it is on.
    Adjust(TableAdjust),
    /// Have records loaded again before the next read that touches them.
    Invalidate(TableInvalidate),
    /// Load now what is invalid.
    Refresh(TableRefresh),
    /// Show the numbers of one table, or of all.
    Stats(TableStats),
}

/// Which server, and how to print.
#[derive(Args, Clone, Debug)]
pub struct Asking {
    /// Which server.
    #[command(flatten)]
    pub server: AtServer,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder table ls`
#[derive(Args, Debug)]
pub struct TableLs {
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// `larder table get`
#[derive(Args, Debug)]
pub struct TableGet {
    /// The table.
    pub table: String,
    /// The index [default: primary]
    #[arg(long, value_name = "NAME")]
    pub index: Option<String>,
    /// The first key, or what it begins with: 7,2026-01-01 or [7, "2026-01-01"].
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// The first key behind the range.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// What all keys begin with, in place of a range.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["from", "to"])]
    pub prefix: Option<String>,
    /// Another index in which the records lie within a range as well.
    #[arg(long, value_name = "NAME")]
    pub and: Option<String>,
    /// The first key of that range.
    #[arg(long, value_name = "KEY", requires = "and", allow_hyphen_values = true)]
    pub and_from: Option<String>,
    /// The first key behind that range.
    #[arg(long, value_name = "KEY", requires = "and", allow_hyphen_values = true)]
    pub and_to: Option<String>,
    /// From which end.
    #[arg(long, default_value = "asc")]
    pub order: TableOrder,
    /// Records at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: u32,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// What is done about what the window does not cover.
    #[arg(long, default_value = "load")]
    pub outside: TableOutside,
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// From which end records are read.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TableOrder {
    /// From the first one on.
    Asc,
    /// From the last one back.
    Desc,
}

/// What a read does about what the window does not cover.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TableOutside {
    /// Loads what is missing.
    Load,
    /// Loads all that is asked.
    LoadAll,
    /// Fails.
    Refuse,
}

/// `larder table adjust`
#[derive(Args, Debug)]
pub struct TableAdjust {
    /// The table.
    pub table: String,
    /// The first key of the window [default: the first there is]
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub from: Option<Typed>,
    /// The first key behind it [default: none]
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub to: Option<Typed>,
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// `larder table invalidate`
#[derive(Args, Debug)]
#[group(id = "what", required = true, multiple = true, args = ["old", "new", "key"])]
pub struct TableInvalidate {
    /// The table.
    pub table: String,
    /// The index of --old and --new [default: primary]
    #[arg(long, value_name = "NAME")]
    pub index: Option<String>,
    /// Where records were: a key, what keys begin with, or FROM..TO.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub old: Vec<Span>,
    /// Where they are.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub new: Vec<Span>,
    /// The primary key of a record.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: Vec<Typed>,
    /// Let reads go on with what is there until somebody refreshes.
    #[arg(long)]
    pub serve_stale: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// `larder table refresh`
#[derive(Args, Debug)]
pub struct TableRefresh {
    /// The table.
    pub table: String,
    /// Everything in the window, and not only what is invalid.
    #[arg(long)]
    pub all: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// `larder table stats`
#[derive(Args, Debug)]
pub struct TableStats {
    /// The table [default: all]
    pub table: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub asking: Asking,
}

/// A key as JSON: what looks like a number is one, unless it is written as a JSON list.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed(pub Value);

impl FromStr for Typed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('[') {
            let list = serde_json::from_str(text).map_err(|error| error.to_string());
            return list.map(Self);
        }
        let part = |part: &str| match part.parse::<serde_json::Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => part.into(),
        };
        Ok(Self(text.split(',').map(part).collect()))
    }
}

/// A key, or a range of them, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Span(pub Value);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((from, to)) = text.split_once("..").filter(|_| !text.starts_with('[')) else {
            return text.parse::<Typed>().map(|Typed(key)| Self(key));
        };
        let mut range = json!({});
        for (name, end) in [("from", from), ("to", to)] {
            if let (false, Value::Object(members)) = (end.is_empty(), &mut range) {
                members.insert(name.to_owned(), end.parse::<Typed>()?.0);
            }
        }
        Ok(Self(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ranges_are_typed_as_they_look_or_as_json_says() {
        let span = |text: &str| text.parse::<Span>().unwrap().0;
        assert_eq!(span("7,2026-01-01"), json!([7, "2026-01-01"]));
        assert_eq!(span(r#"["7"]"#), json!(["7"]));
        assert_eq!(span("1..9"), json!({ "from": [1], "to": [9] }));
        assert_eq!(span("-1.."), json!({ "from": [-1] }));
        assert_eq!(span("1.5"), json!([1.5]));
        assert!("[7".parse::<Span>().is_err());
    }
}
