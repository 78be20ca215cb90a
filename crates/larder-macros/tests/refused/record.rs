//! Records that could not be told from each other, and words that mean nothing where they stand.

use larder::table::Record;

#[derive(Record)]
struct NoKey {
    id: u64,
}

#[derive(Record)]
struct Twice {
    #[record(key)]
    id: u64,
    #[record(column = "id")]
    other: u64,
}

#[derive(Record)]
#[record(table = "reading")]
struct Word {
    #[record(key)]
    id: u64,
}

#[derive(Record)]
struct Field {
    #[record(id)]
    id: u64,
}

#[derive(Record)]
struct Tuple(u64);

#[derive(Record)]
struct Unordered {
    #[record(key)]
    value: f64,
}

fn main() {}
