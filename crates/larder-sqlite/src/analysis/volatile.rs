//! What can change a result though no table changes: the clock, randomness, the connection.
//!
//! SQLite's own list of functions says which are not deterministic. The functions for date and
//! time are on it as deterministic, because they are unless they are given the word `now`; so
//! their arguments are read. **Invariant**: a call that cannot be read counts as volatile.

use std::collections::BTreeSet;

use larder_core::Error;
use rusqlite::Connection;

use super::{authorizer::Reads, parse::Parsed};
use crate::error::from_driver;

/// Functions that read the clock or the machine's time zone if their arguments say so.
pub(super) const CLOCKS: [&str; 7] =
    ["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"];

/// Functions of full-text search and of SQLite itself that are not marked deterministic and are.
///
/// Whoever uses the first five reads a virtual table, which is watched as a whole.
const STEADY: [&str; 9] = [
    "match",
    "bm25",
    "highlight",
    "snippet",
    "offsets",
    "matchinfo",
    "sqlite_version",
    "sqlite_source_id",
    "sqlite_compileoption_used",
];

/// Why the result can change by itself, in words; `None` when it cannot.
///
/// `texts` are the statement and the views it reads, each parsed or not.
pub(super) fn reason(
    connection: &Connection,
    reads: &Reads,
    texts: &[Option<Parsed>],
) -> Result<Option<String>, Error> {
    let known = volatile_functions(connection)
        .map_err(|error| from_driver("read", "the list of functions", &error))?;
    let named = reads.functions.iter().find(|function| known.contains(*function));
    if let Some(function) = named {
        return Ok(Some(format!("it calls {function}()")));
    }
    let pragma = reads.tables.keys().find(|table| is_pragma(table));
    if let Some(table) = pragma {
        return Ok(Some(format!("it reads {table}, the state of a connection")));
    }
    let clock = reads.functions.iter().find_map(|function| why_clock(function, texts));
    Ok(clock)
}

/// Whether the name is that of a pragma's table-valued function.
pub(super) fn is_pragma(table: &str) -> bool {
    table.to_ascii_lowercase().starts_with("pragma_")
}

fn why_clock(function: &str, texts: &[Option<Parsed>]) -> Option<String> {
    if !CLOCKS.contains(&function) {
        return None;
    }
    if texts.iter().any(Option::is_none) {
        return Some(format!("it calls {function}() and could not be parsed"));
    }
    let calls = || {
        let calls = texts.iter().flatten().flat_map(|text| &text.clocks);
        calls.filter(|call| call.function == function)
    };
    if calls().next().is_none() {
        return Some(format!("it calls {function}() in a place that was not found"));
    }
    calls()
        .any(|call| call.reads_clock)
        .then(|| format!("it calls {function}() with the current time or a client's word for it"))
}

fn volatile_functions(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    // 2048 is SQLITE_DETERMINISTIC. SQLite marks its own aggregates with nothing at all.
    let mut statement = connection.prepare(
        "SELECT DISTINCT lower(name) FROM pragma_function_list \
         WHERE flags & 2048 = 0 AND (type = 's' OR NOT builtin)",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut names = names.collect::<rusqlite::Result<BTreeSet<_>>>()?;
    for steady in STEADY {
        names.remove(steady);
    }
    Ok(names)
}
