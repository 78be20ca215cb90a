//! Statuses, headers and bodies of `/v1/resources`.

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, STRICT, Shop},
};

const KINDS: &str = r#"
[resource.kinds]
origin = "shop"
sql = "SELECT :i AS i, :r AS r, :t AS t, :b AS b, 9e999 AS infinite, NULL AS absent"
params = { i = "integer", r = "real", t = "text", b = "blob" }
ttl = "1h"
downstream = "max-age=5"

[resource.many]
origin = "shop"
sql = "SELECT a.AlbumId FROM Album a, Album b, Album c"
ttl = "1h"
result_rows = 100

[resource.heavy]
origin = "shop"
sql = "SELECT hex(zeroblob(60000)) AS Text FROM Artist"
ttl = "1h"
result_size = "64KiB"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_carries_what_caches_and_clients_need() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let miss = client.get(PATH).await;
    assert!(miss.is_miss());
    let hit = client.get(PATH).await;
    assert!(hit.header("cache-status").starts_with("larder; hit; ttl=3"), "{hit:?}");
    assert_eq!(hit.header("content-type"), "application/json");
    assert_eq!(hit.header("cache-control"), "no-cache");
    assert_eq!(hit.header("age"), "0");
    assert_eq!(hit.header("etag"), miss.header("etag"));
    assert!(!hit.header("larder-position").is_empty());
    let etag = hit.header("etag").to_owned();
    let same = client.get_with(PATH, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, &*same.body), (304, ""));
    assert_eq!(same.header("etag"), etag);
    let weak = format!("\"y\", W/{etag}");
    let lines = [("if-none-match", "\"x\""), ("if-none-match", &*weak)];
    assert_eq!(client.get_with(PATH, &lines).await.status, 304);
    assert_eq!(client.get_with(PATH, &[("if-none-match", "*")]).await.status, 304);
    let other = client.get_with(PATH, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
    let head = client.request("HEAD", PATH, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, hit.header("content-length")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_and_comes_out() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{KINDS}")).await;
    let path = "/v1/resources/kinds?b=AP8Q&t=a%20%22b%22+%C3%A9&r=-1.5e2&i=-7";
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.body,
        "[{\"i\":-7,\"r\":-150.0,\"t\":\"a \\\"b\\\" \u{e9}\",\"b\":\"AP8Q\",\
         \"infinite\":null,\"absent\":null}]"
    );
    assert_eq!(answer.header("cache-control"), "max-age=5");
    let reordered = "/v1/resources/kinds?i=-7&r=-150&t=a+%22b%22%20%C3%A9&b=AP8Q";
    assert!(client.get(reordered).await.is_hit());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_request_has_its_status_and_code() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let base = "/v1/resources/artist-albums";
    for (path, status, code) in [
        (base.to_owned(), 400, "missing-parameter"),
        (format!("{base}?artist=90&limit=3"), 400, "unknown-parameter"),
        (format!("{base}?artist=90&artist=90"), 400, "repeated-parameter"),
        (format!("{base}?artist=ninety"), 400, "ill-typed-parameter"),
        (format!("{base}?artist=%zz"), 400, "malformed-request"),
        (format!("{base}?artist={}", "9".repeat(2000)), 414, "parameter-too-long"),
        ("/v1/resources/nothing?artist=90".to_owned(), 404, "unknown-resource"),
        ("/v1/nothing".to_owned(), 404, "not-found"),
    ] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{path}");
    }
    let answer = client.get(&format!("{base}?artist=ninety")).await;
    assert_eq!(answer.json()["parameter"], "artist");
    let answer = client.request("DELETE", PATH, &[], "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_its_limits_is_not_cut_but_refused() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{KINDS}")).await;
    for path in ["/v1/resources/many", "/v1/resources/heavy"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, &*answer.code()), (502, "result-too-large"), "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_gone_is_503_until_it_is_back() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    let away = shop.dir().join("away.sqlite");
    std::fs::rename(shop.database(), &away).unwrap();
    let answer = client.get(PATH).await;
    assert_eq!((answer.status, &*answer.code()), (503, "origin-unavailable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1");
    std::fs::rename(&away, shop.database()).unwrap();
    let back = async {
        while client.get(PATH).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), back).await.expect("it is back");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_past_its_ttl_is_served_when_the_origin_is_gone_and_says_so() {
    let shop = Shop::new("wal");
    let text = ALBUMS.replace("ttl = \"1h\"", "ttl = \"1ms\"");
    let (running, mut client) = shop.open(&text).await;
    assert!(client.get(PATH).await.is_miss());
    std::fs::rename(shop.database(), shop.dir().join("away.sqlite")).unwrap();
    let stale = async {
        loop {
            let answer = client.get(PATH).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            if answer.header("cache-status").contains("fwd=stale") {
                break answer;
            }
        }
    };
    let patience = std::time::Duration::from_secs(5);
    let answer = tokio::time::timeout(patience, stale).await.expect("its TTL is over soon");
    assert!(answer.header("cache-status").contains("detail=stale-if-error"), "{answer:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_past_its_ttl_is_served_while_it_is_loaded_again_and_says_so() {
    let shop = Shop::new("wal");
    let text = ALBUMS.replace("ttl = \"1h\"", "ttl = \"1ms\"\nstale_while_revalidate = \"1h\"");
    let (running, mut client) = shop.open(&text).await;
    assert!(client.get(PATH).await.is_miss());
    let stale = async {
        loop {
            let answer = client.get(PATH).await;
            assert!(answer.is_hit(), "nobody waits for the load: {answer:?}");
            if answer.header("cache-status").contains("detail=stale-while-revalidate") {
                break;
            }
        }
    };
    let patience = std::time::Duration::from_secs(5);
    tokio::time::timeout(patience, stale).await.expect("its TTL is over soon");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_be_sent_ahead_of_their_answers() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write(&request.repeat(50)).await;
    for _ in 0..50 {
        assert_eq!(client.read("GET").await.status, 200);
    }
    let mut other = Client::connect(running.address).await;
    assert!(other.get(PATH).await.is_hit());
    running.stop().await;
}
