//! Tables as the server holds them: loaded in the background, told of, slid along, and typed about.

use serde_json::{Value, json};

use crate::{
    client::Client,
    program::{err, out, run},
    shop::{ALBUMS, Shop},
    tabling::{TABLE, titles},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_loaded_yet_is_tried_again_and_says_so() {
    let shop = Shop::new("wal");
    let text = format!("{TABLE}load_wait = \"100ms\"\n");
    shop.track(&text);
    shop.change("UPDATE Album SET AlbumId = 0 WHERE AlbumId = 1; CREATE TABLE Away (x);");
    // Two records with one key cannot be held.
    let twice = text.replace("key = [\"AlbumId\"]", "key = [\"ArtistId\"]");
    let running = shop.serve(&twice).await;
    let mut client = Client::connect(running.address).await;
    let answer = client.get("/v1/tables/albums").await;
    assert_eq!((answer.status, &*answer.code()), (503, "table-not-loaded"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1");
    let ready = client.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("degraded")), "{ready:?}");
    assert_eq!(ready.json()["tables"], json!([{ "name": "albums", "state": "failed" }]));
    assert_eq!(client.get("/v1/tables").await.json()["tables"][0]["state"], "failed");
    shop.change("DELETE FROM Album WHERE AlbumId IN (0, 94)");
    // The next load comes by itself.
    let table = running.server.catalog.table("albums").unwrap().clone();
    while table.held.loaded().await.is_err() {}
    let loaded = client.get("/v1/tables/albums").await;
    assert_eq!(titles(&loaded).len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_cannot_be_held_is_refused_at_start() {
    let shop = Shop::new("wal");
    for (old, new, why) in [
        ("title = [\"Title\"]", "title = [\"Titel\"]", "index `title`: the result has no column"),
        ("key = [\"AlbumId\"]", "key = [\"Id\"]", "index `primary`: the result has no column `Id`"),
        ("FROM Album", "FROM Albun", "Albun"),
        ("SELECT AlbumId", "SELECT random() AS r, AlbumId", "window slide"),
        ("columns = [\"ArtistId\"]", "columns = [\"Artist\"]", "no column `Artist`"),
    ] {
        let config = shop.config(&TABLE.replace(old, new));
        let refused = larder_server::serve::start(config, larder_server::server::Timing::Sampled);
        let error = refused.await.unwrap_err().to_string();
        assert!(error.starts_with("table.albums: ") && error.contains(why), "{new}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_the_last_hour_moves_with_the_time() {
    let shop = Shop::new("wal");
    shop.change(
        "CREATE TABLE reading (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
         INSERT INTO reading VALUES (1, unixepoch() - 7200), (2, unixepoch() - 60);",
    );
    let text = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[table.readings]
origin = "shop"
sql = "SELECT id, at FROM reading"
key = ["id"]
indexes = { at = ["at"] }
window = { index = "at", last = "1h", step = "50ms", unit = "seconds" }
max_staleness = "0"
"#;
    let (running, mut client) = shop.open(text).await;
    let table = running.server.catalog.table("readings").unwrap().clone();
    table.held.loaded().await.unwrap();
    assert_eq!(table.held.stats().records, 1, "what is older is not held");
    shop.change("INSERT INTO reading VALUES (3, unixepoch() + 3600)");
    let path = "/v1/tables/readings?index=at&outside=refuse&from=";
    let now = running.server.clock.wall().0 / 1000;
    let answer = client.get(&format!("{path}{}", now - 600)).await.json();
    assert_eq!(answer["records"].as_array().unwrap().len(), 2, "what comes is told: {answer}");
    // As the time goes on, one that was just within falls out.
    shop.change("INSERT INTO reading VALUES (4, unixepoch() - 3598)");
    while table.held.stats().expired == 0 {
        tokio::task::yield_now().await;
        client.get(&format!("{path}{}", now - 600)).await;
    }
    assert_eq!(client.post("/v1/tables/readings/adjust", "{}").await.code(), "window-slides");
    let listed = client.get("/v1/tables").await.json();
    assert_eq!(listed["tables"][0]["window"]["slides"], true);
    running.stop().await;
}

/// T20: coverage is overstated only where that is declared, and the answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_a_little_beyond_a_sliding_window_says_that_it_used_the_slack() {
    let shop = Shop::new("wal");
    shop.change(
        "CREATE TABLE reading (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
         INSERT INTO reading VALUES (1, unixepoch() - 60), (2, unixepoch() + 1000);",
    );
    let text = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "none"

[table.readings]
origin = "shop"
sql = "SELECT id, at FROM reading"
key = ["id"]
indexes = { at = ["at"] }
window = { index = "at", last = "1h", step = "1h", unit = "seconds", slack = "2h" }
"#;
    let running = shop.serve(text).await;
    let mut client = Client::connect(running.address).await;
    let now = running.server.clock.wall().0 / 1000;
    let mut ask = async |to: u64| {
        client.get(&format!("/v1/tables/readings?index=at&from={}&to={to}", now - 600)).await
    };
    let within = ask(now - 30).await.json();
    assert_eq!((&within["covered"], &within["within_slack"]), (&json!(true), &json!(false)));
    let beyond = ask(now + 3600).await;
    assert_eq!(beyond.header("cache-status"), "larder; hit; detail=slack");
    assert_eq!(beyond.json()["within_slack"], true);
    assert_eq!(beyond.json()["records"].as_array().unwrap().len(), 1, "what is there is not asked");
    let far = ask(now + 3 * 3600).await.json();
    assert_eq!((&far["covered"], far["records"].as_array().unwrap().len()), (&json!(false), 2));
    running.stop().await;
}

/// T24: reads, refreshes, adjustments and records of each table, under both sets of names.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_reads_by_what_they_took_also_under_the_names_of_tablecache() {
    let shop = Shop::new("wal");
    let window = "window = { index = \"artist\", from = 90 }\n";
    let switch = "[server]\ntablecache_metrics = \"on\"\n";
    let (running, mut client) = shop.open(&format!("{switch}{TABLE}{window}")).await;
    let path = "/v1/tables/albums?index=artist&from=";
    for from in ["90", "90", "1"] {
        client.get(&format!("{path}{from}")).await;
    }
    shop.change("UPDATE Album SET Title = 'B' WHERE ArtistId = 90");
    client.get(&format!("{path}90")).await;
    client.post("/v1/tables/albums/adjust", r#"{"from": 91}"#).await;
    let metrics = client.get("/metrics").await.body;
    for line in [
        "larder_table_reads_total{table=\"albums\",type=\"hit\"} 2",
        "larder_table_reads_total{table=\"albums\",type=\"hit_with_refresh\"} 1",
        "larder_table_reads_total{table=\"albums\",type=\"miss\"} 1",
        "larder_table_refreshes_total{table=\"albums\"} 1",
        "larder_table_adjustments_total{table=\"albums\"} 2",
        "larder_table_adjustment_expired_total{table=\"albums\"} 2",
        "larder_table_adjustment_loaded_total{table=\"albums\"} 3",
        "larder_table_records{table=\"albums\"} 1",
        "larder_table_invalid{table=\"albums\"} 0",
        "tablecache_cached_table_reads_total{table_name=\"albums\",type=\"cache_hit\"} 2",
        "tablecache_cached_table_reads_total{table_name=\"albums\",type=\"cache_miss\"} 1",
        "tablecache_cached_table_adjustments_total{table_name=\"albums\"} 2",
        "tablecache_local_table_records_total{table_name=\"albums\",type=\"regular\"} 1",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}\n{metrics}");
    }
    let page = client.get("/").await.body;
    assert!(page.contains("data-table=\"albums\"") && page.contains("artist_title"), "{page}");
    let status = client.get("/v1/status").await.json();
    assert_eq!(status["tables"][0]["records"], 1);
    running.stop().await;
    let (running, mut client) = shop.open(TABLE).await;
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_table_reads_total") && !metrics.contains("tablecache"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_and_tables_over_one_origin_hear_the_same_changes() {
    let shop = Shop::new("wal");
    let (_, table) = TABLE.split_once("[table.albums]").unwrap();
    let both = format!("{ALBUMS}max_staleness = \"0\"\n[table.albums]{table}");
    let (running, mut client) = shop.open(&both).await;
    let resource = "/v1/resources/artist-albums?artist=90";
    assert!(client.get(resource).await.is_miss() && client.get(resource).await.is_hit());
    let read = "/v1/tables/albums?index=artist&prefix=90";
    assert_eq!(titles(&client.get(read).await).len(), 2);
    shop.change("INSERT INTO Album VALUES (200, 'New', 90)");
    assert_eq!(titles(&client.get(read).await).len(), 3);
    assert!(client.get(resource).await.is_miss());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_and_changed_from_the_command_line() {
    let shop = Shop::new("wal");
    let window = "window = { index = \"artist\", from = 90 }\n";
    let (running, _client) = shop.open(&format!("{TABLE}{window}")).await;
    running.server.catalog.table("albums").unwrap().held.loaded().await.unwrap();
    let listen = running.address.to_string();
    let own = shop.clone();
    let typed = move |words: &[&str]| {
        let words = [&["table"], words, &["--listen", &listen]].concat();
        run(&own, &words)
    };
    let words = |words: &[&str]| {
        let output = typed(words);
        assert!(output.status.success(), "{words:?}: {}", err(&output));
        out(&output)
    };
    let listed = tokio::task::block_in_place(|| words(&["ls"]));
    let url = format!("http://{}", running.address);
    let by_url = tokio::task::block_in_place(|| run(&shop, &["table", "ls", "--server", &url]));
    assert_eq!(out(&by_url), listed, "the server is named as `larder cache` names it");
    assert!(
        listed.starts_with("TABLE   ORIGIN  STATE   RECORDS") && listed.contains("artist [90, ..)"),
        "{listed}"
    );
    let get = ["get", "albums", "--index", "artist", "--prefix", "90", "--limit", "1"];
    let page = tokio::task::block_in_place(|| words(&get));
    let lines: Vec<&str> = page.lines().collect();
    assert!(
        lines[0].starts_with("AlbumId  Title") && lines[1].starts_with("94       A Matter"),
        "{page}"
    );
    assert!(lines[2].starts_with("more with --cursor "), "{page}");
    tokio::task::block_in_place(|| {
        let moved = words(&["adjust", "albums", "--from", "1", "--to", "91"]);
        assert_eq!(moved.trim(), "loaded 2  expired 1  there are now 4");
        let told = words(&[
            "invalidate",
            "albums",
            "--index",
            "artist",
            "--old",
            "1..91",
            "--key",
            "94",
            "--serve-stale",
        ]);
        assert_eq!(told.trim(), "invalidations that wait for a read or a refresh: 1");
        let refreshed = words(&["refresh", "albums"]);
        assert_eq!(refreshed.trim(), "invalidations carried out 1  there are now 4");
        let all: Value =
            serde_json::from_str(&words(&["refresh", "albums", "--all", "--json"])).unwrap();
        assert_eq!(all["loaded"], 4);
        assert!(words(&["stats", "albums"]).contains("records           4"));
        let refused = typed(&["get", "other"]);
        assert!(
            !refused.status.success() && err(&refused).contains("no such table"),
            "{}",
            err(&refused)
        );
        assert!(!typed(&["invalidate", "albums"]).status.success(), "it names nothing");
        let refused = typed(&["ls", "--server", &url]);
        assert!(!refused.status.success() && err(&refused).contains("--listen"), "name it once");
    });
    running.stop().await;
}
