//! Whether a store file is what it should be.
//!
//! Apart from everything that reads entries, because it believes nothing: it asks SQLite for the
//! pages, and counts again what is kept as a sum. **Invariant**: it changes nothing, and looks at
//! one snapshot, so that what is being written meanwhile is no finding.

use std::path::Path;

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

use super::{
    file,
    filed::{self, Holder},
    find,
    life::Life,
    options::StoreOptions,
    readable,
    row_key::RowKey,
    value_file::{Directory, Listed},
    writer::Writing,
};
use crate::connection::in_snapshot;

/// Findings that a report holds; a file that has more is not worth a longer list.
const FINDINGS_MAX: usize = 100;

/// Value files that are named in a report, to leave room for all else.
const FILES_NAMED_MAX: usize = 50;

/// Bytes of an unpacked value that are looked at: SQLite has no longer ones either.
const VALUE_BYTES_MAX: u64 = 1_000_000_000;

/// How closely a store is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The pages, whose store it is, the totals, and whether value files are there: about a second
    /// for a million small entries.
    Quick,
    /// Also every index, every tag, and the checksum of every value: everything is read.
    Full,
}

/// What a check saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How closely it looked.
    pub depth: Depth,
    /// Entries that are there, with those that are gone and not removed yet.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Values that are in files of their own.
    pub files: u64,
    /// Value files that no entry names. That is no fault: they are being written, or a process was
    /// killed, and the keeper removes them.
    pub strays: u64,
    /// What is wrong, in words that name no key and no value; at most a hundred.
    pub findings: Vec<String>,
    /// The entries whose files are not what was written.
    pub(crate) broken: Vec<Holder>,
}

impl Report {
    pub(crate) fn new(depth: Depth) -> Self {
        let (findings, broken) = (Vec::new(), Vec::new());
        Self { depth, entries: 0, bytes: 0, files: 0, strays: 0, findings, broken }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether nothing is wrong but the files of some values.
    pub(crate) fn is_sound_but_for_files(&self) -> bool {
        let more = usize::from(FILES_NAMED_MAX < self.broken.len());
        self.findings.len() == self.broken.len().min(FILES_NAMED_MAX) + more
    }

    /// # Errors
    /// `Corrupt` when something is wrong, with the first of it.
    pub(crate) fn require(&self, operation: &'static str, path: &str) -> Result<(), Error> {
        let Some(first) = self.findings.first() else { return Ok(()) };
        let count = self.findings.len();
        Err(Error::new(ErrorKind::Corrupt, operation)
            .subject(path)
            .detail(format!("it has {count} faults, the first: {first}")))
    }
}

/// Looks at the store at `path`, which is open. `prepare` is given the connection.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_live(
    path: &Path,
    options: &StoreOptions,
    depth: Depth,
    prepare: impl Fn(&mut Connection) -> Result<(), Error>,
) -> Result<Report, Error> {
    let directory = Directory::of(path);
    loop {
        // Before the snapshot begins: what is named in it stays where it is.
        let hold = directory.hold()?;
        let mut connection = file::open_for_reading(path, options)?;
        prepare(&mut connection)?;
        let report = check(&connection, &directory, depth)?;
        // The first file may have been written, and removed, since there was nothing to hold.
        if hold.is_some() || report.broken.is_empty() || !directory.path().exists() {
            return Ok(report);
        }
    }
}

/// Looks at what `connection` reads, and at the files in `directory` that it names. What it finds
/// it believes only when the disk gave every page, and when it finds it again.
///
/// # Errors
/// Those of reading, but for `Corrupt`, which is a finding.
pub(crate) fn check(
    connection: &Connection,
    directory: &Directory,
    depth: Depth,
) -> Result<Report, Error> {
    let report = look(connection, directory, depth)?;
    if report.is_sound_but_for_files() {
        return Ok(report);
    }
    readable::require_of(connection, connection.path().unwrap_or("the store"))?;
    look(connection, directory, depth)
}

fn look(connection: &Connection, directory: &Directory, depth: Depth) -> Result<Report, Error> {
    let look =
        |connection: &Connection| rusqlite::Result::Ok(Looking::at(connection, directory, depth));
    let checked = in_snapshot(connection, look);
    checked.map_err(Writing::failed("check the store")).flatten().or_else(|error| {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        let mut report = Report::new(depth);
        report.findings.push(error.to_string());
        Ok(report)
    })
}

struct Looking<'a> {
    connection: &'a Connection,
    directory: &'a Directory,
    report: Report,
}

impl<'a> Looking<'a> {
    fn at(
        connection: &'a Connection,
        directory: &'a Directory,
        depth: Depth,
    ) -> Result<Report, Error> {
        let mut looking = Self { connection, directory, report: Report::new(depth) };
        looking.step(Self::pages)?;
        looking.step(Self::owner)?;
        looking.step(Self::totals)?;
        looking.step(Self::files)?;
        if depth == Depth::Full {
            looking.step(Self::tags)?;
            looking.step(Self::values)?;
        }
        Ok(looking.report)
    }

