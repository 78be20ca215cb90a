//! A shop's database whose rows are tracked, a store beside it, and nodes that have both.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder::{
    Cache, Dependency, Doubt, Error, Load, MemoryLimit, Region, Source, Value,
    sqlite::{
        OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track, store::SqliteStore,
        track,
    },
};
use larder_testkit::temp::TempDir;
use rusqlite::{Connection, config::DbConfig};

const MINUTE: Duration = Duration::from_secs(60);

/// Albums 1 to 8, of the artists 1 and 2 in turn, in their first version.
const SCHEMA: &str = "CREATE TABLE album(id INTEGER PRIMARY KEY, artist INTEGER, version INTEGER);
    CREATE TABLE note(id INTEGER PRIMARY KEY, version INTEGER);
    INSERT INTO album VALUES (1,1,1), (2,2,1), (3,1,1), (4,2,1), (5,1,1), (6,2,1), (7,1,1), (8,2,1);
    INSERT INTO note VALUES (1, 1);";

/// Changes of which a watcher reads twice as many one by one, and not three times as many.
pub(crate) const OFTEN: i64 = 11_100;

const BY_ID: &str = "SELECT version FROM album WHERE id = :id";
const BY_ARTIST: &str = "SELECT sum(version) FROM album WHERE artist = :id";
const NOTE: &str = "SELECT version FROM note WHERE id = :id";

/// See the module.
pub(crate) struct Shop {
    directory: TempDir,
}

/// One of the nodes.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    /// The version of an album.
    pub(crate) albums: Region<i64, i64>,
    /// The sum of the versions of an artist's albums.
    pub(crate) artists: Region<i64, i64>,
    /// Of a table that nothing watches.
    pub(crate) notes: Region<i64, i64>,
    /// Of nothing: to wait until something was written.
    settling: Region<i64, i64>,
}

/// How a node comes to know of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Within milliseconds.
    Soon,
    /// Only if it has to ask the origin: as one that is stopped for an hour.
    WhenItAsks,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let shop = Self { directory: TempDir::new("shop").unwrap() };
        let application = shop.application();
        application.pragma_update(None, "journal_mode", "wal").unwrap();
        application.execute_batch(SCHEMA).unwrap();
        let origin = open_origin(shop.path(), Hears::Soon);
        let watched = [BY_ID, BY_ARTIST].map(|sql| prepare(&origin, sql));
        track::plan(&shop.database(), &"shop".into(), &watched)
            .unwrap()
            .apply(&shop.database())
            .unwrap();
        shop
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn database(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    /// A connection of whoever writes.
    pub(crate) fn application(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// The store, in other hands.
    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open_with(self.path().join("cache.db"), crate::options()).await.unwrap()
    }

    /// The next version of an album; which that is.
    pub(crate) fn change(&self, id: i64) -> i64 {
        let sql = "UPDATE album SET version = version + 1 WHERE id = ?1 RETURNING version";
        self.application().query_row(sql, [id], |row| row.get(0)).unwrap()
    }

    /// The version of an album [`OFTEN`] further, in one commit of as many lines.
    pub(crate) fn change_often(&self, id: i64) {
        let mut application = self.application();
        let all = application.transaction().unwrap();
        let mut change =
            all.prepare("UPDATE album SET version = version + 1 WHERE id = ?1").unwrap();
        for _ in 0..OFTEN {
            change.execute([id]).unwrap();
        }
        drop(change);
        all.commit().unwrap();
    }

    /// Puts album 1 and the log back to where they were before its last change, as from a backup,
    /// and lets another change take the place of that one in the log.
    pub(crate) fn take_back_a_change(&self) {
        let application = self.application();
        application.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        application
            .execute_batch(
                "BEGIN; UPDATE album SET version = version - 1 WHERE id = 1;
                 UPDATE larder_log SET nonce = nonce + 1
                 WHERE seq = (SELECT max(seq) FROM larder_log); COMMIT",
            )
            .unwrap();
    }

    pub(crate) async fn node(&self, hears: Hears) -> Node {
        let node = self.hasty(hears).await;
        node.settle().await;
        node
    }

    /// A node that has not written anything yet.
    pub(crate) async fn hasty(&self, hears: Hears) -> Node {
        Node::open(self.path(), hears, Duration::from_secs(1), MemoryLimit::default()).await
    }

    /// A node that asks the origin, and the store what others announced, before each answer.
    pub(crate) async fn careful(&self) -> Node {
        let memory = MemoryLimit::default();
        let node = Node::open(self.path(), Hears::Soon, Duration::ZERO, memory).await;
        node.settle().await;
        node
    }
}

