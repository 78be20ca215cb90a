//! The differential test: when a result changed, its entry must have been invalidated.
//!
//! Contents, in reading order:
//!
//! - `schema`, `resource`, `change`: random schemas, statements and transactions, as text;
//! - `case`: the three together, and how a failing case is made small;
//! - `simulated`: the analysis alone, with row changes taken from whole tables;
//! - `tracked`: the whole way, from real triggers through the log and the feed;
//! - `tally`: what was seen, and how often an entry fell for nothing, by shape.
//!
//! `LARDER_SOAK_SEED` repeats a run, `LARDER_SOAK_BUDGET=full` makes it long: a million row changes
//! or more. Mutants show that each kind of mistake would be found.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use larder_core::{Clock, Moment};
use rusqlite::Connection;

use crate::{
    case::{Case, Size},
    random::Random,
    simulated::Lens,
    tally::Tally,
};

mod random;

mod schema;

mod resource;

mod change;

mod case;

mod snapshot;

mod simulated;

mod tracked;

mod tally;

#[path = "../it/place.rs"]
#[allow(dead_code, reason = "shared with the tests beside this one, which use the rest")]
mod place;

const SIZE: Size = Size { resources: 24, transactions: 150 };

/// Row changes of a run with the full budget.
const FULL_CHANGES: u64 = 1_000_000;

#[test]
fn changed_results_are_invalidated() {
    let mut random = Random::new(seed());
    let mut tally = Tally::default();
    let end = deadline(Duration::from_secs(10));
    let shapes = ["id", "scope", "join-scope", "mixed", "table"];
    let is_void = |tally: &Tally| {
        !tally.is_enough(10, &shapes) || (is_full() && tally.changes < FULL_CHANGES)
    };
    while clock().now() < end || is_void(&tally) {
        let case = Case::random(random.next(), SIZE);
        if let Some(failure) = simulated::run(&case, &Lens::clear(), &mut tally) {
            let fails = |case: &Case| simulated::run(case, &Lens::clear(), &mut Tally::default());
            panic!("seed {}: {}", seed(), case.shrink(failure, fails));
        }
    }
    tally.print(&format!("analysis against whole tables, seed {}", seed()));
}

/// Smaller than the simulated ones: each makes a file, and each look at it is a few system calls.
const TRACKED_SIZE: Size = Size { resources: 14, transactions: 80 };

#[test]
fn changed_results_are_invalidated_through_triggers_and_log() {
    through_triggers_and_log("origin, triggers and log", |_, _| {});
}

#[test]
fn changed_results_are_invalidated_where_the_log_is_deleted_from() {
    through_triggers_and_log("a log that is deleted from", |random, case| {
        change::delete_from_the_log(random, &mut case.transactions);
    });
}

#[track_caller]
fn through_triggers_and_log(title: &str, edit: fn(&mut Random, &mut Case)) {
    let mut random = Random::new(seed() ^ 0x5eed);
    let mut tally = Tally::default();
    let end = deadline(Duration::from_secs(10));
    while clock().now() < end || !tally.is_enough(3, &["id", "scope", "table"]) {
        let mut case = Case::random(random.next(), TRACKED_SIZE);
        edit(&mut random, &mut case);
        if let Some(failure) = tracked::run(&case, &mut tally) {
            let fails = |case: &Case| tracked::run(case, &mut Tally::default());
            panic!("seed {}: {}", seed(), case.shrink(failure, fails));
        }
    }
    tally.print(&format!("{title}, seed {}", seed()));
}

/// The case on which this test once took gigabytes.
const RUNAWAY: u64 = 7_502_716_142_751_392_927;

#[test]
fn a_case_whose_triggers_run_away_goes_alike_each_time() {
    let case = Case::random(RUNAWAY, SIZE);
    let [first, second] = [(); 2].map(|()| {
        let mut tally = Tally::default();
        assert!(simulated::run(&case, &Lens::clear(), &mut tally).is_none());
        tally
    });
    assert_eq!(first, second);
    let case = Case::random(RUNAWAY, TRACKED_SIZE);
    let [first, second] = [(); 2].map(|()| {
        let mut tally = Tally::default();
        assert!(tracked::run(&case, &mut tally).is_none());
        tally
    });
    assert_eq!(first, second);
}

