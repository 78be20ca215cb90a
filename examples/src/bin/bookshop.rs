//! A bookshop: articles by authors in categories, cached in six ways, and what falls when.
//!
//! The database is SQLite, but nothing watches it: the application tells the cache what it wrote,
//! in the words of its own types. Each case prints which pages are still there and asserts it.

use std::{
    error::Error as StdError,
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{Cache, Change, Error, ErrorKind, Load, Order, Region, Tracked};
use rusqlite::{Connection, Row, params};

/// An article, and what lists may ask for.
#[derive(Clone, Debug, Tracked)]
#[tracked(table = "Article")]
struct Article {
    #[id]
    id: i64,
    #[scope]
    category: String,
    #[scope]
    price: i64,
    title: String,
}

#[derive(Clone, Debug, Tracked)]
#[tracked(table = "Author")]
struct Author {
    #[id]
    id: i64,
    name: String,
}

/// The application's database.
#[derive(Clone)]
struct Shop(Arc<Mutex<Connection>>);

impl Shop {
    fn open() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE Author (Id INTEGER PRIMARY KEY, Name TEXT NOT NULL);
             CREATE TABLE Article (
                 Id INTEGER PRIMARY KEY, Category TEXT NOT NULL, Price INTEGER NOT NULL,
                 Title TEXT NOT NULL
             );
             INSERT INTO Author VALUES (1, 'Le Guin'), (2, 'Lem');
             INSERT INTO Article VALUES
                 (1, 'sci-fi', 8, 'The Dispossessed'), (2, 'sci-fi', 12, 'Solaris'),
                 (3, 'sci-fi', 20, 'Fiasco'), (4, 'fantasy', 9, 'A Wizard of Earthsea');",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn with<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let connection = self.0.lock().expect("nothing panics while it asks");
        let failed = |error| Error::new(ErrorKind::Origin, "ask the bookshop").source(error);
        ask(&connection).map_err(failed)
    }

    /// The articles of a category, chosen further by the `rest` of the statement.
    fn articles(&self, category: &str, rest: &str) -> Result<Vec<Article>, Error> {
        let sql = format!("SELECT * FROM Article WHERE Category = ?1 {rest}");
        self.with(|connection| {
            connection.prepare_cached(&sql)?.query_map([category], article)?.collect()
        })
    }

    fn author(&self, id: i64) -> Result<Author, Error> {
        let author = |row: &Row<'_>| Ok(Author { id: row.get(0)?, name: row.get(1)? });
        self.with(|c| c.query_row("SELECT * FROM Author WHERE Id = ?1", [id], author))
    }

    /// Changes the article with this number; how it was and how it is.
    fn edit(&self, id: i64, edit: fn(&mut Article)) -> Result<(Article, Article), Error> {
        self.with(|connection| {
            let old = connection.query_row("SELECT * FROM Article WHERE Id = ?1", [id], article)?;
            let mut new = old.clone();
            edit(&mut new);
            connection.execute(
                "UPDATE Article SET Category = ?2, Price = ?3, Title = ?4 WHERE Id = ?1",
                params![id, new.category, new.price, new.title],
            )?;
            Ok((old, new))
        })
    }
}

fn article(row: &Row<'_>) -> rusqlite::Result<Article> {
    let (id, category, price, title) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(Article { id, category, price, title })
}

type Page = Region<String, String>;

/// A page of text about a category, made by `make`.
fn page(
    cache: &Cache,
    shop: &Shop,
    name: &str,
    make: fn(&Shop, &str, &Load) -> Result<String, Error>,
) -> Result<Page, Error> {
    let shop = shop.clone();
    let region = cache.region::<String, String>(name).ttl(Duration::from_secs(60));
    let loader = move |category: String, load: Load| {
        let shop = shop.clone();
        async move { make(&shop, &category, &load) }
    };
    region.loader(loader).build()
}

/// The titles of a category: who is in it, and each of them.
fn titles(shop: &Shop, category: &str, load: &Load) -> Result<String, Error> {
    let rows = shop.articles(category, "")?;
    load.depends_on_all(&rows).depends_on(Article::scope().category(category).membership());
    Ok(listed(&rows))
}

/// How many there are: only who enters and who leaves.
fn count(shop: &Shop, category: &str, load: &Load) -> Result<String, Error> {
    load.depends_on(Article::scope().category(category).membership());
    Ok(shop.articles(category, "")?.len().to_string())
}

