//! `POST /v1/invalidate` as a whole: every kind of item, limits, and looking before.

use serde_json::json;

use crate::shop::{ALBUMS, PATH, Shop};

const OTHER: &str = "/v1/resources/artist-albums?artist=1";

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_with_lists_null_or_a_range_reaches_the_rows_it_may_hold() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for scope in [
        json!({ "ArtistId": [90, 1] }),
        json!({ "ArtistId": { "gte": 90, "lt": 91 } }),
        json!({ "AlbumId": { "lt": 1000 }, "ArtistId": [90, 91] }),
        json!({ "albumid": [94, 95] }),
    ] {
        client.get(PATH).await;
        assert!(client.get(PATH).await.is_hit());
        let body = json!({ "scopes": [["shop.Album", scope]] }).to_string();
        let done = client.post("/v1/invalidate", &body).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(done.json()["touched"]["scopes"].as_array().unwrap().len(), 1, "{body}");
        assert!(client.get(PATH).await.is_miss(), "{body}");
    }
    // No column of the shop can be without a value, so null is shown on a kind of its own.
    let body = json!({ "scopes": [["app.Banner", { "until": [null, 3], "place": "top" }]] });
    assert_eq!(client.post("/v1/invalidate", &body.to_string()).await.status, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_an_origin_can_fall_at_once() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    client.get(OTHER).await;
    let done = client.post("/v1/invalidate", r#"{"everything": ["shop"]}"#).await.json();
    assert_eq!((&done["entries"], &done["touched"]["everything"]), (&2.into(), &json!([2])));
    assert!(client.get(PATH).await.is_miss());
    let unknown = client.post("/v1/invalidate", r#"{"everything": ["store"]}"#).await;
    assert_eq!((unknown.status, &*unknown.code()), (400, "unknown-table"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_its_limit_nothing_falls_and_both_numbers_are_told() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for path in [PATH, OTHER] {
        client.get(path).await;
    }
    let refused =
        client.post("/v1/invalidate", r#"{"tables": ["shop.Album"], "at_most": 1}"#).await;
    assert_eq!((refused.status, &*refused.code()), (409, "too-many-entries"));
    let problem = refused.json();
    assert_eq!((&problem["entries"], &problem["at_most"]), (&2.into(), &1.into()));
    for path in [PATH, OTHER] {
        assert!(client.get(path).await.is_hit());
    }
    let done = client.post("/v1/invalidate", r#"{"tables": ["shop.Album"], "at_most": 2}"#).await;
    assert_eq!(done.json()["entries"], 2, "{done:?}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_told_invalidations_total{mode=\"hard\"} 1\n"), "{metrics}");
    assert!(metrics.contains("larder_told_refused_total 1\n"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn softly_invalidated_an_answer_is_served_stale_where_its_resource_allows_it() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}stale_while_revalidate = \"10m\"\n");
    let (running, mut client) = shop.open(&text).await;
    client.get(PATH).await;
    let body = r#"{"ids": [["shop.Artist", 90]], "mode": "soft"}"#;
    let done = client.post("/v1/invalidate", body).await;
    assert_eq!(done.json()["entries"], 1, "{done:?}");
    let stale = client.get(PATH).await;
    let status = stale.header("cache-status");
    assert_eq!(status, "larder; hit; ttl=0; detail=stale-while-revalidate", "{stale:?}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_told_invalidations_total{mode=\"soft\"} 1\n"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_fall_and_lets_nothing_fall() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for path in [PATH, OTHER] {
        client.get(path).await;
    }
    let body = r#"{"ids": [["shop.Artist", 90]], "tables": ["shop.Album"], "dry_run": true,
        "at_most": 1}"#;
    let shown = client.post("/v1/invalidate", body).await.json();
    assert_eq!((&shown["entries"], &shown["too_many"]), (&2.into(), &true.into()), "{shown}");
    assert_eq!(
        shown["touched"],
        json!({
            "ids": [1], "scopes": [], "tables": [2], "tags": [], "everything": []
        })
    );
    let resource = &shown["resources"][0];
    assert_eq!((&resource["name"], &resource["entries"]), (&"artist-albums".into(), &2.into()));
    assert!(0 < shown["bytes"].as_u64().unwrap() && shown["bytes"] == resource["bytes"]);
    assert!(0.0 < shown["reload_seconds"].as_f64().unwrap(), "{shown}");
    let entries = shown["page"]["entries"].as_array().unwrap();
    let mut artists: Vec<i64> =
        entries.iter().map(|entry| entry["parameters"]["artist"].as_i64().unwrap()).collect();
    artists.sort_unstable();
    assert_eq!((artists, &shown["page"]["next"]), (vec![1, 90], &().into()), "{shown}");
    for path in [PATH, OTHER] {
        assert!(client.get(path).await.is_hit());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_item_or_no_mode_is_refused() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    let many: Vec<u32> = (0..40).collect();
    let scope = |terms| json!({ "tags": ["t"], "scopes": [["shop.Album", terms]] });
    for (body, code) in [
        (scope(json!({ "ArtistId": [] })), "unknown-item"),
        (scope(json!({ "ArtistId": { "lt": 1, "lte": 2 } })), "unknown-item"),
        (scope(json!({ "ArtistId": { "lt": 1 }, "AlbumId": { "lt": 1 } })), "unknown-item"),
        (scope(json!({ "ArtistId": 1, "artistid": 1 })), "unknown-item"),
        (scope(json!({ "ArtistId": null })), "unknown-item"),
        (scope(json!({ "ArtistId": ["one"] })), "unknown-item"),
        (scope(json!({ "ArtistId": many, "AlbumId": many })), "unknown-item"),
        (json!({ "tags": ["t"], "mode": "gentle" }), "malformed-request"),
        (json!({ "tags": ["t"], "at_most": -1 }), "malformed-request"),
        (json!({ "tags": [""] }), "unknown-item"),
        (json!({ "tags": [["", "a"]] }), "unknown-item"),
        (json!({ "tags": [["a:b", "a"]] }), "unknown-item"),
        (json!({ "tags": [["a", ""]] }), "unknown-item"),
        (json!({ "tags": [["a", "b", "c"]] }), "malformed-request"),
        (json!({ "tags": [7] }), "malformed-request"),
        (json!({ "ids": [["app.Banner"]] }), "malformed-request"),
        (json!({ "tables": ["app."] }), "unknown-table"),
        (json!({ "dry_run": true }), "malformed-request"),
        // A list must not be taken for the members of an object in some order.
        (json!([[["shop.Artist", 90]]]), "malformed-request"),
        (json!([]), "malformed-request"),
        (json!("shop.Artist"), "malformed-request"),
        (json!(null), "malformed-request"),
        (json!({ "tags": "t" }), "malformed-request"),
        (json!({ "tag": ["t"] }), "malformed-request"),
        (json!({ "scopes": [["shop.Album"]] }), "malformed-request"),
        (json!({ "ids": [[]] }), "malformed-request"),
        (json!({ "ids": [[7, 1]] }), "malformed-request"),
        (json!({ "everything": [""] }), "unknown-table"),
    ] {
        let answer = client.post("/v1/invalidate", &body.to_string()).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{body}");
    }
    assert!(client.get(PATH).await.is_hit());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_which_item_it_is_about_and_what_may_be_written() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let good = json!(["shop.Artist", 90]);
    for (body, kind, item, said) in [
        (json!({ "ids": [good, ["shop.Artst", 1]] }), "ids", 1, "`shop.Artst` is no table here"),
        (json!({ "ids": [good, good, ["shop.Artist", 1, 2]] }), "ids", 2, "(ArtistId), 2 values"),
        (json!({ "tags": ["a", ["b:c", "d"]] }), "tags", 1, "`b:c` is no namespace"),
        (json!({ "scopes": [["shop.Album", { "X": 1 }]] }), "scopes", 0, "no column `X`"),
        (json!({ "everything": ["app", "store"] }), "everything", 1, "/v1/status"),
    ] {
        let problem = client.post("/v1/invalidate", &body.to_string()).await.json();
        assert_eq!((&problem["kind"], &problem["item"]), (&kind.into(), &item.into()), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{body}: {problem}");
    }
    running.stop().await;
}
