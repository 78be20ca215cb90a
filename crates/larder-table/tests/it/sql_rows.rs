//! Rows of SQLite's change log that are put in their place without a query: under random statements
//! the table shows what the database has, and what the log tells exactly is not asked for.

mod ground;

mod statements;

use larder_core::ErrorKind;
use larder_table::Ranges;
use larder_testkit::random::{Random, seeds};

use ground::{Database, Ground, SCHEMAS, Schema, key};
use statements::transaction;

/// Transactions of a run; each is one to five statements, and about two in three are read at once.
const TRANSACTIONS: usize = 150;

fn plain() -> &'static Schema {
    SCHEMAS.first().expect("there are schemas")
}

/// Runs random transactions and compares after most of them.
async fn run(schema: &Schema, seed: u64) -> Ground {
    let mut random = Random::new(seed);
    let ground = Ground::new(schema).await;
    for number in 0..TRANSACTIONS {
        let statements = transaction(&mut random);
        ground.database.write(&statements);
        if random.once_in(3) && number + 1 != TRANSACTIONS {
            continue;
        }
        match random.below(8) {
            0 => ground.adjust(Ranges::all()).await,
            1 => ground.adjust(Ranges::of(key(3)..key(7)).unwrap()).await,
            _ => {}
        }
        let about =
            format!("{} with seed {seed}, transaction {number}: {statements:?}", schema.name);
        ground.compare(&about).await;
    }
    ground
}

/// T15: inserts, upserts, REPLACE, IGNORE, updates of keys, deletes, cascades, savepoints and
/// rollbacks, several commits at once, windows that move.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_put_in_their_place_are_those_of_the_database() {
    for seed in seeds() {
        for schema in SCHEMAS {
            let ground = run(schema, seed).await;
            let stats = ground.table.stats();
            println!("{}: {} refreshes", schema.name, stats.refreshes);
        }
    }
}

/// What is told exactly costs no query, with whatever statement it was written.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_log_tells_whole_are_not_asked_for() {
    let ground = Ground::new(plain()).await;
    let told = [
        "INSERT INTO item VALUES (1, 'a', NULL, 0.5, x'00'), (2, 'b', NULL, 1.0, 'x')",
        "UPDATE item SET value = 2.5 WHERE id = 1",
        "INSERT INTO item VALUES (1, 'a', NULL, 7.5, NULL)
         ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        "REPLACE INTO item VALUES (1, 'a', NULL, 8.5, NULL)",
        "UPDATE item SET id = 3, code = 'c' WHERE id = 2",
        "BEGIN; INSERT INTO item VALUES (4, 'd', NULL, 1, 1); SAVEPOINT s; DELETE FROM item;
         ROLLBACK TO s; UPDATE item SET value = value + 1; COMMIT",
        "DELETE FROM item WHERE id = 4",
    ];
    for sql in told {
        ground.database.write(&[sql.to_owned()]);
        ground.compare(sql).await;
        assert_eq!(ground.table.stats().refreshes, 0, "{sql}");
    }
    let asked = [
        // Row 1 is in the way, and stays.
        "INSERT OR IGNORE INTO item VALUES (1, 'z', NULL, 0, NULL)",
        "INSERT INTO item VALUES (1, 'z', NULL, 0, NULL)
         ON CONFLICT (id) DO UPDATE SET value = 0 WHERE value < 0",
        // Row 3 is in the way by its code, and goes.
        "REPLACE INTO item VALUES (9, 'c', NULL, 0, NULL)",
        // The log has a float as the integer that it equals where a column has no type.
        "UPDATE item SET extra = 1.0 WHERE id = 9",
    ];
    for (count, sql) in (1..).zip(asked) {
        ground.database.write(&[sql.to_owned()]);
        ground.compare(sql).await;
        assert_eq!(ground.table.stats().refreshes, count, "{sql}");
    }
}

/// Without being asked to, the log tells keys only, and nobody pays for more.
#[tokio::test(flavor = "multi_thread")]
async fn log_tells_whole_rows_only_where_that_is_asked_for() {
    let ground = Ground::with(plain(), |_| ()).await;
    ground.database.write(&["INSERT INTO item VALUES (1, 'a', NULL, 0.5, NULL)".to_owned()]);
    ground.compare("insert").await;
    assert_eq!(ground.table.stats().refreshes, 1);
    assert_eq!(ground.database.logged(), ["id"]);
    let ground = Ground::new(plain()).await;
    assert_eq!(ground.database.logged(), ["code", "extra", "id", "parent", "value"]);
}

/// Only where the result is the rows themselves.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_other_results_are_refused_as_records() {
    for sql in [
        "SELECT i.id, p.name FROM item i JOIN parent p ON p.id = i.parent",
        "SELECT id, value FROM item WHERE value > 1",
        "SELECT id, value + 1 AS value FROM item",
        "SELECT id, value FROM item ORDER BY value LIMIT 3",
        "SELECT DISTINCT id, value FROM item",
        "SELECT i.id, code FROM item i, json_each('[1, 2]')",
    ] {
        let database = Database::new(plain());
        let mut definition = database.definition(sql);
        let error = definition.rows_are_records().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{sql}");
        assert!(error.to_string().contains("`items`"), "{error}");
    }
}
