//! Groups of what is not there.

use larder::Tracked;

#[derive(Tracked)]
#[tracked(table = "shop.Article", group(name = "front", columns(published, categry)))]
struct Article {
    #[id]
    id: i64,
    published: bool,
    category: String,
}

#[derive(Tracked)]
#[tracked(table = "shop.Author", group(name = "id", columns(name, name)))]
struct Author {
    #[id]
    id: i64,
    name: String,
    #[related]
    articles: Vec<Article>,
}

#[derive(Tracked)]
#[tracked(table = "shop.Shelf", group(name = "first class", columns(number)))]
struct Shelf {
    #[id]
    number: i64,
}

#[derive(Tracked)]
#[tracked(table = "shop.Sale", group(name = "by", columns(article)), group(columns(id)))]
struct Sale {
    #[id]
    id: i64,
    #[related]
    article: Article,
}

fn main() {}
