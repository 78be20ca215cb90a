//! `GET /v1/resources/{resource}/explain`.

use crate::shop::{ALBUMS, PATH, STRICT, Shop};

const EXPLAIN: &str = "/v1/resources/artist-albums/explain?artist=90";

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_what_it_was_built_from_and_what_made_it_fall() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    let absent = client.get(EXPLAIN).await.json();
    assert_eq!((&absent["state"], &absent["tier"]), (&"absent".into(), &().into()));
    client.get(PATH).await;
    let explained = client.get(EXPLAIN).await.json();
    assert_eq!((&explained["state"], &explained["tier"]), (&"fresh".into(), &"memory".into()));
    let dependencies = explained["dependencies"].to_string();
    assert!(dependencies.contains("shop/Scope(Album, ArtistId = 90)"), "{dependencies}");
    assert!(dependencies.contains("shop/Id(Artist, 90)"), "{dependencies}");
    let timelines: Vec<_> = explained["stamps"].as_array().unwrap().iter().collect();
    assert_eq!(timelines.len(), 2);
    assert!(0.0 < explained["ttl_left_seconds"].as_f64().unwrap());
    assert!(0 < explained["bytes"].as_u64().unwrap());
    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    client.get(PATH).await;
    let explained = client.get(EXPLAIN).await.json();
    assert_eq!(explained["last_invalidation"]["timeline"], "shop", "{explained}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explaining_counts_as_no_read_and_checks_its_parameters() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    for _ in 0..3 {
        client.get(EXPLAIN).await;
    }
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_hits_total{resource=\"artist-albums\"} 0\n"), "{metrics}");
    assert!(metrics.contains("larder_misses_total{resource=\"artist-albums\"} 1\n"), "{metrics}");
    let answer = client.get("/v1/resources/artist-albums/explain").await;
    assert_eq!((answer.status, &*answer.code()), (400, "missing-parameter"));
    let answer = client.get("/v1/resources/nothing/explain").await;
    assert_eq!((answer.status, &*answer.code()), (404, "unknown-resource"));
    running.stop().await;
}
