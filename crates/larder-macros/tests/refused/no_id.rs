//! A row without a key.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[scope]
    category: String,
}

fn main() {}
