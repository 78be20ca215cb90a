//! Metrics, health, the status, the page, and a graceful end.

use larder_server::serve::Drained;

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

const SLOW: &str = r#"
[resource.slow]
origin = "shop"
sql = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :steps)
    SELECT max(i) AS i FROM n"""
params = { steps = "integer" }
ttl = "1h"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_bounded_labels_and_count_what_happened() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for artist in 0..20 {
        client.get(&format!("/v1/resources/artist-albums?artist={artist}")).await;
    }
    client.get(PATH).await;
    client.get(PATH).await;
    client.get("/v1/resources/no-such-thing").await;
    let metrics = client.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = metrics.body;
    for line in [
        "larder_hits_total{resource=\"artist-albums\"} 1\n",
        "larder_misses_total{resource=\"artist-albums\"} 21\n",
        "larder_http_responses_total{status=\"200\"} 22\n",
        "larder_http_responses_total{status=\"404\"} 1\n",
        "larder_timeline_position{timeline=\"shop\"} 0\n",
        "larder_watcher_panics_total{origin=\"shop\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("no-such-thing") && !text.contains("artist=\""), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_status_say_how_it_stands() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    assert_eq!(client.get("/health/live").await.json()["status"], "live");
    let ready = client.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()), "{ready:?}");
    assert_eq!(ready.json()["origins"][0]["name"], "shop");
    let status = client.get("/v1/status").await.json();
    let settings = status["settings"].to_string();
    assert!(settings.contains("cache.memory") && settings.contains("default"), "{settings}");
    assert_eq!(status["resources"][0]["reads"].to_string(), "[\"Album\",\"Artist\"]");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_only_what_this_server_has() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let page = client.get("/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.body.contains("/v1/resources/artist-albums?artist={integer}"));
    for request in [
        "GET /v1/resources/{resource}?...",
        "GET /v1/resources/{resource}/explain?...",
        "GET /v1/dependents?of=...",
        "POST /v1/invalidate",
        "POST /v1/changes",
        "GET /v1/events",
    ] {
        assert!(page.body.contains(&format!("<code>{request}</code>")), "{request}");
    }
    assert!(!page.body.contains("{paths}") && !page.body.contains("{rows}"));
    for link in page.body.split(['"', '\'']).filter(|part| part.starts_with('/')) {
        let path = link.split('?').next().unwrap();
        if path.starts_with("/v1/resources/") {
            continue;
        }
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_is_given_before_the_server_stops() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{SLOW}")).await;
    let mut idle = Client::connect(running.address).await;
    idle.get(PATH).await;
    let request = "GET /v1/resources/slow?steps=2000000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write(request).await;
    let mut watching = Client::connect(running.address).await;
    while !watching.get("/metrics").await.body.contains("larder_loads_running 1") {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::spawn(running.stop());
    let answer = client.read("GET").await;
    assert_eq!(answer.body, "[{\"i\":2000000}]");
    assert_eq!(stopped.await.unwrap(), Drained::Whole);
    assert!(idle.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_does_not_keep_the_server_from_stopping() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}{SLOW}load_timeout = \"5s\"\n[server]\ndrain = \"50ms\"\n");
    let (running, mut client) = shop.open(&text).await;
    let request = "GET /v1/resources/slow?steps=900000000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write(request).await;
    let mut watching = Client::connect(running.address).await;
    while !watching.get("/metrics").await.body.contains("larder_loads_running 1") {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.stop().await, Drained::Cut);
}
