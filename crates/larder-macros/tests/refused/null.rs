//! No value, of a column that always has one.

use larder::{Tracked, null};

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[id]
    id: i64,
    #[scope]
    category: String,
    #[scope]
    shelf: Option<i64>,
    #[scope]
    rating: f64,
    #[watched]
    price: i64,
    title: String,
}

fn main() {
    let _ = Article::scope().category(null());
    let _ = Article::scope().shelf(null());
}
