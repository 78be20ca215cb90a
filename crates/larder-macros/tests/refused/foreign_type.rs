//! A column of a type that larder cannot take a value of.

use larder::Tracked;

#[derive(Clone)]
struct Money(i64);

#[derive(Tracked)]
#[tracked(table = "shop.Article")]
struct Article {
    #[id]
    id: i64,
    #[scope]
    price: Money,
}

fn main() {}
