//! Another program changes a row, and the next answer is right; what did not change stays a hit.

use std::time::Duration;

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, STRICT, Shop, rows},
};

/// The answer is new, and it is what the rows say; asked again, it is a hit.
async fn is_new(client: &mut Client, expected: &[&str]) {
    let answer = client.get(PATH).await;
    assert!(answer.is_miss(), "{answer:?}");
    assert_eq!(rows(&answer), expected);
    let again = client.get(PATH).await;
    assert!(again.is_hit(), "{again:?}");
    assert_eq!(rows(&again), expected);
}

async fn every_change_is_seen(journal: &str) {
    let shop = Shop::new(journal);
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    let matter = "A Matter of Life and Death/Iron Maiden";
    let dead = "A Real Dead One/Iron Maiden";
    is_new(&mut client, &[matter, dead]).await;

    shop.change("UPDATE Album SET Title = 'Updated' WHERE AlbumId = 94");
    is_new(&mut client, &["Updated/Iron Maiden", dead]).await;

    shop.change("INSERT INTO Album VALUES (500, 'Inserted', 90)");
    is_new(&mut client, &["Updated/Iron Maiden", dead, "Inserted/Iron Maiden"]).await;

    shop.change("UPDATE Album SET ArtistId = 91 WHERE AlbumId = 95");
    is_new(&mut client, &["Updated/Iron Maiden", "Inserted/Iron Maiden"]).await;

    shop.change("UPDATE Album SET ArtistId = 90 WHERE AlbumId = 1");
    let moved_in = "For Those About To Rock/Iron Maiden";
    is_new(&mut client, &[moved_in, "Updated/Iron Maiden", "Inserted/Iron Maiden"]).await;

    shop.change("DELETE FROM Album WHERE AlbumId IN (1, 94)");
    is_new(&mut client, &["Inserted/Iron Maiden"]).await;

    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    is_new(&mut client, &["Inserted/Renamed"]).await;

    shop.change("REPLACE INTO Album VALUES (500, 'Replaced', 90)");
    is_new(&mut client, &["Replaced/Renamed"]).await;

    shop.change("REPLACE INTO Album VALUES (500, 'Displaced', 91)");
    is_new(&mut client, &[]).await;

    for unrelated in [
        "UPDATE Album SET Title = 'Other' WHERE AlbumId = 115",
        "UPDATE Artist SET Name = 'Other' WHERE ArtistId = 1",
        "INSERT INTO Album VALUES (501, 'Another', 1)",
        "BEGIN; UPDATE Album SET ArtistId = 90; ROLLBACK;",
    ] {
        shop.change(unrelated);
        let answer = client.get(PATH).await;
        assert!(answer.is_hit(), "{unrelated}: {answer:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_seen_with_a_write_ahead_log() {
    every_change_is_seen("wal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_seen_with_a_rollback_journal() {
    every_change_is_seen("delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_as_written_sees_a_change_without_being_asked() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    assert!(client.get(PATH).await.is_miss());
    assert!(client.get(PATH).await.is_hit());
    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    let seen = async {
        while !rows(&client.get(PATH).await).iter().all(|row| row.ends_with("/Renamed")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), seen).await.expect("within max_staleness");
    running.stop().await;
}

async fn a_change_of_the_schema_is_a_miss(journal: &str) {
    let shop = Shop::new(journal);
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    assert!(client.get(PATH).await.is_miss());
    assert!(client.get(PATH).await.is_hit());
    shop.change("ALTER TABLE Album ADD COLUMN Year INTEGER");
    assert!(client.get(PATH).await.is_miss());
    shop.change("UPDATE Album SET Title = 'After' WHERE AlbumId = 94");
    let answer = client.get(PATH).await;
    assert_eq!(rows(&answer)[0], "After/Iron Maiden");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_schema_is_a_miss_with_a_write_ahead_log() {
    a_change_of_the_schema_is_a_miss("wal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_schema_is_a_miss_with_a_rollback_journal() {
    a_change_of_the_schema_is_a_miss("delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_rebuilt_without_its_triggers_is_never_served_as_tracked() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STRICT}")).await;
    assert!(client.get(PATH).await.is_miss());
    shop.change(
        "PRAGMA foreign_keys = OFF; BEGIN;
        CREATE TABLE Rebuilt (AlbumId INTEGER PRIMARY KEY, Title TEXT, ArtistId INTEGER);
        INSERT INTO Rebuilt SELECT * FROM Album;
        DROP TABLE Album; ALTER TABLE Rebuilt RENAME TO Album; COMMIT;",
    );
    assert!(client.get(PATH).await.is_miss());
    // No trigger reports this.
    shop.change("UPDATE Album SET Title = 'Unreported' WHERE AlbumId = 94");
    let answer = client.get(PATH).await;
    assert!(answer.is_miss());
    assert_eq!(rows(&answer)[0], "Unreported/Iron Maiden");
    let explained = client.get("/v1/resources/artist-albums/explain?artist=90").await.json();
    let dependencies = explained["dependencies"].to_string();
    // Its scope is still there for explicit invalidations, but any commit drops the answer.
    assert!(dependencies.contains("shop/Table(*)"), "{dependencies}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_triggers_any_change_drops_everything_and_readiness_says_so() {
    let shop = Shop::new("wal");
    let running = shop.serve(&format!("{ALBUMS}{STRICT}")).await;
    let mut client = Client::connect(running.address).await;
    assert!(client.get(PATH).await.is_miss());
    assert!(client.get(PATH).await.is_hit());
    shop.change("UPDATE Artist SET Name = 'Unrelated' WHERE ArtistId = 1");
    assert!(client.get(PATH).await.is_miss());
    let said = async {
        while !client.get("/health/ready").await.body.contains("larder track") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), said).await.expect("readiness says so");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untracked_origin_is_served_by_its_ttl_alone() {
    let shop = Shop::new("wal");
    let text = ALBUMS.replace("track = \"rows\"", "track = \"none\"");
    let running = shop.serve(&text).await;
    let mut client = Client::connect(running.address).await;
    assert!(client.get(PATH).await.is_miss());
    shop.change("UPDATE Artist SET Name = 'Renamed' WHERE ArtistId = 90");
    assert!(client.get(PATH).await.is_hit());
    running.stop().await;
}
