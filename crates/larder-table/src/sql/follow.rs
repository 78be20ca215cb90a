//! Following by itself: what a changed row of a table means for records of a query that reads it.
//!
//! Where the result is the rows of one table as they are, and the log tells all of its columns, the
//! changed row is the record. Where each row of the result is made of one row of a table, and an
//! index is made of columns of that table, the changed row says under which keys to look. For other
//! tables the application says so. **Invariant**: every table that the query reads has a meaning;
//! what nobody said and nothing proves puts everything in doubt, and so does a commit to what is
//! not tracked once a load read some of that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use larder_core::{Clock, Error, ErrorKind, Value, feed::Feed, origin::Origin};
use larder_sqlite::{
    ResultColumn, Statement, UNWATCHED,
    analysis::{Affinity, Column},
    track::LOGGED_MAX,
};

use super::{
    definition::{MakesRecord, SqlDefinition},
    key::SqlKey,
    source::SqlSource,
    whole::WholeRows,
};
use crate::{
    content::PRIMARY,
    follow::{Image, Rules},
    index::{Index, IndexKey},
    ranges::Ranges,
    record::Record,
    table::Table,
};

/// What changes of the tables of a query mean.
pub(super) struct Meanings<R: Record> {
    rules: Rules<R>,
    derived: Vec<Derived<R>>,
    /// The columns of each table that rules look at.
    looked_at: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Whether the log is to tell every column of the result.
    logged: Logged,
    /// Where the columns of each index stand in the result: by its place, and what it belongs to.
    made_of: BTreeMap<(u64, usize), Vec<usize>>,
}

/// What the log is asked to tell of rows that are records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Logged {
    /// The columns by which they are found.
    #[default]
    Keys,
    /// Every column that they show.
    Wholly,
}

/// What follows from the query for rows of a table.
struct Derived<R: Record> {
    table: Arc<str>,
    columns: Vec<Arc<str>>,
    is_primary: bool,
    add: Box<dyn FnOnce(Rules<R>) -> Rules<R> + Send + Sync>,
}

impl<R: Record> Default for Meanings<R> {
    fn default() -> Self {
        let rules = Rules::new();
        let (looked_at, made_of) = (BTreeMap::new(), BTreeMap::new());
        Self { rules, derived: Vec::new(), looked_at, logged: Logged::Keys, made_of }
    }
}

impl<R: Record> Meanings<R> {
    /// Notes that rows of a table can be found by `index`, if the columns at these places of the
    /// result are all of that table, and each row of the result is made of one of its rows.
    pub(super) fn derive<K: SqlKey>(
        &mut self,
        source: &SqlSource,
        index: &Index<R, K>,
        places: &[usize],
        record: &MakesRecord<R>,
    ) {
        self.made_of.insert((index.of, index.place), places.to_vec());
        let columns = places.iter().filter_map(|place| source.shape.columns.get(*place));
        let sources: Option<Vec<_>> =
            columns.map(|column: &ResultColumn| column.source.as_ref()).collect();
        let Some([first, rest @ ..]) = sources.as_deref() else { return };
        let table = first.0.clone();
        let is_of_one = rest.iter().all(|(other, _)| *other == table);
        if !is_of_one || !source.shape.row_sources.contains(&table) {
            return;
        }
        let columns: Vec<Arc<str>> =
            sources.iter().flatten().map(|(_, column)| column.name.clone()).collect();
        let (own, name, looked_at) = (index.clone(), table.clone(), columns.clone());
        let is_primary = index.place == PRIMARY;
        let whole = WholeRows::of(&source.shape).filter(|_| is_primary);
        let record = record.clone();
        let add = move |rules: Rules<R>| {
            let (width, by) = (looked_at.len(), looked_at.join(", "));
            let found = move |row: &Image<'_>| ranges(row, &looked_at, width);
            match whole {
                None => rules.touches_within(name, &own, &by, found),
                Some(whole) => {
                    let record = move |row: &Image<'_>| whole.record(row, &record);
                    rules.records_or_found(name, &by, record, found)
                }
            }
        };
        self.derived.push(Derived { table, columns, is_primary, add: Box::new(add) });
    }

    /// The rules, with a meaning for each of the tables that the query reads.
    pub(super) fn complete(self, source: &SqlSource) -> Rules<R> {
        let Self { mut rules, mut derived, .. } = self;
        // The primary key is what the log has of every row.
        derived.sort_by_key(|derived| !derived.is_primary);
        for Derived { table, add, .. } in derived {
            if !rules.speak_of(&table) {
                rules = add(rules);
            }
        }
        for table in &*source.shape.tables {
            if !rules.speak_of(table) {
                rules = rules.doubts(table.clone());
            }
        }
        rules.heard_by_origin(UNWATCHED.into(), source.reads_unwatched.clone())
    }
}

