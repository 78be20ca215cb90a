//! A key that cannot be told from another by its bits.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[id]
    weight: f64,
}

fn main() {}
