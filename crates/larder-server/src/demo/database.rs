//! The music shop: a made-up database, the same on every machine.
//!
//! Written under another name and renamed when it is complete. **Invariant**: a database with the
//! final name is whole; one of another size or version is made again.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::{Connection, Statement, params};

use crate::say;

/// The name of the file.
pub const FILE: &str = "shop.sqlite";

/// Counts up with every change of what is generated.
const VERSION: u32 = 1;

/// About 10 GB, and what fits into the mark.
const ORDER_LINES_MAX: u32 = 100_000_000;

const ARTISTS: i64 = 1_000;
const ALBUMS: i64 = 5_000;
const TRACKS: i64 = 50_000;
const CUSTOMERS: i64 = 20_000;
const LINES_OF_AN_ORDER: i64 = 4;
const GENRES: [&str; 10] =
    ["Rock", "Jazz", "Pop", "Blues", "Folk", "Soul", "Metal", "Opera", "Reggae", "Techno"];

const SCHEMA: &str = "
CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT NOT NULL);
CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT NOT NULL,
    ArtistId INTEGER NOT NULL REFERENCES Artist);
CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, Name TEXT NOT NULL, Genre TEXT NOT NULL,
    Cents INTEGER NOT NULL, AlbumId INTEGER NOT NULL REFERENCES Album);
CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, Name TEXT NOT NULL);
CREATE TABLE Orders (OrderId INTEGER PRIMARY KEY, Day TEXT NOT NULL, Cents INTEGER NOT NULL,
    CustomerId INTEGER NOT NULL REFERENCES Customer);
CREATE TABLE OrderLine (OrderLineId INTEGER PRIMARY KEY, Quantity INTEGER NOT NULL,
    Cents INTEGER NOT NULL, TrackId INTEGER NOT NULL REFERENCES Track,
    OrderId INTEGER NOT NULL REFERENCES Orders);";

const INDEXES: [&str; 5] = [
    "CREATE INDEX AlbumOfArtist ON Album (ArtistId)",
    "CREATE INDEX TrackOfGenre ON Track (Genre)",
    "CREATE INDEX OrderOfCustomer ON Orders (CustomerId)",
    "CREATE INDEX LineOfTrack ON OrderLine (TrackId)",
    "CREATE INDEX LineOfOrder ON OrderLine (OrderId)",
];

/// Makes the database, unless it is there already.
pub fn ensure(path: &Path, order_lines: u32) -> Result<()> {
    if is_whole(path, order_lines) {
        say!("the shop is already in {}", path.display());
        return Ok(());
    }
    if ORDER_LINES_MAX < order_lines {
        bail!("{order_lines} order lines are too many for a demo, at most {ORDER_LINES_MAX}");
    }
    say!("making a music shop with {order_lines} order lines in {}", path.display());
    let unfinished = path.with_extension("unfinished");
    for old in [path, &unfinished] {
        remove_with_companions(old)?;
    }
    let progress = progress(order_lines);
    generate(&unfinished, order_lines, &progress)
        .with_context(|| format!("cannot make the database {}", unfinished.display()))?;
    progress.finish_and_clear();
    std::fs::rename(&unfinished, path)
        .with_context(|| format!("cannot rename the database to {}", path.display()))?;
    Ok(())
}

/// What the file says of itself in `user_version`: its version and size.
///
/// It has 31 bits: four for the version.
fn mark(order_lines: u32) -> u32 {
    VERSION << 27 | order_lines & ((1 << 27) - 1)
}

fn is_whole(path: &Path, order_lines: u32) -> bool {
    let open = || -> rusqlite::Result<u32> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        Connection::open_with_flags(path, flags)?
            .pragma_query_value(None, "user_version", |row| row.get(0))
    };
    path.exists() && open().is_ok_and(|found| found == mark(order_lines))
}

fn remove_with_companions(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("cannot remove {}: {error}", Path::new(&name).display());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress(order_lines: u32) -> ProgressBar {
    let bar = ProgressBar::new(order_lines.into());
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} rows, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn generate(path: &Path, order_lines: u32, progress: &ProgressBar) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    // Nothing is lost if the machine stops now: the file has not got its name yet.
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;",
    )?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    catalog(&transaction)?;
    orders(&transaction, order_lines, progress)?;
    for index in INDEXES {
        progress.set_message(index);
        transaction.execute_batch(index)?;
    }
    transaction.commit()?;
    connection.execute_batch("ANALYZE; PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;")?;
    connection.execute_batch(&format!("PRAGMA user_version = {}", mark(order_lines)))?;
    connection.close().map_err(|(_, error)| error)
}

