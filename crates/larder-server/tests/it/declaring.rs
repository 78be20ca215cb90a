//! What resources declare that their answers depend on.

use serde_json::json;

use crate::{
    client::Client,
    printed::json as printed,
    program::{err, larder},
    shop::{ALBUMS, PATH, Shop},
};

const OTHER: &str = "/v1/resources/artist-albums?artist=1";

const DECLARED: &str = r#"tags = ["artist:{artist}", "front", ["artist", "{artist}"]]
scopes = [["app.Banner", { artist = "{artist}", place = ["top", "left"] }]]
tables = ["app.Shop", "shop.Artist"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_falls_with_what_its_resource_declares_and_with_no_others() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{DECLARED}")).await;
    for (body, reached) in [
        (json!({ "tags": ["artist:90"] }), 1),
        (json!({ "tags": ["artist:9"] }), 0),
        (json!({ "tags": ["front"] }), 2),
        (json!({ "tags": [["artist", "90"]] }), 1),
        (json!({ "tags": [["band", "90"]] }), 0),
        (json!({ "tags": ["artist"] }), 0),
        (json!({ "scopes": [["app.Banner", { "artist": 90, "place": "left" }]] }), 1),
        (json!({ "scopes": [["app.Banner", { "artist": "90", "place": "left" }]] }), 0),
        (json!({ "tables": ["app.Banner"] }), 2),
        (json!({ "tables": ["app.Shop"] }), 2),
    ] {
        for path in [PATH, OTHER] {
            client.get(path).await;
            assert!(client.get(path).await.is_hit());
        }
        let done = client.post("/v1/invalidate", &body.to_string()).await;
        assert_eq!(done.json()["entries"], reached, "{body}: {done:?}");
    }
    client.get(PATH).await;
    let banner = json!({ "artist": 90, "place": "top", "id": 1 });
    let change = json!({ "table": "app.Banner", "old": null, "new": banner, "key": ["id"] });
    let told = client.post("/v1/changes", &json!({ "changes": [change] }).to_string()).await;
    assert_eq!(told.json()["entries"], 1, "{told:?}");
    client.get(PATH).await;
    let explained = client.get("/v1/resources/artist-albums/explain?artist=90").await.json();
    let dependencies = explained["dependencies"].to_string();
    for one in ["app/Tag(artist:90)", "app/Tag(front)", "app/Table(Shop)", "shop/Table(Artist)"] {
        assert!(dependencies.contains(one), "{one}: {dependencies}");
    }
    // Each word that is shown reaches the answer that it is shown for.
    let words = explained["words"].as_array().unwrap();
    assert!(words.contains(&"tag/artist:90".into()), "{explained}");
    for word in words {
        let of = word.as_str().unwrap().replace('/', "%2F").replace('=', "%3D");
        let page = client.get(&format!("/v1/dependents?of={of}")).await.json();
        let entries = page["entries"].as_array().unwrap();
        let own = |entry: &serde_json::Value| entry["parameters"]["artist"] == 90;
        assert!(entries.iter().any(own), "{word}: {page}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_parameter_meets_the_number_however_a_client_writes_it() {
    let shop = Shop::new("wal");
    let resource = r#"[resource.priced]
origin = "shop"
sql = "SELECT * FROM Album WHERE ArtistId < :price"
params = { price = "real" }
ttl = "1h"
scopes = [["app.Price", { amount = "{price}" }]]
"#;
    let (running, mut client) = shop.open(&format!("{ALBUMS}{resource}")).await;
    for (asked, told) in [("5", "5"), ("5.0", "5"), ("5", "5.0"), ("5e0", "0.5e1"), ("-0.0", "0")] {
        let path = format!("/v1/resources/priced?price={asked}");
        let scope = format!(r#"{{"scopes": [["app.Price", {{"amount": {told}}}]]}}"#);
        let change = format!(
            r#"{{"changes": [{{"table": "app.Price", "old": null, "key": ["id"],
                "new": {{"id": 1, "amount": {told}}}}}]}}"#
        );
        for (way, body) in [("/v1/invalidate", scope), ("/v1/changes", change)] {
            client.get(&path).await;
            assert!(client.get(&path).await.is_hit());
            let done = client.post(way, &body).await;
            assert_eq!(done.json()["entries"], 1, "{asked} and {told}: {done:?}");
            assert!(client.get(&path).await.is_miss());
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_an_origin_that_nobody_watches_fall_by_what_is_declared() {
    let shop = Shop::new("wal");
    let text = ALBUMS.replace("\"rows\" ", "\"none\" ");
    let running = shop.serve(&format!("{text}tags = [\"artist:{{artist}}\"]\n")).await;
    let mut client = Client::connect(running.address).await;
    client.get(PATH).await;
    assert!(client.get(PATH).await.is_hit());
    let done = client.post("/v1/invalidate", r#"{"tags": ["artist:90"]}"#).await.json();
    assert_eq!(done["entries"], 1, "{done}");
    assert!(client.get(PATH).await.is_miss());
    running.stop().await;
}

#[test]
fn check_config_shows_what_is_declared_and_refuses_what_cannot_be_filled_in() {
    let shop = Shop::new("wal");
    shop.change("CREATE TABLE Stock (id INTEGER PRIMARY KEY)");
    let check = |declared: &str| {
        let mut command = larder(&shop, &["check-config", "--json"]);
        std::fs::write(shop.dir().join("larder.toml"), format!("{ALBUMS}{declared}")).unwrap();
        command.output().unwrap()
    };
    let good = check(DECLARED);
    assert_eq!(good.status.code(), Some(0), "{}", err(&good));
    let shown = printed(&good)["origins"][0]["resources"][0]["depends_on"].to_string();
    for line in [
        "tag artist:{artist}",
        "rows of app.Banner where artist = {artist}",
        "every row of app.Shop: it is declared",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    for (declared, place, complaint) in [
        ("tags = [\"artist:{artst}\"]\n", "tags", "`artst`"),
        ("tags = [\"artist:{artist\"]\n", "tags", "brace"),
        ("tags = [\"\"]\n", "tags", "at least one character"),
        ("tags = [[\"{artist}\", \"a\"]]\n", "tags", "takes no parameter"),
        ("tags = [[\"a:b\", \"a\"]]\n", "tags", "no namespace of tags"),
        ("scopes = [[\"app.Banner\", { x = \"{y}\" }]]\n", "scopes", "`y`"),
        ("scopes = [[\"app.Banner\", { x = [] }]]\n", "scopes", "empty list"),
        ("scopes = [[\"shop.Album\", { AlbumId = 1 }]]\n", "scopes", "`tables`"),
        ("tables = [\"shop.Nothing\"]\n", "tables", "`shop.Nothing`"),
        ("tables = [\"shop.Stock\"]\n", "tables", "no statement reads shop.Stock"),
    ] {
        let bad = check(declared);
        assert_eq!(bad.status.code(), Some(3), "{declared}");
        let fault = printed(&bad)["faults"][0].as_str().unwrap().to_owned();
        let start = format!("resource.artist-albums.{place}: ");
        assert!(fault.starts_with(&start) && fault.contains(complaint), "{declared}: {fault}");
    }
}
