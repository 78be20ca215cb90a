//! A table as the server holds it: records of a statement in several orders, loaded at start, kept
//! right by the origin's feed, and read over HTTP.
//!
//! Apart from `tables.rs`, which knows the tables of an origin; here a table is one of
//! `larder-table`. Reading order: [`key`] (keys as people write them), [`window`] (which records
//! are held), [`life`] (from loading to stopping), [`keep`] (records that outlive the process),
//! [`replica`] (those of another server), [`cursor`] (where a page goes on), [`records`] (records
//! as bytes), [`arrow`] (the same in columns). **Invariant**: whatever is wrong with the statement,
//! its columns and its window is refused when the table is built; what may pass is tried again for
//! as long as the server runs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder::{Clock, Error, Feed, Stamp, Token};
use larder_sqlite::Statement;
use larder_table::sql::{Row, RowKey, SqlDefinition};

use crate::{
    config::{
        Table as Settings, Tracking,
        table::{Followed, PRIMARY},
    },
    origin::{Held, Origin},
};

pub mod key;

pub mod window;

pub mod life;

pub mod keep;

pub mod replica;

pub mod cursor;

pub mod records;

pub mod arrow;

use keep::Kept;
use key::Column;
use life::Life;
use records::Members;
use window::Window;

/// One table.
pub struct Table {
    /// The name in the URL.
    pub name: String,
    /// The name of its origin; that of its owner, where it is a replica.
    pub origin: String,
    /// Where its owner listens, where it is a replica.
    pub replica_of: Option<String>,
    /// The names of its columns.
    pub columns: Arc<[Arc<str>]>,
    /// The same, with what they hold.
    pub known: Vec<Column>,
    /// The orders of its records, that by primary key first.
    pub indexes: Vec<Index>,
    /// The tables of the origin that its statement reads.
    pub reads: Vec<String>,
    /// Its columns as members of JSON objects.
    pub members: Members,
    /// The records.
    pub held: larder_table::Table<Row, RowKey>,
    /// Which of them are held.
    pub window: Window,
    /// How long a read waits for the first load.
    pub load_wait: Duration,
    /// How it is.
    pub life: Life,
    /// Where its records outlive the process, if anywhere.
    pub kept: Option<Kept>,
    /// The second of the server's life after the one in which a failure was last logged.
    logged: AtomicU64,
}

/// An order of the records.
#[derive(Debug)]
pub struct Index {
    /// The name in the URL.
    pub name: String,
    /// What its keys are made of.
    pub columns: Vec<Column>,
    /// The index itself.
    pub order: larder_table::Index<Row, RowKey>,
}

/// A table of the origin, and columns of it.
pub type LookedAt = (Arc<str>, Vec<Arc<str>>);

/// A table in the making: all of it but what tells of changes.
#[derive(Debug)]
pub struct Plan {
    definition: SqlDefinition<Row>,
    columns: Arc<[Arc<str>]>,
    known: Vec<Column>,
    indexes: Vec<Index>,
    window: Window,
    reads: Vec<String>,
}

impl Plan {
    /// The table of `settings` over `origin`.
    ///
    /// # Errors
    /// `Config` when the statement, a column, a rule or the window cannot be; those of preparing
    /// the statement.
    pub fn new(name: &str, settings: &Settings, origin: &Origin) -> Result<Self, Error> {
        let Held { source, columns: known, reads } = origin.hold(settings)?;
        let columns: Arc<[Arc<str>]> = source.columns().cloned().collect();
        let mut definition = source.rows(name, &names(&settings.key))?;
        definition.max_staleness(settings.max_staleness);
        definition
            .definition()
            .limit(settings.memory_bytes, Row::bytes)
            .wait_for_load(settings.load_wait)
            .load_timeout(settings.load_timeout);
        observe(&mut definition, name);
        let own = |wanted: &[String]| -> Vec<Column> {
            let find = |name: &String| known.iter().find(|own| own.name == *name).cloned();
            wanted.iter().filter_map(find).collect()
        };
        let order = definition.definition().primary();
        let primary = Index { name: PRIMARY.to_owned(), columns: own(&settings.key), order };
        let mut indexes = vec![primary];
        for (name, wanted) in &settings.indexes {
            let order = definition.columns(name, &names(wanted))?;
            indexes.push(Index { name: name.clone(), columns: own(wanted), order });
        }
        for (table, Followed { columns, index }) in &settings.follows {
            if let Some(index) = indexes.iter().find(|own| own.name == *index) {
                definition.follows(table, &names(columns), &index.order)?;
            }
        }
        let is_told = origin.track != Tracking::None;
        let window = Window::new(name, &settings.window, &indexes, is_told)?;
        if let Some(slack) = window.slack() {
            definition.definition().slack(&window.index(&indexes)?.order, slack);
        }
        Ok(Self { definition, columns, known, indexes, window, reads })
    }

