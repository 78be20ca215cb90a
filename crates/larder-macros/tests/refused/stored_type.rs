//! A part that says no layout, one that is borrowed, and one that cannot say what it holds.

use larder::Stored;

struct Foreign;

#[derive(Stored)]
struct Quote {
    symbol: String,
    foreign: Vec<Foreign>,
}

#[derive(Stored)]
struct Borrowed<'a> {
    symbol: &'a str,
}

#[derive(Stored)]
union Bits {
    whole: u8,
}

fn main() {}
