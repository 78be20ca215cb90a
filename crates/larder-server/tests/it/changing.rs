//! `POST /v1/changes`: rows that changed, told by whoever knows.

use serde_json::{Value, json};

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

const OTHER: &str = "/v1/resources/artist-albums?artist=1";
const THIRD: &str = "/v1/resources/artist-albums?artist=91";

fn album(id: i64, artist: i64) -> Value {
    json!({ "AlbumId": id, "Title": "T", "ArtistId": artist })
}

/// Which of the three artists' answers fall with `change`.
async fn fallen(client: &mut Client, change: &Value) -> Vec<i64> {
    for path in [OTHER, PATH, THIRD] {
        client.get(path).await;
        assert!(client.get(path).await.is_hit());
    }
    let told = client.post("/v1/changes", &json!({ "changes": [change] }).to_string()).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.json()["position"], told.header("larder-position"));
    let mut fallen = Vec::new();
    for (artist, path) in [(1, OTHER), (90, PATH), (91, THIRD)] {
        if client.get(path).await.is_miss() {
            fallen.push(artist);
        }
    }
    assert_eq!(told.json()["entries"], fallen.len(), "{told:?}");
    fallen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_scopes_that_the_row_was_in_and_is_in_and_no_others() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let of = |old, new| json!({ "table": "shop.Album", "old": old, "new": new });
    let client = &mut client;
    assert_eq!(fallen(client, &of(json!(null), album(9, 90))).await, [90], "created");
    assert_eq!(fallen(client, &of(album(94, 90), album(94, 1))).await, [1, 90], "moved");
    assert_eq!(fallen(client, &of(album(94, 90), json!(null))).await, [90], "deleted");
    assert_eq!(fallen(client, &of(json!(null), album(9, 77))).await, [0; 0], "of nobody here");
    let typed = json!({ "albumid": "9", "ARTISTID": "90" });
    assert_eq!(fallen(client, &of(json!(null), typed)).await, [90], "in other words");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_makes_more_fall_never_less() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let client = &mut client;
    let all = [1, 90, 91];
    let unknown = json!({ "table": "shop.Album", "new": album(94, 90) });
    assert_eq!(fallen(client, &unknown).await, all, "it may have been anywhere");
    let update =
        json!({ "table": "shop.Album", "old": null, "new": album(94, 90), "update": true });
    assert_eq!(fallen(client, &update).await, all, "it was somewhere");
    let modified = json!({ "table": "shop.Album", "new": album(94, 90), "modified": ["title"] });
    assert_eq!(fallen(client, &modified).await, [90], "it did not move");
    let modified = json!({ "table": "shop.Album", "new": album(94, 90), "modified": ["ArtistId"] });
    assert_eq!(fallen(client, &modified).await, all, "it moved");
    let partial = json!({ "table": "shop.Album", "old": null, "new": { "AlbumId": 9 } });
    assert_eq!(fallen(client, &partial).await, all, "it may be anybody's");
    let half = json!({ "table": "shop.Album", "old": album(94, 90), "new": { "AlbumId": 94 } });
    assert_eq!(fallen(client, &half).await, all, "it may have gone anywhere");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_request_are_one_step_and_an_error_tells_none() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let good = json!({ "table": "shop.Album", "old": null, "new": album(9, 90) });
    let of = |change: Value| json!({ "changes": [good, change] });
    let row = |old, new| of(json!({ "table": "shop.Album", "old": old, "new": new }));
    client.get(PATH).await;
    for (body, code, complaint) in [
        (row(json!(null), json!(null)), "malformed-request", "how the row was"),
        (of(json!({ "table": "shop.Album" })), "malformed-request", "how the row was"),
        (of(json!({ "table": "shop.Album", "old": album(9, 1) })), "malformed-request", "became"),
        (row(json!(null), json!({ "Title": "x" })), "unknown-item", "`AlbumId`"),
        (row(json!(null), json!({ "AlbumId": 1, "Tilte": "x" })), "unknown-item", "`Tilte`"),
        (row(json!(null), json!({ "AlbumId": "one" })), "unknown-item", "AlbumId"),
        (row(json!(null), json!({ "AlbumId": 1, "albumid": 1 })), "unknown-item", "twice"),
        (row(json!(null), json!({ "AlbumId": [1] })), "unknown-item", "AlbumId"),
        (of(json!({ "table": "shop.Nothing", "new": {} })), "unknown-table", "Nothing"),
        (of(json!({ "table": "app.Banner", "new": { "id": 1 } })), "malformed-request", "key"),
        (
            of(json!({ "table": "app.Banner", "new": { "id": 1 }, "key": ["nr"] })),
            "unknown-item",
            "`nr`",
        ),
        (
            of(json!({ "table": "shop.Album", "new": album(1, 1), "key": ["AlbumId"] })),
            "malformed-request",
            "key",
        ),
        (
            of(json!({ "table": "shop.Album", "new": album(1, 1), "modified": ["Tilte"] })),
            "unknown-item",
            "`Tilte`",
        ),
        (json!({ "changes": [] }), "malformed-request", "1 to 1000"),
        (json!({}), "malformed-request", "changes"),
    ] {
        let answer = client.post("/v1/changes", &body.to_string()).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{body}");
        assert!(answer.body.contains(complaint), "{body}: {answer:?}");
    }
    assert!(client.get(PATH).await.is_hit());
    let both = json!({ "changes": [
        good, { "table": "app.Banner", "old": null, "new": { "id": 1 }, "key": ["id"] }
    ] });
    let told = client.post("/v1/changes", &both.to_string()).await.json();
    assert_eq!((&told["changes"], &told["entries"]), (&2.into(), &1.into()), "{told}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_told_changes_total 2\n"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_least_as_new_as_a_change_that_was_told_is_not_an_older_answer() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    shop.change("UPDATE Album SET Title = 'Renamed' WHERE AlbumId = 94");
    let new = json!({ "AlbumId": 94, "Title": "Renamed", "ArtistId": 90 });
    let body = json!({ "changes": [{ "table": "shop.Album", "old": new, "new": new }] });
    let told = client.post("/v1/changes", &body.to_string()).await;
    let position = told.header("larder-position").to_owned();
    let answer = client.get_with(PATH, &[("larder-at-least", &position)]).await;
    assert!(answer.body.contains("Renamed"), "{answer:?}");
    running.stop().await;
}
