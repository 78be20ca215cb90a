//! Tables over HTTP: read by ranges of their indexes, followed, adjusted and invalidated.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    shop::Shop,
};

/// The albums with their artists, by artist and by title, asked of the origin before each read.
pub(crate) const TABLE: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[table.albums]
origin = "shop"
sql = "SELECT AlbumId, Title, Album.ArtistId, Name FROM Album JOIN Artist USING (ArtistId)"
key = ["AlbumId"]
indexes = { artist_title = ["ArtistId", "Title"], artist = ["ArtistId"], title = ["Title"] }
follows.Artist = { columns = ["ArtistId"], index = "artist" }
max_staleness = "0"
"#;

/// The titles of a page.
pub(crate) fn titles(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let records = json["records"].as_array().unwrap().iter();
    records.map(|record| record["Title"].as_str().unwrap().to_owned()).collect()
}

async fn ask(client: &mut Client, query: &str) -> Answer {
    client.get(&format!("/v1/tables/albums?{query}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_any_index_are_read_half_open_and_by_their_first_columns() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(TABLE).await;
    let all = ask(&mut client, "").await;
    assert_eq!(titles(&all).len(), 5);
    assert_eq!(all.header("cache-status"), "larder; hit");
    let json = all.json();
    assert_eq!(json["records"][0]["Name"], "AC/DC");
    assert_eq!((&json["covered"], &json["next"]), (&json!(true), &Value::Null));
    assert_eq!(json["position"], all.header("larder-position"));
    let of = ["A Matter of Life and Death", "A Real Dead One"];
    assert_eq!(titles(&ask(&mut client, "index=artist_title&prefix=90").await), of);
    assert_eq!(titles(&ask(&mut client, "index=artist_title&from=90&to=91").await), of);
    assert_eq!(titles(&ask(&mut client, "index=artist_title&from=90,A%20R&to=91").await), of[1..]);
    let listed = "index=artist_title&from=[90,%20%22A%20R%22]&to=[91]";
    assert_eq!(titles(&ask(&mut client, listed).await), of[1..]);
    let to = ask(&mut client, "index=artist_title&from=90&to=90,A%20Real%20Dead%20One").await;
    assert_eq!(titles(&to), of[..1], "the end is not in it");
    let both = ask(&mut client, "index=title&to=B&and=artist&and_from=90&and_to=91").await;
    assert_eq!(titles(&both), of);
    assert!(titles(&ask(&mut client, "from=4&to=4").await).is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_the_one_before_ended_in_both_directions() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(TABLE).await;
    for (order, first) in [("asc", "A Matter of Life and Death"), ("desc", "Sex Machine")] {
        let query = format!("index=title&limit=2&order={order}");
        let mut page = ask(&mut client, &query).await;
        let mut seen = titles(&page);
        assert_eq!(seen[0], first);
        while let Some(next) = page.json()["next"].as_str() {
            assert_eq!(page.header("larder-next"), next);
            page = ask(&mut client, &format!("{query}&cursor={next}")).await;
            seen.extend(titles(&page));
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.dedup();
        if order == "desc" {
            sorted.reverse();
        }
        assert_eq!(seen, sorted, "each once and in order");
    }
    let next = ask(&mut client, "index=title&limit=2").await.json()["next"].clone();
    let next = next.as_str().unwrap();
    for other in [format!("index=artist&cursor={next}"), format!("order=desc&cursor={next}")] {
        assert_eq!(ask(&mut client, &other).await.code(), "malformed-cursor");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_origin_is_in_the_next_answer_and_asks_for_no_more_than_it_touches() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(TABLE).await;
    assert_eq!(titles(&ask(&mut client, "").await).len(), 5);
    shop.change("UPDATE Artist SET Name = 'IM' WHERE ArtistId = 90");
    let other = ask(&mut client, "index=artist&prefix=1").await;
    assert_eq!(other.json()["records"][0]["Name"], "AC/DC");
    let stats = || running.server.catalog.table("albums").unwrap().held.stats();
    assert_eq!((stats().refreshes, stats().invalid), (0, 1), "nobody asked for it yet");
    let own = ask(&mut client, "index=artist&prefix=90").await;
    assert_eq!(own.json()["records"][0]["Name"], "IM");
    assert_eq!((stats().refreshes, stats().invalid), (1, 0));
    shop.change("INSERT INTO Album VALUES (7, 'New', 91); DELETE FROM Album WHERE AlbumId = 1");
    let all = ask(&mut client, "").await;
    let ids: Vec<i64> = all.json()["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["AlbumId"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [4, 7, 94, 95, 115]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_touches_the_records_whose_first_columns_have_its_values() {
    let shop = Shop::new("wal");
    let text = TABLE.replace("index = \"artist\" }", "index = \"artist_title\" }");
    let (running, mut client) = shop.open(&text).await;
    let names = async |client: &mut Client, artist: i64| {
        let answer = ask(client, &format!("index=artist_title&prefix={artist}")).await.json();
        let records = answer["records"].as_array().unwrap().iter();
        records.map(|record| record["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut client, 90).await, ["Iron Maiden"; 2]);
    shop.change("UPDATE Artist SET Name = 'IM' WHERE ArtistId = 90");
    assert_eq!(names(&mut client, 91).await, ["James Brown"]);
    let stats = || running.server.catalog.table("albums").unwrap().held.stats();
    assert_eq!((stats().refreshes, stats().invalid), (0, 1), "nobody asked for it yet");
    assert_eq!(names(&mut client, 90).await, ["IM"; 2]);
    assert_eq!((stats().refreshes, stats().invalid), (1, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_a_table_gave_holds_for_its_next_read() {
    let shop = Shop::new("wal");
    let text = TABLE.replace("max_staleness = \"0\"", "max_staleness = \"1h\"");
    let (running, mut client) = shop.open(&text).await;
    let first = ask(&mut client, "").await.header("larder-position").to_owned();
    shop.change("UPDATE Album SET Title = 'B' WHERE AlbumId = 94");
    let headers = [("larder-at-least", &*first)];
    let path = "/v1/tables/albums?prefix=94";
    let again = client.get_with(path, &headers).await;
    assert_eq!(titles(&again), ["B"]);
    assert_ne!(again.header("larder-position"), first);
    assert_eq!(
        client.get_with(path, &[("larder-at-least", "00")]).await.code(),
        "malformed-position"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_commit_is_noticed_where_rows_are_not_tracked() {
    let shop = Shop::new("wal");
    let text = TABLE.replace("track = \"rows\"", "track = \"database\"");
    let (running, mut client) = shop.open(&text).await;
    assert_eq!(titles(&ask(&mut client, "prefix=94").await), ["A Matter of Life and Death"]);
    shop.change("UPDATE Album SET Title = 'B' WHERE AlbumId = 94");
    assert_eq!(titles(&ask(&mut client, "prefix=94").await), ["B"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_window_does_not_cover_is_loaded_or_refused_and_the_answer_says_so() {
    let shop = Shop::new("wal");
    let window = "window = { index = \"artist\", from = 90 }\n";
    let (running, mut client) = shop.open(&format!("{TABLE}{window}")).await;
    let within = ask(&mut client, "index=artist&from=90").await;
    assert_eq!((titles(&within).len(), &within.json()["covered"]), (3, &json!(true)));
    let part = ask(&mut client, "index=artist&from=1").await;
    assert_eq!((titles(&part).len(), &part.json()["covered"]), (5, &json!(false)));
    assert_eq!(part.header("cache-status"), "larder; fwd=partial");
    let refused = ask(&mut client, "index=artist&from=1&outside=refuse").await;
    assert_eq!((refused.status, &*refused.code()), (409, "outside-window"));
    let other = ask(&mut client, "index=title&and=artist&and_from=91").await;
    assert_eq!((titles(&other).len(), &other.json()["covered"]), (1, &json!(true)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_a_line_for_each_record() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(TABLE).await;
    let mut many = String::from("BEGIN;");
    for id in 1000..4000 {
        many.push_str(&format!("INSERT INTO Album VALUES ({id}, 'Title {id}', 91);"));
    }
    shop.change(&format!("{many}COMMIT;"));
    let lines = [("accept", "application/x-ndjson")];
    let head = client.get_with("/v1/tables/albums?index=artist&prefix=91", &lines).await;
    assert_eq!(head.header("content-type"), "application/x-ndjson");
    let mut text = String::new();
    let mut parts = 0;
    while let Some(part) = client.event().await {
        text.push_str(&part);
        parts += 1;
    }
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3001);
    assert!(records.iter().all(|record| record["Name"] == "James Brown"));
    assert!(1 < parts, "in parts");
    let head = client.get_with("/v1/tables/albums?order=desc&limit=2", &lines).await;
    let mut text = String::new();
    while let Some(part) = client.event().await {
        text.push_str(&part);
    }
    assert_eq!(text.lines().count(), 2);
    let next =
        format!("/v1/tables/albums?order=desc&limit=1&cursor={}", head.header("larder-next"));
    assert_eq!(client.get(&next).await.json()["records"][0]["AlbumId"], 3997);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_move_and_records_fall_by_post() {
    let shop = Shop::new("wal");
    let text = TABLE.replace("track = \"rows\"", "track = \"none\"");
    let window = "window = { index = \"artist\", from = 90 }\n";
    let (running, mut client) = shop.open(&format!("{text}{window}")).await;
    assert_eq!(titles(&ask(&mut client, "index=artist&from=90").await).len(), 3);
    let moved = client.post("/v1/tables/albums/adjust", r#"{"from": 1, "to": 91}"#).await.json();
    assert_eq!(
        (&moved["loaded"], &moved["expired"], &moved["records"]),
        (&json!(2), &json!(1), &json!(4))
    );
    shop.change("UPDATE Album SET Title = 'B'; UPDATE Album SET ArtistId = 90 WHERE AlbumId = 4");
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=1").await).len(), 2, "nobody told");
    let body = r#"{"index": "artist", "old": [1], "new": [{"from": 90, "to": 91}]}"#;
    let told = client.post("/v1/tables/albums/invalidate", body).await;
    assert_eq!(told.json()["invalid"], 1, "{told:?}");
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=1").await), ["B"]);
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=90").await), ["B"; 3]);
    shop.change("UPDATE Album SET Title = 'C'");
    let body = r#"{"keys": [1, 4], "serve_stale": true}"#;
    assert_eq!(client.post("/v1/tables/albums/invalidate", body).await.status, 200);
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=1").await), ["B"]);
    let refreshed = client.post("/v1/tables/albums/refresh", "{}").await.json();
    assert_eq!(refreshed["refreshed"], 1, "{refreshed}");
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=1").await), ["C"]);
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=90").await), ["C", "B", "B"]);
    let all = client.post("/v1/tables/albums/refresh", r#"{"all": true}"#).await.json();
    assert_eq!(all["loaded"], 4, "{all}");
    assert_eq!(titles(&ask(&mut client, "index=artist&prefix=90").await), ["C"; 3]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_names_table_index_and_column() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(TABLE).await;
    for (query, code, names) in [
        ("index=tilte", "no-index", "albums has no index `tilte`; it has primary, artist,"),
        ("index=artist&from=x", "ill-typed-parameter", "the column ArtistId holds a number"),
        ("index=artist&from=9&to=8", "ill-typed-parameter", "the index `artist`"),
        ("index=artist&from=1,2", "ill-typed-parameter", "the index is by ArtistId"),
        ("limit=0", "ill-typed-parameter", "1 to 10000"),
        ("outside=maybe", "ill-typed-parameter", "refuse"),
        ("order=up", "ill-typed-parameter", "asc or desc"),
        ("prefix=1&from=1", "ill-typed-parameter", "`prefix`, or"),
        ("cursor=x", "malformed-cursor", "next"),
        ("colour=red", "unknown-parameter", "colour"),
    ] {
        let answer = ask(&mut client, query).await;
        assert_eq!(answer.code(), code, "{query}");
        assert!(answer.body.contains(names), "{query}: {}", answer.body);
    }
    let long = format!("index=title&from={}", "x".repeat(2000));
    assert_eq!(ask(&mut client, &long).await.code(), "parameter-too-long");
    assert_eq!(client.get("/v1/tables/other").await.code(), "no-table");
    for (what, body, code) in [
        ("adjust", r#"{"from": 5, "to": 3}"#, "unknown-item"),
        ("adjust", r#"{"form": 5}"#, "malformed-request"),
        ("invalidate", "{}", "malformed-request"),
        ("invalidate", r#"{"index": "x", "old": [1]}"#, "no-index"),
        ("invalidate", r#"{"keys": ["a"]}"#, "unknown-item"),
        ("invalidate", r#"{"old": [{"until": 3}]}"#, "unknown-item"),
        ("refresh", "[]", "malformed-request"),
    ] {
        let answer = client.post(&format!("/v1/tables/albums/{what}"), body).await;
        assert_eq!(answer.code(), code, "{what} {body}: {answer:?}");
    }
    assert_eq!(titles(&ask(&mut client, "").await).len(), 5, "and changed nothing");
    running.stop().await;
}