/// Those under ten.
fn cheap(shop: &Shop, category: &str, load: &Load) -> Result<String, Error> {
    load.depends_on(Article::scope().category(category).price(..10));
    Ok(listed(&shop.articles(category, "AND Price < 10")?))
}

/// The two cheapest: what is dearer than the second does not matter.
fn cheapest(shop: &Shop, category: &str, load: &Load) -> Result<String, Error> {
    let rows = shop.articles(category, "ORDER BY Price LIMIT 2")?;
    let scope = Article::scope().category(category);
    load.depends_on(scope.first_by_price(Order::Ascending, 2, &rows));
    Ok(listed(&rows))
}

fn listed(articles: &[Article]) -> String {
    let titles: Vec<&str> = articles.iter().map(|article| &*article.title).collect();
    titles.join(", ")
}

/// The doll: a front page of the titles, and of an author who is cached by himself.
fn front(cache: &Cache, titles: &Page, authors: &Region<i64, String>) -> Result<Page, Error> {
    let inner = (titles.clone(), authors.clone());
    let region = cache.region::<String, String>("front").ttl(Duration::from_secs(60));
    let loader = move |category: String, load: Load| {
        let (titles, authors) = inner.clone();
        async move {
            let titles = load.get_or_load(&titles, &category).await?;
            let author = load.get_or_load(&authors, &2).await?;
            Ok::<_, Error>(format!("{titles}; author of the day: {author}"))
        }
    };
    region.loader(loader).build()
}

/// Asks for every page of `sci-fi`, and says which of them had been kept.
async fn kept(pages: &[(&'static str, Page)]) -> Result<Vec<&'static str>, Box<dyn StdError>> {
    let mut kept = Vec::new();
    let key = "sci-fi".to_owned();
    for (name, page) in pages {
        if page.get(&key).await?.is_some() {
            kept.push(*name);
        }
    }
    for (_, page) in pages {
        page.get_or_load(&key).await?;
    }
    Ok(kept)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let shop = Shop::open()?;
    let cache = Cache::builder().build()?;
    let own = shop.clone();
    let authors = cache.region::<i64, String>("authors").ttl(Duration::from_secs(60));
    let authors = authors.loader(move |id: i64, load: Load| {
        let shop = own.clone();
        async move {
            let author = shop.author(id)?;
            load.depends_on(&author);
            Ok::<_, Error>(author.name)
        }
    });
    let authors = authors.build()?;
    let titles = page(&cache, &shop, "titles", titles)?;
    let pages = [
        ("titles", titles.clone()),
        ("count", page(&cache, &shop, "count", count)?),
        ("cheap", page(&cache, &shop, "cheap", cheap)?),
        ("cheapest", page(&cache, &shop, "cheapest", cheapest)?),
        ("front", front(&cache, &titles, &authors)?),
    ];
    kept(&pages).await?;

    // Another category changes.
    let (old, new) = shop.edit(4, |article| article.price = 7)?;
    cache.changed(Change::updated(&old, &new)).await?;
    let left = kept(&pages).await?;
    println!("an article of another category changed: kept {left:?}");
    assert_eq!(left, ["titles", "count", "cheap", "cheapest", "front"]);

    // A title is corrected: the lists that show it fall, and the page built from one of them.
    let (old, new) = shop.edit(2, |article| article.title.push_str(" (1961)"))?;
    cache.changed(Change::updated(&old, &new)).await?;
    let left = kept(&pages).await?;
    println!("a title was corrected: kept {left:?}");
    assert_eq!(left, ["count", "cheap"]);

    // The dearest becomes dearer still: nobody's range, and behind the end of the page.
    let (old, new) = shop.edit(3, |article| article.price = 25)?;
    cache.changed(Change::updated(&old, &new)).await?;
    let left = kept(&pages).await?;
    println!("the dearest became dearer: kept {left:?}");
    assert_eq!(left, ["count", "cheap", "cheapest"]);

    // It leaves the category: both lists know, though its new values say nothing of the old.
    let (old, new) = shop.edit(3, |article| article.category = "fantasy".into())?;
    cache.changed(Change::updated(&old, &new)).await?;
    let left = kept(&pages).await?;
    println!("it moved to another category: kept {left:?}");
    assert_eq!(left, ["cheap", "cheapest"]);

    // An author is invalidated by name: whatever was built from him, however deep.
    cache.invalidate([Author::id(2)]).await?;
    let left = kept(&pages).await?;
    println!("an author was invalidated: kept {left:?}");
    assert_eq!(left, ["titles", "count", "cheap", "cheapest"]);

    cache.close().await;
    Ok(())
}
