//! `"rewarm"` in `POST /v1/invalidate`: what fell is loaded again, within bounds.

use serde_json::json;

use crate::{
    client::{Answer, Client},
    shop::{ALBUMS, PATH, Shop},
};

const OTHER: &str = "/v1/resources/artist-albums?artist=1";

/// Loads for seconds as soon as there are more artists than at first.
const SLOW: &str = r#"
[resource.slow]
origin = "shop"
sql = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
    WHERE i < CASE (SELECT count(*) FROM Artist) WHEN 3 THEN 1 ELSE 900000000 END)
    SELECT max(i) AS i, :n AS n FROM n"""
params = { n = "integer" }
ttl = "1h"
load_timeout = "2s"
"#;

async fn tell(client: &mut Client, rewarm: serde_json::Value) -> Answer {
    let body = json!({ "tables": ["shop.Artist"], "rewarm": rewarm });
    client.post("/v1/invalidate", &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_is_loaded_again_before_the_answer_and_counted() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for path in [PATH, OTHER] {
        client.get(path).await;
    }
    let done = tell(&mut client, json!({ "at_most": 5, "wait_ms": 10_000 })).await;
    let rewarm = json!({ "state": "done", "loaded": 2, "failed": 0, "skipped": 0, "left": 0 });
    assert_eq!((done.status, &done.json()["rewarm"]), (200, &rewarm), "{done:?}");
    for path in [PATH, OTHER] {
        assert!(client.get(path).await.is_hit());
    }
    let plain = client.post("/v1/invalidate", r#"{"tags": ["x"]}"#).await.json();
    assert!(plain.get("rewarm").is_none(), "nobody asked: {plain}");
    let metrics = client.get("/metrics").await.body;
    let line = "larder_told_rewarmed_total{outcome=\"loaded\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_does_not_wait_and_another_rewarming_finds_no_room() {
    let shop = Shop::new("wal");
    // Nobody watches the origin, so that what fell is what was named.
    let albums = ALBUMS.replace("\"rows\" ", "\"none\" ");
    let text = format!("{albums}tags = [\"a\"]\n{SLOW}tags = [\"slow\"]\n[cache]\nloads = 2\n");
    let running = shop.serve(&text).await;
    let mut client = Client::connect(running.address).await;
    client.get("/v1/resources/slow?n=1").await;
    client.get(PATH).await;
    shop.change("INSERT INTO Artist VALUES (4, 'Late')");
    let tell = async |client: &mut Client, tag: &str, wait_ms: u32| {
        let rewarm = json!({ "at_most": 1, "concurrency": 1, "wait_ms": wait_ms });
        let body = json!({ "tags": [tag], "rewarm": rewarm });
        client.post("/v1/invalidate", &body.to_string()).await.json()
    };
    let begun = tell(&mut client, "slow", 0).await;
    assert_eq!((&begun["entries"], &begun["rewarm"]["left"]), (&1.into(), &1.into()), "{begun}");
    assert_eq!(begun["rewarm"]["state"], "running", "{begun}");
    let refused = tell(&mut client, "a", 0).await;
    assert_eq!((&refused["rewarm"]["state"], &refused["entries"]), (&"refused".into(), &1.into()));
    assert!(client.get(PATH).await.is_miss(), "it fell all the same");
    let line = |outcome: &str| format!("larder_told_rewarmed_total{{outcome=\"{outcome}\"}} 1\n");
    loop {
        let metrics = client.get("/metrics").await.body;
        if metrics.contains(&line("failed")) {
            assert!(metrics.contains("larder_told_rewarm_refused_total 1\n"), "{metrics}");
            break;
        }
        tokio::task::yield_now().await;
    }
    let free = tell(&mut client, "a", 9000).await;
    assert_eq!(free["rewarm"]["loaded"], 1, "{free}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewarming_out_of_its_bounds_is_refused_and_nothing_falls() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    for (rewarm, said) in [
        (json!({ "at_most": 0 }), "rewarm.at_most is 0; write 1 to 10000"),
        (json!({ "at_most": 10_001 }), "rewarm.at_most is 10001"),
        (json!({ "at_most": 1, "concurrency": 0 }), "rewarm.concurrency is 0; write 1 to 32"),
        (json!({ "at_most": 1, "concurrency": 33 }), "half of cache.loads"),
        (json!({ "at_most": -1 }), "-1"),
        (json!({ "concurrency": 1 }), "at_most"),
        (json!({ "at_most": 1, "wait": 1 }), "wait_ms"),
        (json!(true), "an object such as"),
    ] {
        let answer = tell(&mut client, rewarm.clone()).await;
        assert_eq!((answer.status, &*answer.code()), (400, "malformed-request"), "{rewarm}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{rewarm}: {answer:?}");
        assert!(client.get(PATH).await.is_hit(), "{rewarm}");
    }
    running.stop().await;
}