/// The keys of `width` columns that begin with a row's values; `None` where that cannot be told.
fn ranges<K: SqlKey>(row: &Image<'_>, columns: &[Arc<str>], width: usize) -> Option<Ranges<K>> {
    let values: Option<Vec<Value>> =
        columns.iter().map(|column| row.get(column).cloned()).collect();
    let values = values?;
    let has_null = values.iter().any(|value| matches!(value, Value::Null));
    let keys = match values.len() == width {
        true => K::from_values(values).map(|key| Ranges::only([key])),
        false => K::beginning(values),
    };
    // Only of NULL is it certain that a record whose key cannot be NULL is not made of it.
    keys.or_else(|| has_null.then(Ranges::none))
}

/// Whether what is stored in the one column is the same value in the other wherever SQLite finds
/// them equal; else why that is not known.
fn agree(shown: &ResultColumn, own: &Column) -> Result<(), String> {
    let class = |column: &Column| match column.affinity {
        // They store and compare alike.
        Affinity::Numeric => Affinity::Integer,
        affinity => affinity,
    };
    let (result, name) = (&shown.name, &own.name);
    let Some((_, source)) = &shown.source else {
        return Err(format!(
            "the result computes `{result}`, or has it of a view or a subquery, so it is not known \
             how it compares with `{name}`; show a column of a table as it is"
        ));
    };
    if class(source) != class(own) {
        return Err(format!(
            "`{result}` is of a column with {:?} affinity and `{name}` has {:?}: values that \
             SQLite finds equal differ; declare both alike",
            source.affinity, own.affinity
        ));
    }
    if !source.is_binary() || !own.is_binary() {
        return Err(format!(
            "`{result}` or `{name}` does not compare text byte by byte: values that SQLite finds \
             equal differ; declare both `COLLATE BINARY`"
        ));
    }
    Ok(())
}

impl<R: Record> SqlDefinition<R> {
    /// Says that a row of `table` goes into the records whose key of `index` is what the row has in
    /// `columns`: of a parent by its primary key, of a child by its foreign key. They are loaded
    /// again under the values before and after a change. Fewer columns than the index has stand for
    /// its first ones, and for all keys that begin so. Without a rule it is found out where it is
    /// plain, and else every change of the table puts everything in doubt.
    ///
    /// # Errors
    /// `Config` when the query does not read such a table, it has no such column, or the index is
    /// made of fewer columns; and unless each column is declared with the same affinity as the
    /// column of a table that the index shows, and both compare text byte by byte: what is equal to
    /// SQLite would be another key. `Unavailable` when the database cannot be read.
    ///
    /// # Cost
    /// A look at the schema.
    pub fn follows<K: SqlKey>(
        &mut self,
        table: &str,
        columns: &[&str],
        index: &Index<R, K>,
    ) -> Result<&mut Self, Error> {
        let refused = |detail: String| {
            Error::new(ErrorKind::Config, "follow rows with table")
                .subject(format!("`{}`", self.name))
                .detail(format!("index `{}`: {detail}", index.name()))
        };
        let made_of = self.meanings.made_of.get(&(index.of, index.place));
        let all = &self.source.shape.columns;
        let shown = made_of.into_iter().flatten().filter_map(|at| all.get(*at));
        let shown: Vec<ResultColumn> = shown.cloned().collect();
        let (given, width) = (columns.len(), shown.len());
        if given == 0 || width < given {
            return Err(refused(format!(
                "it is made of {width} columns of this query and {given} of `{table}` are named; \
                 name those that equal its first ones"
            )));
        }
        let tables = &self.source.shape.tables;
        let Some(own) = tables.iter().find(|own| own.eq_ignore_ascii_case(table)).cloned() else {
            let tables = tables.join(", ");
            return Err(refused(format!("the query reads no table `{table}`; it reads {tables}")));
        };
        let schema = self.source.origin.schema()?;
        let declared = |(name, shown): (&&str, &ResultColumn)| {
            let column = schema.table(&own).and_then(|table| table.column(name));
            let column =
                column.ok_or_else(|| refused(format!("`{own}` has no column `{name}`")))?;
            agree(shown, column).map(|()| column.name.clone()).map_err(refused)
        };
        let names: Vec<Arc<str>> =
            columns.iter().zip(&shown).map(declared).collect::<Result<_, _>>()?;
        let looked_at = self.meanings.looked_at.entry(own.clone()).or_default();
        looked_at.extend(names.iter().cloned());
        let (rules, by) = (std::mem::take(&mut self.meanings.rules), names.join(", "));
        self.meanings.rules =
            rules.touches_within(own, index, &by, move |row| ranges(row, &names, width));
        Ok(self)
    }

