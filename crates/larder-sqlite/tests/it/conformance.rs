//! The conformance suite over real files, in both modes and both journals, in the first life of a
//! feed and in one that goes on where another left.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use larder_core::{
    Clock, Error, Stamp, Value,
    feed::{Feed, FeedSink},
    origin::{Answer, Origin},
};
use larder_sqlite::{
    OriginOptions, Param, ParamKind, Query, SqliteOrigin, Statement, Track, track,
};
use larder_testkit::conformance::{self, Ask, End, Fault, Precision, Row, Support, World, Write};
use rusqlite::{Connection, config::DbConfig};

use crate::place::{NAME, Place, block_on, query, writer};

mod rows_in_wal {
    larder_testkit::conformance!(|seed| super::File::new(seed, super::Track::Rows, "wal"));
}

mod rows_in_rollback {
    larder_testkit::conformance!(|seed| super::File::new(seed, super::Track::Rows, "delete"));
}

mod database_in_wal {
    larder_testkit::conformance!(|seed| super::File::new(seed, super::Track::Database, "wal"));
}

mod database_in_rollback {
    larder_testkit::conformance!(|seed| super::File::new(seed, super::Track::Database, "delete"));
}

mod rows_in_wal_in_a_second_life {
    larder_testkit::conformance!(|seed| super::File::left(seed, super::Track::Rows, "wal"));
}

mod rows_in_rollback_in_a_second_life {
    larder_testkit::conformance!(|seed| super::File::left(seed, super::Track::Rows, "delete"));
}

const BY_ID: &str = "SELECT id, bucket, version FROM item WHERE id = :a";
const BY_BUCKET: &str = "SELECT id, bucket, version FROM item WHERE bucket = :a ORDER BY id";

/// A database file, larder's origin over it, and an application that writes to it.
struct File {
    place: Place,
    path: PathBuf,
    track: Track,
    journal: &'static str,
    clock: Clock,
    origin: Arc<SqliteOrigin>,
    feed: Arc<dyn Feed>,
    application: Connection,
    statements: [Arc<Statement>; 2],
    steps: u64,
    starts: Starts,
}

/// In which life of its feed a world is.
enum Starts {
    First,
    Second,
}

enum Load {
    Begun(Query, Stamp),
    Ended(Result<Answer<Vec<Row>>, Error>),
}

impl File {
    fn new(seed: u64, track: Track, journal: &'static str) -> Self {
        let place = Place::new();
        let path = place.database(
            "a.db",
            journal,
            "CREATE TABLE item(id INTEGER PRIMARY KEY, bucket INTEGER, version INTEGER UNIQUE)",
        );
        let clock = Clock::system();
        let options = OriginOptions { track, readers: 2, ..OriginOptions::new(NAME, &path) };
        let options = OriginOptions { clock: clock.clone(), ..options };
        let options = OriginOptions { poll_interval: Duration::from_millis(1), ..options };
        let origin = SqliteOrigin::open(options).unwrap();
        let param = [Param { name: "a".to_owned(), kind: ParamKind::Integer }];
        let statements = [BY_ID, BY_BUCKET].map(|sql| origin.prepare(sql, &param).unwrap());
        if track == Track::Rows {
            let plan = track::plan(&path, &NAME.into(), &statements).unwrap();
            plan.apply(&path).unwrap();
        }
        let application = writer(&path);
        let feed = origin.feed().unwrap();
        Self {
            place,
            path,
            track,
            journal,
            clock,
            origin,
            feed,
            application,
            statements,
            steps: seed,
            starts: Starts::First,
        }
    }

    fn left(seed: u64, track: Track, journal: &'static str) -> Self {
        Self { starts: Starts::Second, ..Self::new(seed, track, journal) }
    }

    fn query(&self, ask: Ask) -> Query {
        match ask {
            Ask::Row(id) => query(&self.statements[0], vec![id.into()]),
            Ask::Bucket(bucket) => query(&self.statements[1], vec![bucket.into()]),
        }
    }

    fn load(&self, query: &Query, before: Stamp) -> Result<Answer<Vec<Row>>, Error> {
        let answer = block_on(self.origin.load(query, before))?;
        let rows = answer.rows.rows.iter().map(|row| match &row[..] {
            [Value::Integer(id), Value::Integer(bucket), Value::Integer(version)] => {
                Row { id: *id, bucket: *bucket, version: version.cast_unsigned() }
            }
            other => panic!("not a row of item: {other:?}"),
        });
        let rows = rows.collect();
        Ok(Answer { rows, stamp: answer.stamp, dependencies: answer.dependencies })
    }

