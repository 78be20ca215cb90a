//! `POST /v1/invalidate`, and the positions that it and every answer give out.

use larder_server::secret::Secret;

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_item_makes_its_entries_fall_and_is_counted() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    for (body, kind) in [
        (r#"{"ids": [["shop.Artist", 90]]}"#, "ids"),
        (r#"{"ids": [["shop.artist", "90"]]}"#, "ids"),
        (r#"{"scopes": [["shop.Album", {"ArtistId": 90}]]}"#, "scopes"),
        (r#"{"scopes": [["shop.ALBUM", {"artistid": "90"}]]}"#, "scopes"),
        (r#"{"tables": ["shop.Album"]}"#, "tables"),
    ] {
        client.get(PATH).await;
        assert!(client.get(PATH).await.is_hit());
        let done = client.post("/v1/invalidate", body).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(done.json()["touched"][kind][0], 1, "{body}: {done:?}");
        assert_eq!(done.json()["position"], done.header("larder-position"));
        assert!(client.get(PATH).await.is_miss(), "{body}");
    }
    let unrelated = r#"{"ids": [["shop.Artist", 1]], "tags": ["front-page"]}"#;
    let done = client.post("/v1/invalidate", unrelated).await.json();
    assert_eq!((&done["touched"]["ids"][0], &done["touched"]["tags"][0]), (&0.into(), &0.into()));
    assert!(client.get(PATH).await.is_hit());
    running.stop().await;
}

const ALBUM: &str = r#"
[resource.album]
origin = "shop"
sql = "SELECT Title FROM Album WHERE AlbumId = :id"
params = { id = "integer" }
ttl = "1h"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_item_reaches_answers_that_chose_the_same_rows_by_other_columns() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{ALBUM}")).await;
    let album = "/v1/resources/album?id=94";
    for body in [
        // Album 94 is one of artist 90: each of these is about rows that both answers hold.
        r#"{"ids": [["shop.Album", 94]]}"#,
        r#"{"scopes": [["shop.Album", {"ArtistId": 90}]]}"#,
        r#"{"scopes": [["shop.Album", {"AlbumId": 94}]]}"#,
        r#"{"scopes": [["shop.Album", {"Title": "A Matter of Life and Death"}]]}"#,
    ] {
        for path in [PATH, album] {
            client.get(path).await;
            assert!(client.get(path).await.is_hit());
        }
        assert_eq!(client.post("/v1/invalidate", body).await.status, 200);
        for path in [PATH, album] {
            assert!(client.get(path).await.is_miss(), "{body} {path}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_reaches_answers_of_an_origin_that_is_tracked_as_a_whole() {
    let shop = Shop::new("wal");
    let running = shop.serve(&ALBUMS.replace("\"rows\" ", "\"database\" ")).await;
    let mut client = Client::connect(running.address).await;
    for body in [r#"{"ids": [["shop.Artist", 90]]}"#, r#"{"tables": ["shop.Album"]}"#] {
        client.get(PATH).await;
        assert!(client.get(PATH).await.is_hit());
        assert_eq!(client.post("/v1/invalidate", body).await.status, 200);
        assert!(client.get(PATH).await.is_miss(), "{body}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_down_does_not_keep_changes_of_others_from_being_told() {
    let shop = Shop::new("wal");
    std::fs::copy(shop.database(), shop.dir().join("other.sqlite")).unwrap();
    let other = "[origin.other]\nurl = \"sqlite:other.sqlite\"\n";
    let (running, mut client) = shop.open(&format!("{ALBUMS}{other}")).await;
    std::fs::remove_file(shop.dir().join("other.sqlite")).unwrap();
    client.get(PATH).await;
    let body = r#"{"ids": [["shop.Artist", 90]], "tags": ["front-page"]}"#;
    assert_eq!(client.post("/v1/invalidate", body).await.status, 200);
    assert!(client.get(PATH).await.is_miss());
    let down = client.post("/v1/invalidate", r#"{"tables": ["other.Album"]}"#).await;
    assert_eq!((down.status, &*down.code()), (503, "origin-unavailable"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_invalidated_because_it_is_untracked_says_so() {
    let shop = Shop::new("wal");
    let running = shop.serve(&ALBUMS.replace("\"rows\" ", "\"none\" ")).await;
    let mut client = Client::connect(running.address).await;
    let answer = client.post("/v1/invalidate", r#"{"tables": ["shop.Album"]}"#).await;
    assert_eq!((answer.status, &*answer.code()), (400, "unknown-table"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_nothing_is_an_error_and_invalidates_nothing() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    let good = r#"["shop.Artist", 90]"#;
    for (body, code) in [
        (format!(r#"{{"ids": [{good}, ["shop.Artst", 90]]}}"#), "unknown-table"),
        (format!(r#"{{"ids": [{good}, ["Artist", 90]]}}"#), "unknown-table"),
        (format!(r#"{{"ids": [{good}, ["store.Artist", 90]]}}"#), "unknown-table"),
        (format!(r#"{{"ids": [{good}, ["shop.Artist", 90, 1]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}, ["shop.Artist"]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}, ["shop.Artist", true]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}, ["shop.Artist", "ninety"]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}], "scopes": [["shop.Album", {{}}]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}], "scopes": [["shop.Album", {{"X": 1}}]]}}"#), "unknown-item"),
        (format!(r#"{{"ids": [{good}], "id": []}}"#), "malformed-request"),
        (r#"{"ids": []}"#.to_owned(), "malformed-request"),
        ("{".to_owned(), "malformed-request"),
    ] {
        let answer = client.post("/v1/invalidate", &body).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{body}");
        assert!(client.get(PATH).await.is_hit(), "{body}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_least_as_new_as_a_position_gets_that_or_newer() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    client.get(PATH).await;
    let done = client.post("/v1/invalidate", r#"{"ids": [["shop.Artist", 90]]}"#).await;
    let position = done.header("larder-position").to_owned();
    let answer = client.get_with(PATH, &[("larder-at-least", &position)]).await;
    assert!(answer.is_miss());
    // A position that is known does not pass the cache by.
    let answer = client.get_with(PATH, &[("larder-at-least", &position)]).await;
    assert!(answer.is_hit());
    // Of two positions neither may be passed over in silence.
    let twice = [("larder-at-least", &*position), ("larder-at-least", &*position)];
    let answer = client.get_with(PATH, &twice).await;
    assert_eq!((answer.status, &*answer.code()), (400, "malformed-position"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_one_key_accept_each_others_positions() {
    let shop = Shop::new("wal");
    shop.track(ALBUMS);
    let mut config = shop.config(ALBUMS);
    config.server.position_key = Some(Secret::new([7; 32]));
    config.server.at_least_wait = std::time::Duration::from_millis(20);
    let one = shop.serve_config(config.clone()).await;
    let two = shop.serve_config(config).await;
    let (mut first, mut second) =
        (Client::connect(one.address).await, Client::connect(two.address).await);
    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    let position = first.get(PATH).await.header("larder-position").to_owned();
    let answer = second.get_with(PATH, &[("larder-at-least", &position)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("Renamed"), "{answer:?}");
    one.stop().await;
    two.stop().await;
}
