//! A column that nobody described.

use larder::Tracked;

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
    let _ = Article::scope().title("Solaris");
    let _ = Article::scope().price(5);
    let _ = Article::scope().watching([Article::columns().title]);
}