#[test]
fn a_statement_that_runs_away_takes_its_transaction_with_it() {
    let mut connection = Connection::open_in_memory().unwrap();
    let doubling =
        "CREATE TRIGGER app AFTER UPDATE ON T0 BEGIN INSERT INTO T0 SELECT * FROM T0; END";
    let twelve = "INSERT INTO T0 VALUES (1), (1), (1), (1), (1), (1), (1), (1), (1), (1), (1), (1)";
    let schema = ["CREATE TABLE T0(g)", twelve, doubling].map(str::to_owned);
    simulated::prepare_connection(&connection, &schema);
    let transaction = ["BEGIN", "DELETE FROM T0 WHERE rowid = 1", "UPDATE T0 SET g = 2", "COMMIT"];
    simulated::execute(&mut connection, &transaction.map(str::to_owned));
    let left = "SELECT count(*), sum(g) FROM T0";
    let left = connection.query_row(left, [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(left, Ok((12, 12)));
}

/// Runs until the mutant is caught.
#[track_caller]
fn catch(name: &str, lens: Lens) {
    let mut random = Random::new(seed());
    let mut tally = Tally::default();
    for _ in 0..2_000 {
        let case = Case::random(random.next(), SIZE);
        if simulated::run(&case, &lens, &mut tally).is_some() {
            println!("{name}: caught after {} row changes", tally.changes);
            return;
        }
    }
    panic!("{name} was not caught in {} row changes", tally.changes);
}

#[test]
fn or_taken_for_and_is_caught() {
    catch("or", Lens { sql: |sql| sql.replace(" OR ", " AND "), ..Lens::clear() });
}

#[test]
fn an_outer_join_taken_for_an_inner_one_is_caught() {
    catch("outer join", Lens { sql: |sql| sql.replace("LEFT JOIN", "JOIN"), ..Lens::clear() });
}

#[test]
fn a_collation_not_looked_at_is_caught() {
    let schema = |sql: &str| sql.replace(" COLLATE NOCASE", "").replace(" COLLATE RTRIM", "");
    catch("collation", Lens { schema, ..Lens::clear() });
}

#[test]
fn an_affinity_not_looked_at_is_caught() {
    let schema =
        |sql: &str| sql.replace("INTEGER", "").replace("NUMERIC", "").replace("STRICT", "");
    catch("affinity", Lens { schema, ..Lens::clear() });
}

#[test]
fn a_list_taken_for_its_first_item_is_caught() {
    let sql = |sql: &str| match sql.split_once(" IN (") {
        Some((head, tail)) => match tail.split_once(", ") {
            Some((first, rest)) => {
                let rest = rest.split_once(')').map_or("", |(_, rest)| rest);
                format!("{head} = {first}{rest}")
            }
            None => sql.to_owned(),
        },
        None => sql.to_owned(),
    };
    catch("list", Lens { sql, ..Lens::clear() });
}

#[test]
fn a_displaced_row_that_is_not_logged_is_caught() {
    catch("displaced row", Lens { forgets_displaced: true, ..Lens::clear() });
}

#[test]
fn a_column_missing_from_the_mask_is_caught() {
    let log_columns = |analysis: &mut larder_sqlite::analysis::Analysis| {
        for read in &mut analysis.tables {
            read.columns.retain(|column| &**column != "g");
        }
    };
    catch("mask", Lens { log_columns, ..Lens::clear() });
}

fn seed() -> u64 {
    std::env::var("LARDER_SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn is_full() -> bool {
    std::env::var("LARDER_SOAK_BUDGET").is_ok_and(|budget| budget == "full")
}

fn clock() -> Clock {
    Clock::system()
}

fn deadline(small: Duration) -> Moment {
    clock().now().plus(if is_full() { 20 * small } else { small })
}