    /// One part of the check; what makes it impossible is a finding, too.
    fn step(&mut self, part: fn(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        match part(self) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.found(error.to_string());
                Ok(())
            }
            other => other,
        }
    }

    fn found(&mut self, what: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(what);
        }
    }

    fn pages(&mut self) -> Result<(), Error> {
        let pragma = match self.report.depth {
            Depth::Quick => format!("PRAGMA main.quick_check({FINDINGS_MAX})"),
            Depth::Full => format!("PRAGMA main.integrity_check({FINDINGS_MAX})"),
        };
        let said: Vec<String> = self
            .connection
            .prepare(&pragma)
            .and_then(|mut check| check.query_map([], |row| row.get(0))?.collect())
            .map_err(Writing::failed("check the store"))?;
        said.into_iter().filter(|line| line != "ok").for_each(|line| self.found(line));
        Ok(())
    }

    fn owner(&mut self) -> Result<(), Error> {
        Life::read(self.connection, "the store").map(drop)
    }

    fn totals(&mut self) -> Result<(), Error> {
        let failed = Writing::failed("check the store");
        let (entries, bytes): (i64, i64) = self
            .connection
            .query_row("SELECT count(*), ifnull(sum(size), 0) FROM entry", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(failed)?;
        self.report.entries = u64::try_from(entries).unwrap_or(0);
        self.report.bytes = u64::try_from(bytes).unwrap_or(0);
        let wrong = self.count(
            "SELECT count(*) FROM (
               SELECT region FROM (
                 SELECT region, count(*) AS entries, sum(size) AS bytes FROM entry GROUP BY region
                 UNION ALL
                 SELECT region, -entries, -bytes FROM total WHERE 0 < region
               ) GROUP BY region HAVING sum(entries) <> 0 OR sum(bytes) <> 0)",
        )?;
        self.found_some(wrong, "regions whose totals are not those of their entries");
        Ok(())
    }

    /// The files that are named, and those that are not.
    fn files(&mut self) -> Result<(), Error> {
        let failed = Writing::failed("check the store");
        let holders = filed::holders(self.connection).map_err(failed)?;
        self.report.files = holders.len() as u64;
        for holder in &holders {
            match holder.verify(self.directory, self.report.depth) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.report.broken.push(*holder);
                    if self.report.broken.len() <= FILES_NAMED_MAX {
                        self.found(error.to_string());
                    }
                }
                verified => verified?,
            }
        }
        let more = self.report.broken.len().saturating_sub(FILES_NAMED_MAX);
        self.found_some(i64::try_from(more).unwrap_or(i64::MAX), "more value files like these");
        let listed = self.directory.list()?;
        let is_named = |name| holders.binary_search_by_key(&name, |holder| holder.name).is_ok();
        let strays = listed.iter().filter(|file| match **file {
            Listed::Whole(name) => !is_named(name),
            Listed::Part(_) => true,
            Listed::Session(_) => false,
        });
        self.report.strays = strays.count() as u64;
        let nameless = self.count(
            "SELECT count(*) FROM entry WHERE form & 16 <> 0
             AND id NOT IN (SELECT entry FROM filed)",
        )?;
        self.found_some(nameless, "values for which no file is named");
        Ok(())
    }

    fn tags(&mut self) -> Result<(), Error> {
        let missing = self.count(
            "SELECT count(*) FROM entry e, json_each(e.tags) own WHERE NOT EXISTS(
               SELECT 1 FROM tagged WHERE tagged.tag = own.value AND tagged.entry = e.id)",
        )?;
        self.found_some(missing, "tags of entries by which they cannot be found");
        let needless = self.count(
            "SELECT count(*) FROM tagged WHERE NOT EXISTS(
               SELECT 1 FROM entry e, json_each(e.tags) own
               WHERE e.id = tagged.entry AND own.value = tagged.tag)",
        )?;
        self.found_some(needless, "places in lists of tags whose entry has no such tag");
        let nameless = self.count(
            "SELECT count(*) FROM (SELECT DISTINCT tag FROM tagged) AS used
             WHERE NOT EXISTS(SELECT 1 FROM tag WHERE tag.id = used.tag)",
        )?;
        self.found_some(nameless, "tags without a name");
        Ok(())
    }

    fn values(&mut self) -> Result<(), Error> {
        let failed = Writing::failed("check the store");
        let mut read = self
            .connection
            .prepare("SELECT key, form, checksum, value FROM entry")
            .map_err(failed)?;
        let mut rows = read.query([]).map_err(failed)?;
        let mut wrong = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            let key = row.get_ref(0).map(RowKey::read).map_err(failed)?;
            let is_written =
                key.is_some_and(|key| find::kept(row, key, [1, 2, 3], VALUE_BYTES_MAX).is_ok());
            wrong += i64::from(!is_written);
        }
        drop(rows);
        drop(read);
        self.found_some(wrong, "values that are not what was written");
        Ok(())
    }

    fn count(&self, sql: &str) -> Result<i64, Error> {
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(Writing::failed("check the store"))
    }

    fn found_some(&mut self, count: i64, what: &str) {
        if 0 < count {
            self.found(format!("{count} {what}"));
        }
    }
}
