//! The store as a whole behind a server: how it is, and what was done about it.

use std::io::{Seek as _, SeekFrom, Write as _};

use crate::shop::{ALBUMS, Shop};

const STORE: &str = "[store]\npath = \"cache.db\"\n";

/// Overwrites the first pages of the store, which is closed.
fn zero_pages(shop: &Shop) {
    let path = shop.dir().join("cache.db");
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[0; 8192]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_replaced_is_seen_in_the_status_and_in_the_metrics() {
    let shop = Shop::new("wal");
    let config = format!("{ALBUMS}{STORE}");
    let (running, mut client) = shop.open(&config).await;
    client.request("PUT", "/v1/entries/a?ttl=1h", &[], "1").await;
    let status = client.get("/v1/status").await.json();
    let store = &status["store"];
    assert_eq!((&store["entries"], &store["says"]), (&1.into(), &"".into()), "{store}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_store_condition{condition=\"replaced\"} 0\n"), "{metrics}");
    assert!(metrics.contains("larder_store_written_total 1\n"), "{metrics}");
    running.stop().await;
    drop(client);
    zero_pages(&shop);
    let (running, mut client) = shop.open(&config).await;
    assert_eq!(client.get("/v1/entries/a").await.code(), "no-entry", "there was no backup");
    let status = client.get("/v1/status").await.json();
    let store = &status["store"];
    assert_eq!((&store["condition"], &store["entries"]), (&"replaced".into(), &0.into()));
    assert!(store["says"].as_str().unwrap().contains("began empty"), "{store}");
    assert!(std::fs::exists(store["put_aside"].as_str().unwrap()).unwrap(), "{store}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_store_condition{condition=\"replaced\"} 1\n"), "{metrics}");
    running.stop().await;
}
