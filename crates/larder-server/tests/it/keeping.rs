//! Tables that outlive the server: saved when it stops, and begun with at the next start.

use larder_server::serve::Running;

use crate::{
    client::Client,
    program::{out, run},
    shop::Shop,
    tabling::{TABLE, titles},
};

fn kept() -> String {
    TABLE.replace("max_staleness = \"0\"", "max_staleness = \"0\"\nkeep = \"albums.kept\"")
}

/// How many records a table was asked for in loads of the window, and how many loads of what is
/// invalid there were.
fn loads(running: &Running) -> (u64, u64) {
    let stats = running.server.catalog.table("albums").unwrap().held.stats();
    (stats.loaded, stats.refreshes)
}

async fn all(running: &Running) -> Vec<String> {
    titles(&Client::connect(running.address).await.get("/v1/tables/albums").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_kept_begins_with_what_it_held_and_asks_only_for_what_changed() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&kept()).await;
    assert_eq!(all(&running).await.len(), 5);
    assert_eq!(loads(&running), (5, 0));
    assert_eq!(client.get("/v1/tables").await.json()["tables"][0]["restored"], false);
    running.stop().await;
    assert!(shop.dir().join("albums.kept").exists());

    let running = shop.serve(&kept()).await;
    assert_eq!(all(&running).await.len(), 5);
    assert_eq!(loads(&running), (0, 0), "nothing was asked for");
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.get("/v1/tables").await.json()["tables"][0]["restored"], true);
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.contains("larder_table_restored{table=\"albums\"} 1\n"), "{metrics}");
    let (own, listen) = (shop.clone(), running.address.to_string());
    let listed =
        tokio::task::block_in_place(|| out(&run(&own, &["table", "ls", "--listen", &listen])));
    assert!(listed.contains("restored"), "{listed}");
    running.stop().await;

    // While nobody listens: a record, a parent of others, one more and one less.
    shop.change(
        "UPDATE Album SET Title = 'B' WHERE AlbumId = 94;
         UPDATE Artist SET Name = 'JB' WHERE ArtistId = 91;
         INSERT INTO Album VALUES (7, 'New', 1); DELETE FROM Album WHERE AlbumId = 1;",
    );
    let running = shop.serve(&kept()).await;
    let mut client = Client::connect(running.address).await;
    let answer = client.get("/v1/tables/albums").await;
    let wanted = ["Let There Be Rock", "New", "B", "A Real Dead One", "Sex Machine"];
    assert_eq!(titles(&answer), wanted);
    assert_eq!(answer.json()["records"][4]["Name"], "JB");
    let (loaded, refreshes) = loads(&running);
    assert_eq!(loaded, 0, "the window was not loaded");
    assert_ne!(refreshes, 0);
    // And it goes on being told.
    shop.change("UPDATE Album SET Title = 'C' WHERE AlbumId = 7");
    assert_eq!(all(&running).await[1], "C");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_proves_nothing_costs_a_load() {
    let shop = Shop::new("wal");
    let (running, _) = shop.open(&kept()).await;
    assert_eq!(all(&running).await.len(), 5);
    running.stop().await;
    // Another statement.
    let other = kept().replace("USING (ArtistId)\"", "USING (ArtistId) WHERE AlbumId < 100\"");
    let running = shop.serve(&other).await;
    assert_eq!((all(&running).await.len(), loads(&running).0), (4, 4));
    running.stop().await;
    // The file is of that statement now.
    let running = shop.serve(&kept()).await;
    assert_eq!((all(&running).await.len(), loads(&running).0), (5, 5));
    running.stop().await;
    let path = shop.dir().join("albums.kept");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let running = shop.serve(&kept()).await;
    assert_eq!((all(&running).await.len(), loads(&running).0), (5, 5));
    running.stop().await;
    // What an application did to the schema is told by no log.
    shop.change("ALTER TABLE Album ADD COLUMN x");
    let running = shop.serve(&kept()).await;
    assert_eq!(all(&running).await.len(), 5);
    assert_eq!(loads(&running).0, 5);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_was_saved_moves_to_the_one_of_the_settings() {
    let shop = Shop::new("wal");
    let window = |from| format!("{}window = {{ index = \"artist\", from = {from} }}\n", kept());
    let (running, _) = shop.open(&window(90)).await;
    let table = running.server.catalog.table("albums").unwrap().clone();
    table.held.loaded().await.unwrap();
    running.stop().await;
    let running = shop.serve(&window(1)).await;
    let table = running.server.catalog.table("albums").unwrap().clone();
    table.held.loaded().await.unwrap();
    while table.held.stats().adjustments == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(table.held.stats().records, 5);
    assert_eq!(table.held.stats().loaded, 2, "only what was not in the file");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_be_proven_is_not_kept() {
    let shop = Shop::new("wal");
    let refused = |text: &str| {
        let error = larder_server::config::Config::parse(text, shop.dir()).unwrap_err();
        error.to_string()
    };
    let text = refused(&kept().replace("track = \"rows\"", "track = \"database\""));
    assert!(text.starts_with("table.albums.keep") && text.contains("track = \"rows\""), "{text}");
    let (_, table) = TABLE.split_once("[table.albums]").unwrap();
    let twice = format!("{}[table.b]{table}keep = \"albums.kept\"\n", kept());
    assert!(refused(&twice).contains("[table.albums]"), "{}", refused(&twice));
    assert!(refused(&format!("{TABLE}keep_every = \"1m\"\n")).contains("table.albums.keep"));
}
