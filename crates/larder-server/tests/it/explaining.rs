//! `GET /v1/resources/{resource}/explain`, and from the other end `GET /v1/dependents`.

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

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_depends_on_more_than_fits_says_so_and_is_counted() {
    let shop = Shop::new("wal");
    // Eleven times a thousand, and ten thousand are the limit.
    let scope = |n: u32| {
        let list = |count: u32| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        format!("[\"app.Kind{n}\", {{ a = [{}], b = [{}] }}]", list(25), list(40))
    };
    let scopes: Vec<String> = (0..11).map(scope).collect();
    let (running, mut client) =
        shop.open(&format!("{ALBUMS}scopes = [{}]\n", scopes.join(","))).await;
    client.get(PATH).await;
    let explained = client.get(EXPLAIN).await.json();
    assert_eq!((&explained["state"], &explained["widened"]), (&"fresh".into(), &true.into()));
    assert!(explained["dependencies"].to_string().contains("app/Table(Kind3)"));
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_widened_total{resource=\"artist-albums\"} 1\n"), "{metrics}");
    let status = client.get("/v1/status").await.json();
    assert_eq!(status["resources"][0]["widened"], 1, "{status}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_come_in_pages_that_together_show_each_entry_once() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for artist in 0..7 {
        client.get(&format!("/v1/resources/artist-albums?artist={artist}")).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/dependents?of=shop.Album&size=3{after}");
        let page = client.get(&path).await.json();
        assert_eq!(page["of"][0], "shop/Table(Album)");
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 3);
        seen.extend(entries.iter().map(|entry| entry["parameters"]["artist"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    let one = client.get("/v1/dependents?of=shop.Artist%2F3").await.json();
    let any = one["entries"].as_array().unwrap().iter();
    assert!(any.clone().any(|entry| entry["parameters"]["artist"] == 3), "{one}");
    for (query, code) in [
        ("", "missing-parameter"),
        ("of=shop", "ill-typed-parameter"),
        ("of=shop.Nothing", "unknown-table"),
        ("of=tag:a&of=tag:b", "repeated-parameter"),
        ("of=tag:a&size=0", "ill-typed-parameter"),
        ("of=tag:a&size=1001", "ill-typed-parameter"),
        ("of=tag:a&after=x", "ill-typed-parameter"),
        ("of=tag:a&page=2", "unknown-parameter"),
    ] {
        let answer = client.get(&format!("/v1/dependents?{query}")).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{query}");
    }
    running.stop().await;
}
