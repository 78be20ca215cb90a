//! Attributes with a slip in them.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(tabel = "shop.Article")]
struct Article {
    #[id]
    id: i64,
}

#[derive(Tracked)]
#[tracked(table = "shop.Author")]
struct Author {
    #[id(first)]
    id: i64,
    #[scope]
    #[scope]
    name: String,
    #[tracked(colum = "Born")]
    born: i64,
}

#[derive(Tracked)]
#[tracked(table = "shop.Shelf")]
#[id]
struct Shelf {
    number: i64,
}

fn main() {}
