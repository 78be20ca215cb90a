//! How far a check is: steps of SQLite's machine, out of as many as it will take.
//!
//! Apart from the check, which knows nothing of who waits for it. The length is worked out before
//! it begins, from how many rows there are; the steps are those that SQLite really makes.
//! **Invariant**: what is told never goes back and never above the length, and a file whose rows
//! cannot be counted is checked all the same.

use std::sync::Arc;

use larder_core::Error;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{check::Depth, writer::Writing};

/// Steps between two reports: some hundred microseconds. With ten times less the reports cost more
/// than the work, with a hundred times more a check of a small file would be over before the first.
const STEPS: i32 = 10_000;

/// Who is told of steps that are done, and of those that there are.
pub(crate) type Told = Arc<Mutex<dyn FnMut(u64, u64) + Send>>;

/// Tells `told` from now on how far the check of that depth is which `connection` makes.
pub(crate) fn tell(connection: &mut Connection, depth: Depth, told: &Told) -> Result<(), Error> {
    // What is broken is found by the check itself.
    let length = length(connection, depth).unwrap_or(0);
    let (told, mut done) = (told.clone(), 0);
    let step = move || {
        done = length.min(done + u64::from(STEPS.unsigned_abs()));
        if 0 < length {
            told.lock()(done, length);
        }
        false
    };
    connection.progress_handler(STEPS, Some(step)).map_err(Writing::failed("check the store"))
}

/// About how many steps a check takes. The factors were counted on stores of 20 000 entries with
/// and without tags, and grow with the number of rows and with nothing else.
fn length(connection: &Connection, depth: Depth) -> rusqlite::Result<u64> {
    let (of_entry, of_tag) = match depth {
        Depth::Quick => (39, 7),
        Depth::Full => (63, 47),
    };
    let (of_link, of_linked) = (8, 8);
    // Counting all rows of a table is one step, and takes a hundredth of what checking them does.
    let count = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    Ok(of_entry * count("SELECT count(*) FROM entry")?
        + of_tag * count("SELECT count(*) FROM tagged")?
        + of_link * count("SELECT count(*) FROM link")?
        + of_linked * count("SELECT count(*) FROM linked")?)
}
