//! Values of another type than the column has.

use larder::{Tracked, any_of};

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
    let _ = Article::scope().category(5);
    let _ = Article::scope().shelf("5");
    let _ = Article::scope().shelf("a".."b");
    let _ = Article::scope().category(any_of([1, 2]));
    let _ = Article::id("7");
}