    /// A copy under a new name, log and nonces included.
    fn copy(&self) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let copy = self.place.path(&format!("copy{}", NUMBER.fetch_add(1, Ordering::SeqCst)));
        self.application.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        Connection::open(&copy).unwrap().pragma_update(None, "journal_mode", self.journal).unwrap();
        copy
    }

    fn put_in_place(&mut self, copy: &std::path::Path) {
        self.application = Connection::open_in_memory().unwrap();
        // In this order: a new database beside the old one's log would be read with that log.
        for side in ["a.db-wal", "a.db-shm"] {
            std::fs::remove_file(self.place.path(side)).ok();
        }
        std::fs::rename(copy, &self.path).unwrap();
        self.application = writer(&self.path);
    }

    /// The rows and the log go back where they are, as when pages are copied back: no trigger sees
    /// it, and numbers of the log are used again.
    fn write_back(&self, saved: &std::path::Path) {
        let saved = saved.display();
        let trigger = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        self.application.set_db_config(trigger, false).unwrap();
        self.application
            .execute_batch(&format!(
                "ATTACH '{saved}' AS saved; BEGIN; DELETE FROM item; \
                 INSERT INTO item SELECT * FROM saved.item; DELETE FROM larder_log; \
                 INSERT INTO larder_log SELECT * FROM saved.larder_log; \
                 UPDATE larder_meta SET (seq, nonce) = (SELECT seq, nonce FROM saved.larder_meta); \
                 COMMIT; DETACH saved"
            ))
            .unwrap();
        self.application.set_db_config(trigger, true).unwrap();
    }

    fn write(&mut self, write: Write) {
        self.steps += 1;
        let (sql, row) = match write {
            Write::Remove(id) => {
                self.application.execute("DELETE FROM item WHERE id = ?1", [id]).unwrap();
                return;
            }
            Write::Put(row) if self.steps.is_multiple_of(2) => {
                ("REPLACE INTO item VALUES (?1, ?2, ?3)", row)
            }
            Write::Put(row) => (
                "INSERT INTO item VALUES (?1, ?2, ?3) ON CONFLICT (id) \
                 DO UPDATE SET bucket = excluded.bucket, version = excluded.version",
                row,
            ),
        };
        let version = row.version.cast_signed();
        self.application.execute(sql, [row.id, row.bucket, version]).unwrap();
    }
}

impl World for File {
    type Load = Load;

    fn feed(&self) -> &dyn Feed {
        &*self.feed
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn precision(&self) -> Precision {
        match self.track {
            Track::Rows => Precision::Row,
            Track::Database | Track::None => Precision::Database,
        }
    }

    fn transact(&mut self, writes: &[Write], end: End, during: &mut dyn FnMut(&mut Self)) {
        self.application.execute_batch("BEGIN IMMEDIATE").unwrap();
        writes.iter().for_each(|write| self.write(*write));
        during(self);
        let end = if end == End::Commit { "COMMIT" } else { "ROLLBACK" };
        self.application.execute_batch(end).unwrap();
    }

    fn begin_load(&mut self, ask: Ask, before: Stamp) -> Load {
        self.steps += 1;
        let query = self.query(ask);
        match self.steps % 2 {
            0 => Load::Ended(self.load(&query, before)),
            _ => Load::Begun(query, before),
        }
    }

    fn finish_load(&mut self, load: Load) -> Result<Answer<Vec<Row>>, Error> {
        match load {
            Load::Begun(query, before) => self.load(&query, before),
            Load::Ended(answer) => answer,
        }
    }

    fn start(&mut self, sink: Arc<dyn FeedSink>) {
        match self.starts {
            Starts::First => self.feed.start(sink).unwrap(),
            Starts::Second => conformance::start_where_it_was_left(self, sink),
        }
    }

    fn goes_on(&self) -> Support {
        match self.track {
            Track::Rows => Support::Done,
            Track::Database | Track::None => Support::Unsupported("there is no log"),
        }
    }

    fn fault(&mut self, fault: Fault) -> Support {
        let saved = self.place.path("saved.db");
        let away = self.place.path("away.db");
        match fault {
            Fault::Save => std::fs::rename(self.copy(), saved).unwrap(),
            Fault::Restore if self.track == Track::Rows => self.write_back(&saved),
            Fault::Restore => {
                let copy = self.place.path("restored.db");
                std::fs::copy(&saved, &copy).unwrap();
                self.put_in_place(&copy);
            }
            Fault::Replace => {
                let copy = self.copy();
                self.put_in_place(&copy);
            }
            Fault::LoseLog if self.track != Track::Rows => {
                return Support::Unsupported("there is no log in database mode");
            }
            Fault::LoseLog => self.application.execute_batch("DELETE FROM larder_log").unwrap(),
            Fault::ChangeSchema => {
                let sql = "CREATE TABLE more(a); DROP TABLE more";
                self.application.execute_batch(sql).unwrap();
            }
            Fault::Cut => std::fs::rename(&self.path, &away).unwrap(),
            Fault::Mend => std::fs::rename(&away, &self.path).unwrap(),
        }
        Support::Done
    }
}
