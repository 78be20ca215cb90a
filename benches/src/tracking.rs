//! What tracking costs the application: its single-row commits, with and without triggers.
//!
//! Two databases that differ in nothing but the triggers and the log, written in turns. The table
//! has no index besides its key, so the triggers weigh as much as they can, and the log is as long
//! as it gets. **Invariant**: both sides make the same changes in the same order.

use anyhow::Result;
use larder::sqlite::Track;
use rusqlite::Connection;

use crate::{
    measure::{self, Random},
    report::Row,
    shop::{ITEMS, Shop},
};

const ROUNDS: usize = 31;

/// What the application waits for at each commit, and how many commits make a round.
const SYNC: [(&str, usize); 2] = [("NORMAL", 1_000), ("FULL", 100)];

/// A change of one row: its name, its text, and which rows it goes to.
struct Operation {
    name: &'static str,
    sql: &'static str,
    rows: Rows,
}

/// Which rows a change goes to.
#[derive(Clone, Copy)]
enum Rows {
    /// Those that are there from the start, at random.
    Present,
    /// New ones, one after the other.
    New,
}

/// In this order: the last deletes what the first inserted.
const OPERATIONS: [Operation; 4] = [
    Operation {
        name: "insert",
        sql: "INSERT INTO item VALUES (?1, ?1 % 100, ?2, 'a new item', 'nobody reads this')",
        rows: Rows::New,
    },
    Operation {
        name: "update a read column",
        sql: "UPDATE item SET price = ?2 WHERE id = ?1",
        rows: Rows::Present,
    },
    Operation {
        name: "update an unread column",
        sql: "UPDATE item SET note = ?2 WHERE id = ?1",
        rows: Rows::Present,
    },
    Operation {
        name: "delete",
        sql: "DELETE FROM item WHERE id = ?1 AND ?2 IS NOT NULL",
        rows: Rows::New,
    },
];

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (sync, commits) in SYNC {
        let shops = [Shop::new(Track::Rows)?, Shop::new(Track::Database)?];
        let [tracked, plain] = shops.each_ref().map(Shop::connect);
        let (tracked, plain) = (tracked?, plain?);
        for connection in [&tracked, &plain] {
            fill_log(connection)?;
            connection.pragma_update(None, "synchronous", sync)?;
        }
        for operation in &OPERATIONS {
            rows.push(compare(operation, [&tracked, &plain], sync, commits)?);
        }
        let logged: i64 =
            tracked.query_row("SELECT max(seq) FROM larder_log", [], |row| row.get(0))?;
        eprintln!("  synchronous={sync}: {logged} changes were logged");
    }
    Ok(rows)
}

/// Changes as many rows as the log keeps, so that from here on it is trimmed all the time.
fn fill_log(connection: &Connection) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for _ in 0..=100_000 / ITEMS {
        transaction.execute("UPDATE item SET price = price + 1", [])?;
    }
    transaction.commit()?;
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn compare(
    operation: &Operation,
    connections: [&Connection; 2],
    sync: &str,
    commits: usize,
) -> Result<Row> {
    let mut sides = Vec::new();
    for connection in connections {
        let mut statement = connection.prepare(operation.sql)?;
        let mut random = Random::new(9);
        let mut next = ITEMS;
        sides.push(move |_: usize| {
            for value in 0..commits as i64 {
                let id = match operation.rows {
                    Rows::Present => 1 + random.below(ITEMS.unsigned_abs()).cast_signed(),
                    Rows::New => {
                        next += 1;
                        next
                    }
                };
                let changed = statement.execute([id, value]).expect("the database can be written");
                assert_eq!(changed, 1, "one row changes");
            }
        });
    }
    let mut sides: Vec<&mut dyn FnMut(usize)> =
        sides.iter_mut().map(|side| side as &mut dyn FnMut(usize)).collect();
    let times = measure::in_turns(ROUNDS, commits, &mut sides);
    let [tracked, plain] = *times else { unreachable!("two sides were measured") };
    let name = format!("tracking/{}/synchronous={sync}", operation.name);
    Ok(Row::alone(name, tracked / 1e3, "us", ROUNDS).against("without triggers", plain / 1e3))
}
