//! Related rows that are none, or are a column as well.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[id]
    id: i64,
    #[related]
    authors: Vec<Author>,
}

struct Author;

#[derive(Tracked)]
#[tracked(table = "shop.Shelf")]
struct Shelf {
    #[id]
    #[related]
    article: Article,
}

fn main() {}
