//! A small music shop, the way the Chinook sample database has it, and servers over it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use larder_server::{
    config::Config,
    serve::{self, Running},
    server::Timing,
};
use rusqlite::Connection;

use crate::client::{Answer, Client};

/// The resource of the first example in the documentation.
pub(crate) const ALBUMS: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"  # "rows" (change log), "database" (any change drops all), "none" (TTL only)

[resource.artist-albums]
origin = "shop"
sql = """SELECT al.AlbumId, al.Title, ar.Name
    FROM Album al JOIN Artist ar USING (ArtistId) WHERE ArtistId = :artist"""
params = { artist = "integer" }
ttl = "1h"
stale_if_error = "10m"
"#;

/// Asks the database before every read, so that no test has to wait for the watcher.
pub(crate) const STRICT: &str = "max_staleness = \"0\"\n";

pub(crate) const PATH: &str = "/v1/resources/artist-albums?artist=90";

const SCHEMA: &str = "
CREATE TABLE Artist (ArtistId INTEGER NOT NULL, Name NVARCHAR(120),
    CONSTRAINT PK_Artist PRIMARY KEY (ArtistId));
CREATE TABLE Album (AlbumId INTEGER NOT NULL, Title NVARCHAR(160) NOT NULL,
    ArtistId INTEGER NOT NULL, CONSTRAINT PK_Album PRIMARY KEY (AlbumId),
    FOREIGN KEY (ArtistId) REFERENCES Artist (ArtistId) ON DELETE NO ACTION ON UPDATE NO ACTION);
CREATE INDEX IFK_AlbumArtistId ON Album (ArtistId);
INSERT INTO Artist VALUES (1, 'AC/DC'), (90, 'Iron Maiden'), (91, 'James Brown');
INSERT INTO Album VALUES (1, 'For Those About To Rock', 1), (4, 'Let There Be Rock', 1),
    (94, 'A Matter of Life and Death', 90), (95, 'A Real Dead One', 90), (115, 'Sex Machine', 91);";

/// A database of its own in a directory of its own, which goes when this is dropped.
#[derive(Clone)]
pub(crate) struct Shop(Arc<Directory>);

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Shop {
    pub(crate) fn new(journal: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-it-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let shop = Self(Arc::new(Directory(dir)));
        shop.change(&format!("PRAGMA journal_mode = {journal}; {SCHEMA}"));
        shop
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0.0
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir().join("shop.sqlite")
    }

    /// Changes the database on a connection of its own, as another program would.
    pub(crate) fn change(&self, sql: &str) {
        let db = Connection::open(self.database()).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        db.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub(crate) fn config(&self, text: &str) -> Config {
        let mut config = Config::parse(text, self.dir()).unwrap();
        config.server.listen.set_port(0);
        config
    }

    /// Installs what row tracking needs, the way `larder track --yes` does.
    pub(crate) fn track(&self, text: &str) {
        larder_server::command::track::ensure(&self.config(text)).unwrap();
    }

    pub(crate) async fn serve(&self, text: &str) -> Running {
        self.serve_config(self.config(text)).await
    }

    pub(crate) async fn serve_config(&self, config: Config) -> Running {
        serve::start(config, Timing::Sampled).await.unwrap()
    }

    /// Tracks, serves, connects.
    pub(crate) async fn open(&self, text: &str) -> (Running, Client) {
        self.track(text);
        let running = self.serve(text).await;
        let client = Client::connect(running.address).await;
        (running, client)
    }
}

/// The titles and names of an answer.
pub(crate) fn rows(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let rows = json.as_array().unwrap().iter();
    rows.map(|row| format!("{}/{}", row["Title"].as_str().unwrap(), row["Name"].as_str().unwrap()))
        .collect()
}
