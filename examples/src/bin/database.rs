//! A cache over a SQLite file that it may not touch: any commit of anybody is seen by the next
//! read.
//!
//! Nothing is installed in the database; the price is that a commit anywhere drops everything.

use std::{error::Error, time::Duration};

use larder::{
    Cache, Source, Value,
    sqlite::{OriginOptions, Param, ParamKind, Query, SqliteOrigin},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The application and its database.
    let path = std::env::temp_dir().join(format!("larder-example-{}.sqlite", std::process::id()));
    let application = rusqlite::Connection::open(&path)?;
    application.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT NOT NULL);
         INSERT INTO Artist VALUES (90, 'Iron Maiden');",
    )?;

    // The cache beside it.
    let shop = SqliteOrigin::open(OriginOptions::new("shop", &path))?;
    let by_id = shop.prepare(
        "SELECT Name FROM Artist WHERE ArtistId = :artist",
        &[Param { name: "artist".into(), kind: ParamKind::Integer }],
    )?;
    let feed = shop.feed().ok_or("an origin that is tracked has a feed")?;
    let cache = Cache::builder().feed(feed).build()?;
    let artists = cache
        .region::<i64, Option<String>>("artists")
        .ttl(Duration::from_secs(3600))
        .max_staleness(Duration::ZERO)
        .loader(move |artist, load| {
            let (shop, statement) = (shop.clone(), by_id.clone());
            async move {
                let query = Query::new(statement, vec![Value::from(artist)]);
                let rows = load.ask(&*shop, &query).await?;
                Ok::<_, larder::Error>(match rows.rows.first().and_then(|row| row.first()) {
                    Some(Value::Text(name)) => Some(name.to_string()),
                    _ => None,
                })
            }
        })
        .build()?;

    let first = artists.fetch(&90).await?;
    println!("{:?} {:?}", first.value, first.source);
    let second = artists.fetch(&90).await?;
    println!("{:?} {:?}", second.value, second.source);
    assert_eq!((first.source, second.source), (Source::Loaded, Source::Hit));

    // The application changes a row; nobody tells the cache.
    application.execute("UPDATE Artist SET Name = 'Iron Maidens' WHERE ArtistId = 90", [])?;
    let third = artists.fetch(&90).await?;
    println!("{:?} {:?}", third.value, third.source);
    assert_eq!(third.value.as_deref(), Some("Iron Maidens"));

    cache.close().await;
    std::fs::remove_file(&path)?;
    Ok(())
}
