//! `larder demo change`: another program changes a row.
//!
//! It opens the database like any application and knows nothing of a cache. **Invariant**: it does
//! not talk to the server in any way.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::cli::Change;

/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Applies the change and says what it did.
pub fn apply(database: &Path, change: &Change) -> Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(database, flags).with_context(|| {
        format!("there is no shop in {}; start `larder demo` first", database.display())
    })?;
    db.busy_timeout(PATIENCE)?;
    match change {
        Change::Artist { id, name } => rename(&db, *id, name.as_deref()),
        Change::Price { id, cents } => reprice(&db, *id, *cents),
        Change::Order { customer, track } => order(&mut db, *customer, *track),
    }
}

fn rename(db: &Connection, id: i64, name: Option<&str>) -> Result<String> {
    let sql = "SELECT Name FROM Artist WHERE ArtistId = ?1";
    let old: Option<String> = db.query_row(sql, [id], |row| row.get(0)).optional()?;
    let Some(old) = old else { bail!("there is no artist {id}") };
    let new = name.map_or_else(|| counted_up(&old), str::to_owned);
    db.execute("UPDATE Artist SET Name = ?2 WHERE ArtistId = ?1", params![id, new])?;
    Ok(format!("artist {id} was \"{old}\" and is now \"{new}\""))
}

/// `The Night 2` after `The Night`, `The Night 3` after that.
fn counted_up(name: &str) -> String {
    let counted = name.rsplit_once(' ').and_then(|(start, end)| {
        let number: u64 = end.parse().ok()?;
        Some(format!("{start} {}", number + 1))
    });
    counted.unwrap_or_else(|| format!("{name} 2"))
}

fn reprice(db: &Connection, id: i64, cents: Option<i64>) -> Result<String> {
    let sql = "SELECT Cents FROM Track WHERE TrackId = ?1";
    let old: Option<i64> = db.query_row(sql, [id], |row| row.get(0)).optional()?;
    let Some(old) = old else { bail!("there is no track {id}") };
    let new = cents.unwrap_or(old + 1);
    db.execute("UPDATE Track SET Cents = ?2 WHERE TrackId = ?1", params![id, new])?;
    Ok(format!("track {id} cost {old} cents and costs {new} now"))
}

fn order(db: &mut Connection, customer: i64, track: i64) -> Result<String> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let sql = "SELECT Cents FROM Track WHERE TrackId = ?1";
    let price: Option<i64> = transaction.query_row(sql, [track], |row| row.get(0)).optional()?;
    let Some(price) = price else { bail!("there is no track {track}") };
    let sql = "INSERT INTO Orders (Day, Cents, CustomerId) VALUES (date('now'), ?1, ?2)";
    transaction.execute(sql, [price, customer])?;
    let id = transaction.last_insert_rowid();
    let sql = "INSERT INTO OrderLine (Quantity, Cents, TrackId, OrderId) VALUES (1, ?1, ?2, ?3)";
    transaction.execute(sql, [price, track, id])?;
    transaction.commit()?;
    Ok(format!("customer {customer} bought track {track} for {price} cents with order {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_up() {
        assert_eq!(counted_up("The Night"), "The Night 2");
        assert_eq!(counted_up("The Night 2"), "The Night 3");
        assert_eq!(counted_up("1999"), "1999 2");
    }
}
