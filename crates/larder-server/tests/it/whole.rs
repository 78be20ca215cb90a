//! The store as a whole behind a server: how it is, and what was done about it.

use std::io::{Seek as _, SeekFrom, Write as _};

use larder_sqlite::store::{Lifetime, NewEntry, SqliteStore, Stored};

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
    // SC10, S19.
    let shop = Shop::new("wal");
    let config = format!("{ALBUMS}{STORE}");
    {
        let store = SqliteStore::open(shop.dir().join("cache.db")).await.unwrap();
        let entry = NewEntry::new(Stored::text("1"), Lifetime::Forever);
        store.entries("default").insert("a", entry).await.unwrap();
    }
    let (running, mut client) = shop.open(&config).await;
    let status = client.get("/v1/status").await.json();
    let store = &status["store"];
    assert_eq!((&store["entries"], &store["says"]), (&1.into(), &"".into()), "{store}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_store_condition{condition=\"replaced\"} 0\n"), "{metrics}");
    assert!(metrics.contains("larder_store_entries 1\n"), "{metrics}");
    running.stop().await;

    let shop = Shop::new("wal");
    drop(SqliteStore::open(shop.dir().join("cache.db")).await.unwrap());
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

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_taken_listed_and_restored_by_name() {
    // S16, S17, SD13, SD14.
    let shop = Shop::new("wal");
    let kept = "backups = \"kept\"\nbackup_every = \"365d\"\nbackups_kept = 2\n";
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}{kept}")).await;
    client.request("PUT", "/v1/entries/a?ttl=never", &[], "before").await;
    let taken = client.request("POST", "/v1/backups", &[], "").await;
    assert_eq!(taken.status, 201, "{taken:?}");
    let name = taken.json()["name"].as_str().unwrap().to_owned();
    assert!(0 < taken.json()["bytes"].as_u64().unwrap());
    let listed = client.get("/v1/backups").await.json();
    let names = |listed: &serde_json::Value| -> Vec<String> {
        let all = listed["backups"].as_array().unwrap().iter();
        all.map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&listed).contains(&name), "{listed}");
    client.request("PUT", "/v1/entries/a?ttl=never", &[], "after").await;
    client.request("PUT", "/v1/entries/b?ttl=never", &[], "after").await;
    let restored = client.request("POST", &format!("/v1/backups/{name}:restore"), &[], "").await;
    assert_eq!((restored.status, &restored.json()["restored"]), (200, &name.clone().into()));
    assert_eq!(client.get("/v1/entries/a").await.body, "before");
    assert_eq!(client.get("/v1/entries/b").await.status, 404);
    for path in [
        "/v1/backups/..%2Fcache.db:restore",
        "/v1/backups/%2Fetc%2Fpasswd:restore",
        "/v1/backups/kept%2F:restore",
        "/v1/backups/:restore",
    ] {
        let answer = client.request("POST", path, &[], "").await;
        assert_eq!((answer.status, &*answer.code()), (404, "no-backup"), "{path}");
    }
    assert_eq!(client.get(&format!("/v1/backups/{name}")).await.code(), "not-found");
    for _ in 0..3 {
        assert_eq!(client.request("POST", "/v1/backups", &[], "").await.status, 201);
    }
    let listed = client.get("/v1/backups").await.json();
    assert_eq!(names(&listed).len(), 2, "as many as are kept: {listed}");
    // One at a time.
    let turn = running.server.whole.try_acquire().unwrap();
    let busy = client.request("POST", "/v1/backups", &[], "").await;
    assert_eq!((busy.status, &*busy.code()), (503, "overloaded"));
    drop(turn);
    // What is wrong with a backup is not wrong with the store.
    let name = names(&listed)[0].clone();
    std::fs::write(shop.dir().join("kept").join(&name), "not a database").unwrap();
    let refused = client.request("POST", &format!("/v1/backups/{name}:restore"), &[], "").await;
    assert_eq!((refused.status, &*refused.code()), (409, "backup-unusable"), "{refused:?}");
    assert!(!refused.body.contains(shop.dir().to_str().unwrap()), "{refused:?}");
    assert_eq!(client.get("/v1/entries/a").await.body, "before");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_no_backups_says_so() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}")).await;
    for (method, path) in
        [("GET", "/v1/backups"), ("POST", "/v1/backups"), ("POST", "/v1/backups/x:restore")]
    {
        let answer = client.request(method, path, &[], "").await;
        assert_eq!((answer.status, &*answer.code()), (404, "no-backup"), "{method} {path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("store.backups"));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_those_of_each_region_and_of_each_tag() {
    // S3, S9, S19.
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}")).await;
    for path in ["/v1/entries/a?ttl=1h&tag=t", "/v1/entries/b?ttl=1h&tag=t&region=other"] {
        client.request("PUT", path, &[], "1").await;
    }
    client.get("/v1/entries/a").await;
    client.get("/v1/entries/missing").await;
    let stats = client.get("/v1/stats").await.json();
    assert_eq!((&stats["hits"], &stats["misses_recent"]), (&1.into(), &1.into()), "{stats}");
    let own = &stats["regions"][0];
    assert_eq!(
        (&own["region"], &own["hits"], &own["misses"]),
        (&"default".into(), &1.into(), &1.into())
    );
    assert_eq!((&own["hit_rate_recent"], &own["evicted"]), (&0.5.into(), &0.into()));
    assert_eq!(stats["regions"][1]["hits"], 0);
    running.server.store.as_ref().unwrap().keep().await.unwrap();
    let tags = client.get("/v1/tags?limit=1").await.json();
    assert_eq!(tags["tags"][0]["tag"], "t");
    assert_eq!((&tags["tags"][0]["reads"], &tags["next"]), (&1.into(), &().into()), "{tags}");
    assert!(client.get("/v1/tags?cursor=t").await.json()["tags"].as_array().unwrap().is_empty());
    running.stop().await;
}
