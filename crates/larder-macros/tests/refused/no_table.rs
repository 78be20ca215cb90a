//! A row of no table.

use larder::Tracked;

#[derive(Tracked)]
struct Article {
    #[id]
    id: i64,
}

#[derive(Tracked)]
#[tracked(table = "shop.")]
struct Author {
    #[id]
    id: i64,
}

fn main() {}
