//! A SQLite origin that changes while nobody watches, and a store that outlives the watcher.
//!
//! **Invariant** under test: what changed in between falls, what did not is served from the store,
//! and wherever the log cannot tell, everything falls.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder::{
    Cache, Dependency, Error, Invalidation, Load, Mode, Region, Source,
    sqlite::{
        OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track, outbox,
        store::SqliteStore, track,
    },
};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

const MINUTE: Duration = Duration::from_secs(60);

/// A database that an application writes to, and a store beside it.
struct Place {
    directory: TempDir,
    track: Track,
}

/// One life of a process.
struct Life {
    cache: Cache,
    albums: Region<i64, usize>,
    /// The same, of a table that nothing watches.
    notes: Region<i64, usize>,
}

impl Place {
    /// A database whose albums are tracked, and one change of them that was seen.
    fn tracked() -> Self {
        let place = Self::new(Track::Rows);
        let shop = place.shop();
        let plan = track::plan(&place.path(), &"shop".into(), &[by_artist(&shop)]).unwrap();
        plan.apply(&place.path()).unwrap();
        place.application().execute("INSERT INTO album VALUES (9, 9)", []).unwrap();
        place
    }

    fn new(track: Track) -> Self {
        let place = Self { directory: TempDir::new("resume").unwrap(), track };
        let application = place.application();
        application.pragma_update(None, "journal_mode", "wal").unwrap();
        application
            .execute_batch(
                "CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER NOT NULL);
                 CREATE TABLE note(id INTEGER PRIMARY KEY, artist INTEGER NOT NULL);
                 INSERT INTO album VALUES (1, 1), (2, 2);
                 INSERT INTO note VALUES (1, 1);",
            )
            .unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    fn application(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn shop(&self) -> Arc<SqliteOrigin> {
        let options =
            OriginOptions { track: self.track, ..OriginOptions::new("shop", self.path()) };
        SqliteOrigin::open(options).unwrap()
    }

    async fn life(&self) -> Life {
        let store = SqliteStore::open_with(self.directory.join("cache.db"), crate::options())
            .await
            .unwrap();
        let shop = self.shop();
        let cache = Cache::builder().store(store).feed(shop.feed().unwrap()).build().unwrap();
        let albums = region(&cache, "albums", &shop, by_artist(&shop));
        let notes = region(&cache, "notes", &shop, notes_of(&shop));
        Life { cache, albums, notes }
    }

    /// A life in which both artists are read, and what is noted of it is in the store.
    async fn first(&self) {
        let life = self.life().await;
        for artist in [1, 2] {
            assert_eq!(life.read(artist).await, (1, Source::Loaded));
        }
        life.cache.close().await;
    }

    /// That nothing is taken from the store in the next life.
    async fn expect_misses(&self) {
        let life = self.life().await;
        for artist in [1, 2] {
            assert_eq!(life.read(artist).await, (1, Source::Loaded));
        }
    }
}

/// Counts the rows that `statement` gives, under a tag and what the origin says of them.
fn region(
    cache: &Cache,
    name: &'static str,
    shop: &Arc<SqliteOrigin>,
    statement: Arc<Statement>,
) -> Region<i64, usize> {
    let origin = shop.clone();
    let counts = cache.region::<i64, usize>(name).ttl(MINUTE).stored();
    let counts = counts.loader(move |artist: i64, load: Load| {
        let (origin, statement) = (origin.clone(), statement.clone());
        async move {
            load.tag(format!("artist {artist}"));
            let query = Query::new(statement, vec![artist.into()]);
            Ok::<_, Error>(load.ask(&*origin, &query).await?.rows.len())
        }
    });
    counts.build().unwrap()
}

fn by_artist(shop: &SqliteOrigin) -> Arc<Statement> {
    prepare(shop, "SELECT id FROM album WHERE artist = :artist")
}

fn notes_of(shop: &SqliteOrigin) -> Arc<Statement> {
    prepare(shop, "SELECT id FROM note WHERE artist = :artist")
}

fn prepare(shop: &SqliteOrigin, sql: &str) -> Arc<Statement> {
    let artist = Param { name: "artist".into(), kind: ParamKind::Integer };
    shop.prepare(sql, &[artist]).unwrap()
}

impl Life {
    async fn read(&self, artist: i64) -> (usize, Source) {
        let fetched = self.albums.fetch(&artist).await.unwrap();
        (*fetched.value, fetched.source)
    }
}

#[tokio::test]
async fn rows_that_changed_while_nobody_watched_fall_and_others_are_in_the_store() {
    let place = Place::tracked();
    place.first().await;
    place.application().execute("INSERT INTO album VALUES (3, 1)", []).unwrap();
    let life = place.life().await;
    assert_eq!(life.read(1).await, (2, Source::Loaded));
    assert_eq!(life.read(2).await, (1, Source::Store));
}

#[tokio::test]
async fn records_that_were_committed_while_nobody_watched_are_carried_out() {
    let place = Place::tracked();
    place.first().await;
    let mut invalidation = Invalidation::new(Mode::Hard);
    invalidation.extend([Dependency::tag("artist 1")]);
    for record in place.shop().records(&invalidation).unwrap() {
        place.application().execute(outbox::INSERT, [record.bytes()]).unwrap();
    }
    let life = place.life().await;
    assert_eq!(life.read(1).await, (1, Source::Loaded));
    assert_eq!(life.read(2).await, (1, Source::Store));
}

#[tokio::test]
async fn a_schema_that_changed_makes_everything_a_miss() {
    let place = Place::tracked();
    place.first().await;
    place.application().execute("CREATE TABLE other(x)", []).unwrap();
    place.expect_misses().await;
}

#[tokio::test]
async fn a_log_that_has_another_nonce_makes_everything_a_miss() {
    let place = Place::tracked();
    place.first().await;
    place.application().execute("UPDATE larder_log SET nonce = nonce + 1", []).unwrap();
    place.expect_misses().await;
}

#[tokio::test]
async fn another_file_under_the_same_path_makes_everything_a_miss() {
    let place = Place::tracked();
    place.first().await;
    let copy = place.directory.join("copy.db");
    place.application().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    for side in ["shop.db-wal", "shop.db-shm"] {
        std::fs::remove_file(place.directory.join(side)).ok();
    }
    std::fs::rename(copy, place.path()).unwrap();
    place.expect_misses().await;
}

#[tokio::test]
async fn tracking_that_was_lost_meanwhile_makes_everything_a_miss() {
    let place = Place::tracked();
    place.first().await;
    track::untrack_plan(&place.path()).unwrap().apply(&place.path()).unwrap();
    place.expect_misses().await;
}

#[tokio::test]
async fn in_database_mode_everything_is_a_miss_and_what_only_has_a_tag_is_not() {
    let place = Place::new(Track::Database);
    let by_tag = |cache: &Cache| {
        let loader = async |_: i64, load: Load| {
            load.tag("front");
            Ok::<_, Error>(1)
        };
        cache.region::<i64, usize>("tagged").ttl(MINUTE).stored().loader(loader).build().unwrap()
    };
    {
        let life = place.life().await;
        assert_eq!(by_tag(&life.cache).fetch(&1).await.unwrap().source, Source::Loaded);
        life.cache.close().await;
    }
    place.first().await;
    place.expect_misses().await;
    let life = place.life().await;
    assert_eq!(by_tag(&life.cache).fetch(&1).await.unwrap().source, Source::Store);
}

#[tokio::test]
async fn tables_that_are_not_watched_are_a_miss_and_others_are_not() {
    let place = Place::tracked();
    {
        let life = place.life().await;
        assert_eq!(*life.notes.get_or_load(&1).await.unwrap(), 1);
        assert_eq!(life.read(1).await, (1, Source::Loaded));
        life.cache.close().await;
    }
    place.application().execute("INSERT INTO note VALUES (2, 1)", []).unwrap();
    let life = place.life().await;
    assert_eq!(*life.notes.get_or_load(&1).await.unwrap(), 2);
    assert_eq!(life.read(1).await, (1, Source::Store));
}

#[tokio::test]
async fn many_lives_go_on_one_after_the_other() {
    let place = Place::tracked();
    place.first().await;
    for id in 100..105 {
        place.application().execute("INSERT INTO album VALUES (?1, 1)", [id]).unwrap();
        let life = place.life().await;
        let count = usize::try_from(id - 98).unwrap();
        assert_eq!(life.read(1).await, (count, Source::Loaded));
        assert_eq!(life.read(2).await, (1, Source::Store));
        // And falls while it lives.
        place.application().execute("UPDATE album SET artist = 2 WHERE id = 2", []).unwrap();
        life.cache.catch_up().await.unwrap();
        assert_eq!(life.read(2).await, (1, Source::Loaded));
        life.cache.close().await;
    }
}

#[tokio::test]
async fn a_token_of_an_earlier_life_is_reached_in_the_next() {
    let place = Place::tracked();
    let token = {
        let life = place.life().await;
        // What nothing watches is counted by the feed alone, and the store may never hear of it.
        assert_eq!(*life.notes.get_or_load(&1).await.unwrap(), 1);
        for id in 2..10 {
            place.application().execute("INSERT INTO note VALUES (?1, 1)", [id]).unwrap();
            life.cache.catch_up().await.unwrap();
        }
        life.cache.token()
    };
    let life = place.life().await;
    life.cache.reach(&token, MINUTE).await.unwrap();
    assert_eq!(*life.notes.get_or_load(&1).await.unwrap(), 9);
}
