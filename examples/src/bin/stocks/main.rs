//! Quotes of stocks over a slow exchange: bulk reads that load only what is missing, tags that let
//! one stock fall, and a refresh that loses nothing when a part of it fails.
//!
//! The exchange is a small HTTP server that this program starts itself; what it was asked is
//! counted, and each step asserts it. Read `service.rs` first.

mod exchange;
mod service;
mod settings;

use std::{error::Error, time::Duration};

use larder::sqlite::store::{Lifetime, NewEntry, SqliteStore, Stored};

use crate::{
    exchange::Exchange,
    service::Service,
    settings::{KINDS, Kind, Settings},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("larder-stocks-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let exchange = Exchange::open().await?;
    let store = SqliteStore::open(dir.join("stocks.db")).await?;
    let entries = store.entries("stocks");

    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let service = Service::new(entries.clone(), exchange.address(), settings);
    bulk(&service, &exchange).await?;
    one_stock(&service, &exchange).await?;
    part_fails(&service, &exchange).await?;

    // A lifetime that was set is the one that is used (S14).
    let set = |name: &str| (name == "CACHE_TTL_REALTIME").then(|| "5".to_owned());
    let impatient = Service::new(entries.clone(), exchange.address(), Settings::read(set)?);
    impatient.fetch_many(Kind::Realtime, &["2317"]).await?;
    let known = entries.entry("realtime_2317").await?.ok_or("it was loaded")?.meta;
    let lives = known.expires.map(|expires| expires.since(known.created));
    assert_eq!(lives, Some(Duration::from_secs(5)));
    assert!(Settings::read(|_| Some("soon".to_owned())).is_err());

    // Null is a value, and is not loaded again (SD12).
    let null = NewEntry::new(Stored::json("null"), Lifetime::Forever);
    entries.insert(Kind::StockData.key("1101"), null).await?;
    exchange.asked();
    let quotes = service.fetch_many(Kind::StockData, &["1101"]).await?;
    assert_eq!(quotes.get("1101"), Some(&Ok("null".to_owned())));
    assert!(exchange.asked().is_empty());

    let stats = store.stats().await?;
    println!("hits {}, misses {}, kept {:?}", stats.hits, stats.misses, service.counts().await?);
    drop((service, impatient, entries, store));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Many stocks at once: what is kept is not asked for again, and one that fails is its own error.
async fn bulk(service: &Service, exchange: &Exchange) -> Result<(), Box<dyn Error>> {
    let warmed = service.warm(&["2330", "2454"]).await?;
    assert_eq!((warmed, exchange.asked().len()), (4, 4));

    let codes = ["2330", "2454", "23301", "2317"];
    let quotes = service.fetch_many(Kind::StockData, &codes).await?;
    assert_eq!(exchange.asked(), ["/stock_data/2317", "/stock_data/23301"], "only the missing");
    for (code, quote) in &quotes {
        println!("{code}  {quote:?}");
    }
    assert_eq!(quotes.get("23301"), Some(&Err("404: no such stock".to_owned())));
    assert_eq!(quotes.values().flatten().count(), 3);
    Ok(())
}

/// What is known of one stock falls by its tag, and with it nothing of another.
async fn one_stock(service: &Service, exchange: &Exchange) -> Result<(), Box<dyn Error>> {
    service.refresh("2330").await?;
    service.refresh("2454").await?;
    exchange.asked();
    assert_eq!(service.invalidate("2330").await?, 4);
    assert_eq!(service.invalidate("2330").await?, 0);
    service.fetch_many(Kind::Realtime, &["2330", "2454"]).await?;
    assert_eq!(exchange.asked(), ["/realtime/2330"]);
    println!("one stock fell: {:?}", service.counts().await?);
    Ok(())
}

/// A refresh of which one part fails: three are new, the fourth is what it was.
async fn part_fails(service: &Service, exchange: &Exchange) -> Result<(), Box<dyn Error>> {
    service.refresh("2454").await?;
    let [.., points] = KINDS;
    exchange.next_day();
    exchange.breaks("/best_four_points/2454");
    let refreshed = service.refresh("2454").await?;
    for (kind, quote) in &refreshed {
        println!("refreshed {}  {quote:?}", kind.word());
    }
    assert_eq!(refreshed.values().flatten().count(), 3);
    assert_eq!(refreshed.get(&points), Some(&Err("503: the exchange is closed".to_owned())));
    exchange.asked();
    for kind in KINDS {
        let quotes = service.fetch_many(kind, &["2454"]).await?;
        let day = if kind == points { "\"day\":0" } else { "\"day\":1" };
        let quote = quotes.get("2454").and_then(|quote| quote.as_ref().ok());
        assert!(quote.is_some_and(|quote| quote.contains(day)), "{quotes:?}");
    }
    assert!(exchange.asked().is_empty(), "everything was kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_service_does_all_that_it_shows() {
        // S18, SD20: bulk reads load only what is missing, with an error for each that fails; one
        // stock falls alone; what is popular is warmed; a refresh keeps what it could not load.
        super::main().unwrap();
    }
}
