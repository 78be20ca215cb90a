//! Types that are no rows.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
enum Article {
    Book,
    Paper,
}

#[derive(Tracked)]
#[tracked(table = "shop.Author")]
struct Author(#[id] i64);

#[derive(Tracked)]
#[tracked(table = "shop.Shelf")]
struct Shelf<T> {
    #[id]
    number: T,
}

fn main() {}