    /// Says that the log is to tell every column that the result shows, so that a changed row is
    /// put in the place of its record without a query. Without this the records of changed rows are
    /// loaded again by their primary key when a read touches them, unless the log tells as much for
    /// other reasons.
    ///
    /// Rows of which the log cannot tell all are loaded by their key nevertheless: those that stand
    /// in the way of others (`INSERT OR IGNORE`, `REPLACE` by another key than the primary one),
    /// those with a whole float in a column without a type, all of a table with triggers of the
    /// application, or with foreign keys whose actions come back to it. To be said before
    /// [`SqlDefinition::looks_at`] is asked.
    ///
    /// # Errors
    /// `Config` when the result is not the rows of one table as they are, without a condition;
    /// when it was not said what the primary key is made of; and when it has more columns than the
    /// log has room for.
    ///
    /// # Cost
    /// Whoever writes to the table writes each changed row to the log as well, an updated one twice
    /// (as it was, as it is).
    pub fn rows_are_records(&mut self) -> Result<&mut Self, Error> {
        let refused = |detail: String| {
            let error = Error::new(ErrorKind::Config, "put changed rows into table");
            Err(error.subject(format!("`{}`", self.name)).detail(detail))
        };
        let shape = &self.source.shape;
        if shape.rows_of.is_none() {
            return refused(
                "the result is not the rows of one table as they are; select columns of one table \
                 without WHERE, ORDER BY or LIMIT, or leave it to larder to load changed rows by \
                 their key"
                    .into(),
            );
        }
        if !self.meanings.derived.iter().any(|derived| derived.is_primary) {
            return refused(
                "it is not known which columns the primary key is made of; say it with `key`"
                    .into(),
            );
        }
        let width = shape.columns.len();
        if LOGGED_MAX < width {
            return refused(format!(
                "the result has {width} columns, and the log has room for {LOGGED_MAX}; select \
                 fewer, or leave it to larder to load changed rows by their key"
            ));
        }
        self.meanings.logged = Logged::Wholly;
        Ok(self)
    }

    /// How old the knowledge of the origin may be for a read; beyond it the feed is asked first.
    /// One second without this.
    pub fn max_staleness(&mut self, max_staleness: Duration) -> &mut Self {
        let rules = std::mem::take(&mut self.meanings.rules);
        self.meanings.rules = rules.max_staleness(max_staleness);
        self
    }

    /// What it asks: for [`larder_sqlite::track::plan_with`], together with what it looks at.
    pub fn statement(&self) -> &Arc<Statement> {
        &self.source.statement
    }

    /// The columns of each table that a changed row must be told with for the records that it goes
    /// into to be found. Where one is missing in the log everything is in doubt instead.
    pub fn looks_at(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let mut all = self.meanings.looked_at.clone();
        for Derived { table, columns, is_primary, .. } in &self.meanings.derived {
            let is_alone = !self.meanings.rules.speak_of(table);
            let has_primary =
                self.meanings.derived.iter().any(|own| own.is_primary && own.table == *table);
            if is_alone && (*is_primary || !has_primary) {
                all.entry(table.clone()).or_default().extend(columns.iter().cloned());
            }
        }
        if let (Logged::Wholly, Some(table)) = (self.meanings.logged, &self.source.shape.rows_of) {
            let sources = self.source.shape.columns.iter().filter_map(|own| own.source.as_ref());
            let columns = sources.map(|(_, column)| column.name.clone());
            all.entry(table.clone()).or_default().extend(columns);
        }
        all.into_iter().map(|(table, columns)| (table, columns.into_iter().collect())).collect()
    }

    /// The table, empty and not yet loaded, which follows `feed`, the origin's own: in `rows` mode
    /// row by row, in `database` mode every commit puts everything in doubt. `clock` is
    /// the origin's: how old the feed's knowledge is cannot be said by another.
    ///
    /// # Errors
    /// As [`SqlDefinition::build`] and [`Table::follow`]. `Config` when the feed is of another
    /// origin, and when the result changes though no row does (it asks for the time, or for what is
    /// random): no feed tells of that. [`SqlDefinition::build`] makes a table of such a query.
    ///
    /// # Freshness
    /// As [`Table::follow`].
    pub fn follow<W: IndexKey>(
        mut self,
        window: &Index<R, W>,
        feed: Arc<dyn Feed>,
        clock: Clock,
    ) -> Result<Table<R, W>, Error> {
        self.expect_told_by(&*feed)?;
        let meanings = std::mem::take(&mut self.meanings);
        let source = self.source.clone();
        let table = self.build(window)?;
        table.follow(feed, meanings.complete(&source), clock)?;
        Ok(table)
    }

    /// Fails unless `feed` can tell of all that changes the result.
    pub(super) fn expect_told_by(&self, feed: &dyn Feed) -> Result<(), Error> {
        let refused = |detail: String| {
            let error = Error::new(ErrorKind::Config, "follow a feed with table");
            Err(error.subject(format!("`{}`", self.name)).detail(detail))
        };
        let (told, own) = (feed.timeline(), self.source.origin.timeline());
        if told != own {
            return refused(format!(
                "the feed is of `{told}`, and the query reads `{own}`; give it the feed of that \
                 origin"
            ));
        }
        match self.source.statement.analysis().time_dependent {
            None => Ok(()),
            Some(why) => refused(format!(
                "its result changes though no row does, and no feed tells of that: {why}; leave \
                 that out of the query and let the window move with the time (`Table::slide`), or \
                 build the table without a feed and reload it"
            )),
        }
    }
}