impl Node {
    /// A node on the shop in a directory.
    pub(crate) async fn open(
        directory: &Path,
        hears: Hears,
        max_staleness: Duration,
        memory: MemoryLimit,
    ) -> Self {
        let store =
            SqliteStore::open_with(directory.join("cache.db"), crate::options()).await.unwrap();
        let origin = open_origin(directory, hears);
        let builder = Cache::builder().memory(memory).store(store).feed(origin.feed().unwrap());
        let cache = builder.build().unwrap();
        let region = |name: &'static str, sql| {
            let (origin, statement) = (origin.clone(), prepare(&origin, sql));
            let region = cache.region::<i64, i64>(name).ttl(MINUTE).max_staleness(max_staleness);
            let region = region.stored().loader(move |id: i64, load: Load| {
                let (origin, statement) = (origin.clone(), statement.clone());
                async move {
                    let answer =
                        load.ask(&*origin, &Query::new(statement, vec![id.into()])).await?;
                    match answer.rows[0][0] {
                        Value::Integer(version) => Ok::<_, Error>(version),
                        ref other => panic!("a version is {other:?}"),
                    }
                }
            });
            region.build().unwrap()
        };
        let (albums, artists) = (region("albums", BY_ID), region("artists", BY_ARTIST));
        let notes = region("notes", NOTE);
        let settling = cache.region::<i64, i64>("settling").ttl(MINUTE).stored();
        let settling = settling.loader(async |_, load: Load| {
            load.depends_on(Dependency::tag("settling"));
            Ok::<_, Error>(0)
        });
        let settling = settling.build().unwrap();
        Self { cache, albums, artists, notes, settling }
    }

    /// Why the life of the origin that it is in has begun.
    pub(crate) fn last_doubt(&self) -> Option<Doubt> {
        let timelines = self.cache.status().timelines;
        timelines.into_iter().find(|one| &*one.name == "shop").unwrap().last_doubt
    }

    /// What has happened here is in the store when this returns, and what did elsewhere is known.
    pub(crate) async fn settle(&self) {
        self.cache.catch_up().await.unwrap();
        // A value is written after all that was known when it was loaded, also where that was
        // refused at first.
        self.cache.invalidate([Dependency::tag("settling")]).await.unwrap();
        self.settling.get_or_load(&0).await.unwrap();
        self.cache.catch_up().await.unwrap();
    }

    pub(crate) async fn album(&self, id: i64) -> (i64, Source) {
        read(&self.albums, id).await
    }

    pub(crate) async fn artist(&self, id: i64) -> (i64, Source) {
        read(&self.artists, id).await
    }

    pub(crate) async fn note(&self, id: i64) -> (i64, Source) {
        read(&self.notes, id).await
    }
}

async fn read(region: &Region<i64, i64>, id: i64) -> (i64, Source) {
    let fetched = region.fetch(&id).await.unwrap();
    (*fetched.value, fetched.source)
}

fn open_origin(directory: &Path, hears: Hears) -> Arc<SqliteOrigin> {
    let mut options = OriginOptions::new("shop", directory.join("shop.db"));
    options.track = Track::Rows;
    if hears == Hears::WhenItAsks {
        options.poll_interval = MINUTE * 60;
    }
    SqliteOrigin::open(options).unwrap()
}

fn prepare(origin: &SqliteOrigin, sql: &str) -> Arc<Statement> {
    let id = Param { name: "id".into(), kind: ParamKind::Integer };
    origin.prepare(sql, &[id]).unwrap()
}
