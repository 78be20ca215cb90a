//! `GET /v1/events`: what is invalidated, told as it happens.

use std::time::Duration;

use larder::Dependency;
use larder_server::{auth, serve::Drained};
use serde_json::Value;

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, STRICT, Shop},
};

/// The name and the data of an event.
fn parsed(event: &str) -> (String, Value) {
    let line = |name: &str| {
        let start = format!("{name}: ");
        let found = event.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("{name}: {event}")).to_owned()
    };
    (line("event"), serde_json::from_str(&line("data")).unwrap())
}

fn id(event: &str) -> &str {
    let found = event.lines().find_map(|line| line.strip_prefix("id: "));
    found.unwrap_or_else(|| panic!("no id: {event}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_what_was_named_and_what_the_origin_brought() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    client.get(PATH).await;
    let mut listener = Client::connect(running.address).await;
    let head = listener.listen(&[]).await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(head.header("cache-control"), "no-store");
    assert!(listener.event().await.unwrap().starts_with("retry: 2000\n"));
    client.post("/v1/invalidate", r#"{"ids": [["shop.Artist", 90]]}"#).await;
    let event = listener.event().await.unwrap();
    let (name, data) = parsed(&event);
    assert!(id(&event).ends_with(".1") && event.ends_with("\n\n"), "{event}");
    assert_eq!((&*name, &data["timeline"]), ("invalidated", &"app".into()), "{event}");
    assert_eq!(data["what"]["named"][0], "shop/Id(Artist, 90)", "{event}");
    assert_eq!((&data["entries"], &data["mode"]), (&1.into(), &"hard".into()), "{event}");
    assert!(data["at"].is_f64() && data["position"] == 1, "{event}");
    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    client.get(PATH).await;
    let (_, data) = parsed(&listener.event().await.unwrap());
    assert_eq!((&data["timeline"], &data["what"]["changes"]), (&"shop".into(), &1.into()));
    assert_eq!(data["what"]["reported"], "update of Artist", "{data}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_subscribers 1\n"), "{metrics}");
    assert!(metrics.contains("larder_events_sent_total 2\n"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_hears_what_was_told_while_it_was_away() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let mut listener = Client::connect(running.address).await;
    listener.listen(&[]).await;
    // Nothing was told yet, and still it knows where it is.
    let mut last = id(&listener.event().await.unwrap()).to_owned();
    for round in 0..3 {
        drop(listener);
        for step in 0..3 {
            let body = format!("{{\"tags\": [\"{round}-{step}\"]}}");
            assert_eq!(client.post("/v1/invalidate", &body).await.status, 200);
        }
        listener = Client::connect(running.address).await;
        listener.listen(&[("last-event-id", &last)]).await;
        let opening = listener.event().await.unwrap();
        assert!(opening.starts_with("retry:") && !opening.contains("lost"), "{opening}");
        for step in 0..3 {
            let event = listener.event().await.unwrap();
            let named = &parsed(&event).1["what"]["named"][0];
            assert_eq!(named, &format!("app/Tag({round}-{step})"), "{event}");
            last = id(&event).to_owned();
        }
    }
    assert!(last.ends_with(".9"), "{last}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_events_kept 9\n"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_too_late_is_told_how_many_it_missed_and_then_the_rest() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nevents_size = \"4KiB\"\n");
    let (running, mut client) = shop.open(&text).await;
    let mut listener = Client::connect(running.address).await;
    listener.listen(&[]).await;
    let first = id(&listener.event().await.unwrap()).to_owned();
    drop(listener);
    for step in 0..100 {
        client.post("/v1/invalidate", &format!("{{\"tags\": [\"{step}\"]}}")).await;
    }
    while running.server.recent.last() < 100 {
        tokio::task::yield_now().await;
    }
    let mut listener = Client::connect(running.address).await;
    listener.listen(&[("last-event-id", &first)]).await;
    listener.event().await.unwrap();
    let lost = listener.event().await.unwrap();
    let (name, data) = parsed(&lost);
    let missed = data["missed"].as_u64().unwrap();
    assert!(name == "lost" && 50 < missed && missed < 100, "{lost}");
    assert!(data["why"].as_str().unwrap().contains("as unknown"), "{lost}");
    assert!(id(&lost).ends_with(&format!(".{missed}")), "it can come back from here: {lost}");
    for step in missed..100 {
        let (_, data) = parsed(&listener.event().await.unwrap());
        assert_eq!(data["what"]["named"][0], format!("app/Tag({step})"));
    }
    assert_eq!(running.server.told.lost.get(), missed);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_names_an_event_of_another_run_is_told_that_it_may_have_missed_any() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for unknown in ["app.7", "", "0123456789abcdef.0", "\u{e9}"] {
        let mut listener = Client::connect(running.address).await;
        listener.listen(&[("last-event-id", unknown)]).await;
        let opening = listener.event().await.unwrap();
        let (name, data) = parsed(&opening);
        assert_eq!((&*name, &data["missed"]), ("lost", &Value::Null), "{opening}");
        client.post("/v1/invalidate", r#"{"tags": ["x"]}"#).await;
        assert_eq!(parsed(&listener.event().await.unwrap()).0, "invalidated");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_does_not_keep_up_is_told_how_many_it_missed_and_nobody_waits() {
    const STEPS: u64 = 1200;
    let shop = Shop::new("wal");
    shop.track(ALBUMS);
    let running = shop.serve(ALBUMS).await;
    let mut listener = Client::connect_narrow(running.address).await;
    listener.listen(&[]).await;
    listener.event().await.unwrap();
    // Long events, so that few of them fill what the kernel keeps.
    let tags: Vec<Dependency> = (0..100).map(|n| Dependency::tag(format!("{n:0200}"))).collect();
    for _ in 0..STEPS {
        running.server.cache.invalidate(tags.clone()).await.unwrap();
    }
    let (mut heard, mut missed) = (0, 0);
    while heard + missed < STEPS {
        let (name, data) = parsed(&listener.event().await.unwrap());
        match &*name {
            "lost" => missed += data["missed"].as_u64().unwrap(),
            _ => heard += 1,
        }
    }
    assert_eq!(heard + missed, STEPS);
    // Four megabytes of them are kept, at twenty kilobytes each.
    assert!(0 < missed && 100 < heard, "{heard} heard, {missed} missed");
    assert_eq!(running.server.told.lost.get(), missed);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_kept_alive() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nheartbeat = \"5ms\"\nidle_timeout = \"50ms\"\n");
    let (running, mut listener) = shop.open(&text).await;
    listener.listen(&[]).await;
    listener.event().await.unwrap();
    for _ in 0..30 {
        assert_eq!(listener.event().await.unwrap(), ":\n\n");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_over_the_limit_are_told_so_and_one_that_leaves_makes_room() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nsubscribers = 1\n");
    let (running, mut one) = shop.open(&text).await;
    one.listen(&[]).await;
    let mut two = Client::connect(running.address).await;
    let refused = two.listen(&[]).await;
    assert_eq!((refused.status, &*refused.code()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(two.get(PATH).await.status, 200, "answers are given all the same");
    drop(one);
    let room = async {
        while Client::connect(running.address).await.listen(&[]).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), room).await.expect("the place is free again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_server_stops_even_those_whose_client_reads_nothing() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\ndrain = \"10m\"\n");
    let (running, mut listener) = shop.open(&text).await;
    let mut deaf = Client::connect_narrow(running.address).await;
    for one in [&mut listener, &mut deaf] {
        one.listen(&[]).await;
    }
    let tags: Vec<Dependency> = (0..100).map(|n| Dependency::tag(format!("{n:0200}"))).collect();
    for _ in 0..100 {
        running.server.cache.invalidate(tags.clone()).await.unwrap();
    }
    let reading = tokio::spawn(async move { while listener.event().await.is_some() {} });
    let stopped = tokio::time::timeout(Duration::from_secs(10), running.stop()).await;
    assert_eq!(stopped.expect("it does not wait for streams"), Drained::Whole);
    reading.await.unwrap();
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_invalidate_listen_and_no_page_of_another_site() {
    let shop = Shop::new("wal");
    let token = |name: &str, secret: [u8; 32]| {
        let hash = blake3::hash(&secret).to_hex();
        format!("[token.{name}]\nscopes = [\"{name}\"]\nhash = \"{hash}\"\n")
    };
    let text = format!("{ALBUMS}{}{}", token("read", [1; 32]), token("invalidate", [2; 32]));
    let (running, mut client) = shop.open(&text).await;
    let bearer = |secret: [u8; 32]| format!("Bearer {}", auth::to_hex(&secret));
    let (reader, invalidator) = (bearer([1; 32]), bearer([2; 32]));
    assert_eq!(client.listen(&[]).await.status, 401);
    assert_eq!(client.listen(&[("authorization", &reader)]).await.status, 403);
    let own = ("authorization", &*invalidator);
    for foreign in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = client.listen(&[own, foreign]).await;
        assert_eq!((answer.status, &*answer.code()), (403, "foreign-origin"));
    }
    let post = client.request("POST", "/v1/events", &[own], "").await;
    assert_eq!((post.status, &*post.code()), (405, "method-not-allowed"));
    assert_eq!(client.listen(&[own]).await.status, 200);
    running.stop().await;
}
