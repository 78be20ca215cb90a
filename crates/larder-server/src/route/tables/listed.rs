//! What is told of a table: its indexes and its window, how it is, and its numbers.
//!
//! **Invariant**: no key of a record is in it but those of the window, and nothing that the origin
//! said of a failure.

use std::ops::Bound;

use larder_table::sql::RowKey;
use serde_json::{Value, json};

use crate::{
    server::Server,
    table::{Table, key, replica::Follower},
};

/// Ranges of a window that are shown; one that is adjusted over HTTP has one.
const SHOWN: usize = 8;

/// All tables.
pub(in crate::route) fn all(server: &Server) -> Vec<Value> {
    let own = server.catalog.tables.iter().map(|table| shown(table));
    own.chain(server.catalog.followers.iter().map(|follower| followed(follower))).collect()
}

/// One whose owner is another server.
fn followed(follower: &Follower) -> Value {
    let mut all = match follower.table() {
        Some(table) => shown(&table),
        None => json!({
            "name": follower.name,
            "path": format!("/v1/tables/{}", follower.name),
            "replica_of": follower.owner,
        }),
    };
    let stats = follower.stats();
    if let Value::Object(members) = &mut all {
        let age = stats.and_then(|stats| stats.age).map(|age| age.as_secs_f64());
        members.insert("state".to_owned(), follower.state().name().into());
        members.insert("age_seconds".to_owned(), age.into());
    }
    all
}

/// A table as JSON.
fn shown(table: &Table) -> Value {
    let stats = table.held.stats();
    let indexes = table.indexes.iter().map(|index| {
        let columns: Vec<&str> = index.columns.iter().map(|column| &*column.name).collect();
        json!({ "name": index.name, "columns": columns })
    });
    json!({
        "name": table.name,
        "path": format!("/v1/tables/{}", table.name),
        "origin": table.origin,
        "replica_of": table.replica_of,
        "reads": table.reads,
        "columns": table.columns.iter().map(|name| &**name).collect::<Vec<_>>(),
        "indexes": indexes.collect::<Vec<_>>(),
        "state": table.life.state().name(),
        "restored": table.life.is_restored(),
        "window": window(table),
        "records": stats.records,
        "bytes": stats.bytes,
        "limit_bytes": stats.bytes_max,
        "invalid": stats.invalid,
        "hits": stats.hits,
        "hits_with_refresh": stats.hits_with_refresh,
        "misses": stats.misses,
        "refreshes": stats.refreshes,
        "adjustments": stats.adjustments,
        "loaded": stats.loaded,
        "expired": stats.expired,
        "slide_failed": table.life.slide_failure().is_some(),
    })
}

fn window(table: &Table) -> Value {
    let slides = table.window.slides().is_some();
    let ranges = table.held.window().map(|ranges| {
        let ends = |(low, high)| json!({ "from": end(low), "to": end(high) });
        ranges.iter().take(SHOWN).map(ends).collect::<Vec<_>>()
    });
    json!({ "index": table.window.by, "slides": slides, "ranges": ranges })
}

/// An end of a range; null where it has none. Windows begin with a key and end before one.
fn end(bound: Bound<&RowKey>) -> Value {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => key::shown(key.values()),
        Bound::Unbounded => Value::Null,
    }
}
