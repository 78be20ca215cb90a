//! A column of another row type.

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

#[derive(Tracked)]
#[tracked(table = "shop.Author")]
struct Author {
    #[id]
    id: i64,
    #[watched]
    name: String,
}

fn main() {
    let _ = Article::scope().watching([Author::columns().name]);
}