/// Artists, albums, tracks and customers.
fn catalog(db: &Connection) -> rusqlite::Result<()> {
    let mut random = Random(1);
    let mut insert = db.prepare("INSERT INTO Artist VALUES (?1, ?2)")?;
    for id in 1..=ARTISTS {
        insert.execute(params![id, name(&mut random, "The ")])?;
    }
    let mut insert = db.prepare("INSERT INTO Album VALUES (?1, ?2, ?3)")?;
    for id in 1..=ALBUMS {
        insert.execute(params![id, name(&mut random, ""), 1 + random.below(ARTISTS)])?;
    }
    let mut insert = db.prepare("INSERT INTO Track VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for id in 1..=TRACKS {
        let genre = GENRES.get(random.index(GENRES.len())).copied().unwrap_or("Rock");
        let album = 1 + random.below(ALBUMS);
        insert.execute(params![id, name(&mut random, ""), genre, cents(id), album])?;
    }
    let mut insert = db.prepare("INSERT INTO Customer VALUES (?1, ?2)")?;
    for id in 1..=CUSTOMERS {
        insert.execute(params![id, name(&mut random, "")])?;
    }
    Ok(())
}

/// The price that a track has at first.
fn cents(track: i64) -> i64 {
    79 + track % 5 * 20
}

fn orders(db: &Connection, order_lines: u32, progress: &ProgressBar) -> rusqlite::Result<()> {
    let mut random = Random(2);
    let mut order = db.prepare("INSERT INTO Orders VALUES (?1, ?2, ?3, ?4)")?;
    let mut line = db.prepare("INSERT INTO OrderLine VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let lines = i64::from(order_lines);
    for id in 1..=(lines + LINES_OF_AN_ORDER - 1) / LINES_OF_AN_ORDER {
        let first = (id - 1) * LINES_OF_AN_ORDER + 1;
        let last = (first + LINES_OF_AN_ORDER - 1).min(lines);
        let total = insert_lines(&mut line, &mut random, id, first..=last)?;
        let customer = 1 + random.below(CUSTOMERS);
        order.execute(params![id, day(id), total, customer])?;
        if id % 4096 == 0 {
            progress.set_position(last.unsigned_abs());
        }
    }
    Ok(())
}

/// Inserts the lines of one order, and gives its price.
fn insert_lines(
    insert: &mut Statement<'_>,
    random: &mut Random,
    order: i64,
    lines: std::ops::RangeInclusive<i64>,
) -> rusqlite::Result<i64> {
    let mut total = 0;
    for line in lines {
        let track = 1 + random.below(TRACKS);
        let quantity = 1 + random.below(3);
        insert.execute(params![line, quantity, cents(track), track, order])?;
        total += cents(track) * quantity;
    }
    Ok(total)
}

/// Orders spread over some years, twenty-eight days to a month.
fn day(order: i64) -> String {
    let day = order / 160;
    format!("20{:02}-{:02}-{:02}", 20 + day / 336 % 80, 1 + day / 28 % 12, 1 + day % 28)
}

const WORDS: [&str; 32] = [
    "Amber", "Brass", "Cedar", "Delta", "Ember", "Fable", "Glass", "Harbor", "Indigo", "Juniper",
    "Kite", "Lantern", "Marble", "Night", "Ocean", "Paper", "Quiet", "River", "Silver", "Thunder",
    "Umber", "Velvet", "Winter", "Yonder", "Zephyr", "Copper", "Meadow", "Orchard", "Pilot",
    "Raven", "Sparrow", "Violet",
];

fn name(random: &mut Random, article: &str) -> String {
    let mut word = || WORDS.get(random.index(WORDS.len())).copied().unwrap_or("Amber");
    format!("{article}{} {}", word(), word())
}

/// splitmix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from zero to just below `bound`.
    fn below(&mut self, bound: i64) -> i64 {
        (self.next() >> 1).cast_signed() % bound
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_is_the_same_every_time_and_is_made_once() {
        let dir = std::env::temp_dir().join(format!("larder-shop-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let total = |name: &str| -> (i64, i64) {
            let path = dir.join(name);
            ensure(&path, 1003).unwrap();
            assert!(is_whole(&path, 1003) && !is_whole(&path, 1004));
            let sql = "SELECT count(*), sum(Cents * Quantity * OrderLineId) FROM OrderLine";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            Connection::open(&path).unwrap().query_row(sql, [], row).unwrap()
        };
        let first = total("a.sqlite");
        assert_eq!(first.0, 1003);
        assert_eq!(first, total("b.sqlite"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
