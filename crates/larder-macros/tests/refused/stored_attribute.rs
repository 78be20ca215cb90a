//! Words that mean nothing where they stand, and names that are there twice.

use larder::Stored;

#[derive(Stored)]
#[stored(opaque = "bytes")]
struct Whole {
    one: u8,
}

#[derive(Stored)]
struct Quote {
    #[stored(column = "close")]
    close: f64,
    #[stored(name = "price", name = "close")]
    open: f64,
    high: f64,
    #[stored(name = "high")]
    low: f64,
}

#[derive(Stored)]
enum Kind {
    #[stored(opaque = "bytes")]
    Open,
}

fn main() {}
