//! Columns and methods of the same name.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[id]
    id: i64,
    #[tracked(column = "id")]
    number: i64,
}

#[derive(Tracked)]
#[tracked(table = "shop.Reader")]
struct Reader {
    #[id]
    id: i64,
    #[scope]
    membership: i64,
}

fn main() {}