    /// The tables of the origin that its statement reads.
    pub fn reads(&self) -> &[String] {
        &self.reads
    }

    /// The statement and the columns that a changed row has to be told with, to plan what tracking
    /// it takes.
    pub fn looks_at(&self) -> (Arc<Statement>, Vec<LookedAt>) {
        (self.definition.statement().clone(), self.definition.looks_at())
    }
}

fn names(columns: &[String]) -> Vec<&str> {
    columns.iter().map(String::as_str).collect()
}

impl Table {
    /// Builds the table over `origin`, which `feed` tells of. Nothing is loaded yet.
    ///
    /// # Errors
    /// As [`Plan::new`]; those of the feed.
    pub fn build(
        name: &str,
        settings: &Settings,
        origin: &Origin,
        feed: Option<Arc<dyn Feed>>,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let Plan { definition, columns, known, indexes, window, reads } =
            Plan::new(name, settings, origin)?;
        let order = &window.index(&indexes)?.order;
        let (held, kept) = match (feed, &settings.keep) {
            (Some(feed), Some(keep)) => {
                let codec = definition.row_codec();
                let restoring = definition.restorable(order, feed, clock.clone())?;
                (restoring.table().clone(), Some(Kept::new(keep.clone(), codec, restoring)))
            }
            (Some(feed), None) => (definition.follow(order, feed, clock.clone())?, None),
            (None, _) => (definition.build(order)?, None),
        };
        Ok(Self {
            name: name.to_owned(),
            origin: settings.origin.clone(),
            replica_of: None,
            members: Members::new(&columns),
            columns,
            known,
            indexes,
            reads,
            held,
            window,
            load_wait: settings.load_wait,
            life: Life::default(),
            kept,
            logged: AtomicU64::new(0),
        })
    }

    /// The table with this name that follows the one of an owner, at an address, which has it from
    /// an origin of this name.
    fn of_owner(
        (name, owner, origin): (&str, &str, &str),
        (columns, known): (Arc<[Arc<str>]>, Vec<Column>),
        (indexes, window): (Vec<Index>, Window),
        reads: Vec<String>,
        (held, load_wait): (larder_table::Table<Row, RowKey>, Duration),
    ) -> Self {
        Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            replica_of: Some(owner.to_owned()),
            members: Members::new(&columns),
            columns,
            known,
            indexes,
            reads,
            held,
            window,
            load_wait,
            life: Life::default(),
            kept: None,
            logged: AtomicU64::new(0),
        }
    }

    /// The index of that name.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    /// Waits until the table was told of everything that its origin shows now.
    ///
    /// # Errors
    /// `Unavailable` or `Conflict` when the origin does not answer.
    pub async fn catch_up(&self) -> Result<(), Error> {
        self.held.catch_up().await
    }

    /// Whether a failure may be logged now: the first of every second may.
    pub fn may_log(&self, uptime: Duration) -> bool {
        let second = uptime.as_secs() + 1;
        self.logged.swap(second, Ordering::Relaxed) != second
    }

    /// What a read that begins now reflects at least; nothing where nobody tells of changes.
    pub fn reflects(&self) -> Token {
        let mut token = Token::new();
        if let Some(Stamp { timeline, epoch, as_of }) = self.held.reflects() {
            token.require(timeline, epoch, as_of);
        }
        token
    }
}

/// Logs each change of the window.
fn observe(definition: &mut SqlDefinition<Row>, name: &str) {
    let name = name.to_owned();
    definition.definition().observe(move |adjusted| {
        let (loaded, expired) = (adjusted.loaded.len(), adjusted.expired.len());
        tracing::debug!(target: "larder::table", table = %name, loaded, expired, "adjusted");
    });
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).finish_non_exhaustive()
    }
}
