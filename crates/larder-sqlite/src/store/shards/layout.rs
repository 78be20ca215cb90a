//! Which files a store is kept in, and what each of them says about it.
//!
//! A store of one file says nothing: it is what it always was. In each of several there is a table
//! `shard` with how many they are, which one this is, to which family it belongs, and since which
//! moment. **Invariant**: a key that is looked for in a file where it cannot be is an error when
//! the store is opened, never a miss; files of different families, or of which only a part was
//! restored, are never served together.

use std::path::{Path, PathBuf};

use larder_core::{Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    error::from_driver,
    store::{
        file,
        options::StoreOptions,
        row_key::RowKey,
        schema::{self, Found},
        witness::beside,
    },
};

/// Files of one store, at most. Each has three threads and its connections; beyond a few for each
/// core none of them gains anything.
pub(crate) const SHARDS_MAX: u32 = 64;

/// What a file of several says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// Which one it is, from zero.
    pub(crate) place: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// The store that they are together.
    pub(crate) family: u64,
    /// The restore or the backup that they came from together; zero for none.
    pub(crate) moment: u64,
}

/// What was found at the path of a file, before it was opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    Nothing,
    /// Something that cannot be read: opening it decides.
    Unreadable,
    /// A store with entries that says nothing.
    Alone,
    /// One of several.
    One(Label),
}

/// Where the file `place` of `count` is, if the first is at `first`.
pub(crate) fn path_of(first: &Path, place: u32, count: u32) -> PathBuf {
    match place {
        0 => first.to_owned(),
        _ => beside(first, &format!("-{}of{count}", place + 1)),
    }
}

/// Where an entry is: the same for ever, as it is what the files were filled by.
pub(crate) fn place_of(region: &str, key: RowKey<'_>, count: usize) -> usize {
    let kind = match key {
        RowKey::Text(_) => 0,
        RowKey::Bytes(_) => 1,
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(region.len() as u64).to_le_bytes()).update(region.as_bytes());
    let hash = hasher.update(&[kind]).update(key.as_bytes()).finalize();
    let bits = hash.as_bytes().first_chunk().map_or(0, |bits| u64::from_le_bytes(*bits));
    // The high bits choose, so that each file gets as many keys as the others.
    usize::try_from((u128::from(bits) * count as u128) >> 64).unwrap_or(0)
}

/// Looks at the file at `path`.
///
/// # Errors
/// Those of opening it, but for `Corrupt`.
pub(crate) fn look(path: &Path, options: &StoreOptions) -> Result<Seen, Error> {
    if !path.exists() {
        return Ok(Seen::Nothing);
    }
    let subject = path.display().to_string();
    let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
    let seen = file::open_for_reading(path, options).and_then(|connection| {
        if schema::look(&connection, &subject)? == Found::Empty {
            return Ok(Seen::Nothing);
        }
        match (read(&connection).map_err(failed)?, has_entries(&connection).map_err(failed)?) {
            (Some(label), _) => Ok(Seen::One(label)),
            (None, true) => Ok(Seen::Alone),
            (None, false) => Ok(Seen::Nothing),
        }
    });
    match seen {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Seen::Unreadable),
        seen => seen,
    }
}

/// In how many files the store at `first` is kept, as it says itself.
pub(crate) fn count_at(first: &Path, options: &StoreOptions) -> Result<u32, Error> {
    Ok(match look(first, options)? {
        Seen::One(label) => label.count,
        Seen::Alone | Seen::Nothing | Seen::Unreadable => 1,
    })
}

/// Looks at all files before any of them is touched; what those that say something agree on.
///
/// # Errors
/// `Config` when the store is kept in another number of files, `Conflict` when they do not belong
/// together.
pub(crate) fn survey(
    first: &Path,
    count: u32,
    options: &StoreOptions,
) -> Result<Option<Label>, Error> {
    let mut agreed: Option<Label> = None;
    let mut has_first = true;
    for place in 0..count {
        let path = path_of(first, place, count);
        let label = match look(&path, options)? {
            Seen::Nothing if place == 0 => {
                has_first = false;
                continue;
            }
            Seen::Nothing => {
                if agreed.is_some() {
                    tracing::error!(
                        store = %path.display(),
                        "a file of the store is missing: what was in it is gone",
                    );
                }
                continue;
            }
            Seen::Unreadable => continue,
            Seen::Alone => return Err(wrong_count(&path, 1, count)),
            Seen::One(label) => label,
        };
        let expected = agreed.unwrap_or(label);
        label.check(&path, Label { place, count, ..expected })?;
        agreed = Some(label);
    }
    // Whoever makes a store begins with the first file, which may be later than it was looked at.
    has_first |= agreed.is_some() && look(first, options)? != Seen::Nothing;
    match agreed {
        Some(_) if !has_first => Err(Error::new(ErrorKind::Conflict, "open the store")
            .subject(first.display().to_string())
            .detail(
                "it is missing or empty while other files of the store are there: a restore was \
                 interrupted, or the file was removed; restore a backup, or remove the others",
            )),
        agreed => Ok(agreed),
    }
}

impl Label {
    /// # Errors
    /// As [`survey`], when this stands where `expected` should.
    fn check(self, path: &Path, expected: Self) -> Result<(), Error> {
        if self.count != expected.count {
            return Err(wrong_count(path, self.count, expected.count));
        }
        let detail = if self.place != expected.place {
            "it is another of the files of the store than its name says; put each back under its \
             own name, or restore a backup"
        } else if self.family != expected.family {
            "it belongs to other files than those beside it; put back those that it belongs to, \
             or restore a backup"
        } else if self.moment != expected.moment {
            "it was restored and others beside it were not, or not from the same backup; restore \
             the backup again"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Conflict, "open the store")
            .subject(path.display().to_string())
            .detail(detail))
    }

    /// Takes this place in the file of `connection`, inside a transaction.
    ///
    /// # Errors
    /// As [`survey`], when the file is another one; also when somebody else just made it one.
    pub(crate) fn settle(self, connection: &Connection, path: &Path) -> Result<(), Error> {
        let subject = path.display().to_string();
        let failed = |error: rusqlite::Error| from_driver("open the store", &subject, &error);
        if let Some(label) = read(connection).map_err(failed)? {
            return label.check(path, self);
        }
        if has_entries(connection).map_err(failed)? {
            return Err(wrong_count(path, 1, self.count));
        }
        self.write(connection).map_err(failed)
    }

    /// Writes it in place of what stands there.
    pub(crate) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS shard(one INTEGER PRIMARY KEY CHECK(one = 1), \
             place INTEGER NOT NULL, count INTEGER NOT NULL, family INTEGER NOT NULL, \
             moment INTEGER NOT NULL) STRICT",
        )?;
        let (family, moment) = (self.family.cast_signed(), self.moment.cast_signed());
        connection
            .execute(
                "INSERT OR REPLACE INTO shard(one, place, count, family, moment) \
                 VALUES (1, ?1, ?2, ?3, ?4)",
                (self.place, self.count, family, moment),
            )
            .map(drop)
    }
}

/// What the file of `connection` says; `None` for a store of one file.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Label>> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'shard'";
    if connection.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    connection
        .query_row("SELECT place, count, family, moment FROM shard", [], |row| {
            Ok(Label {
                place: row.get(0)?,
                count: row.get(1)?,
                family: row.get(2).map(i64::cast_unsigned)?,
                moment: row.get(3).map(i64::cast_unsigned)?,
            })
        })
        .optional()
}

/// Looks whether the file of `connection` may be a store by itself.
///
/// # Errors
/// `Config` when it is one of several.
pub(crate) fn expect_alone(connection: &Connection, path: &Path) -> Result<(), Error> {
    let subject = path.display().to_string();
    let label =
        read(connection).map_err(|error| from_driver("open the store", &subject, &error))?;
    label.map_or(Ok(()), |label| Err(wrong_count(path, label.count, 1)))
}

fn has_entries(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS(SELECT 1 FROM entry)", [], |row| row.get(0))
}

/// The error of a store that is kept in `kept` files and was opened as if in `asked`.
pub(crate) fn wrong_count(path: &Path, kept: u32, asked: u32) -> Error {
    Error::new(ErrorKind::Config, "open the store").subject(path.display().to_string()).detail(
        format!(
            "it is kept in {kept} files, and was to be opened with {asked}; say `shards = {kept}`, \
             or change it with `larder cache reshard --shards {asked}` while nobody has it open"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_where_it_always_was() {
        // Golden: with another answer nothing that is stored is found again.
        let places: Vec<usize> = (0..16)
            .map(|number| place_of("quotes", RowKey::Text(&format!("quote_{number}")), 4))
            .collect();
        assert_eq!(places, [1, 1, 1, 0, 3, 1, 1, 1, 3, 0, 3, 3, 1, 1, 1, 3]);
        assert_eq!(place_of("", RowKey::Bytes(b"quote_0"), 64), 33);
    }

    #[test]
    fn regions_and_kinds_of_keys_do_not_fall_together() {
        let place = |region, key| place_of(region, key, 1 << 30);
        assert_ne!(place("a", RowKey::Text("bc")), place("ab", RowKey::Text("c")));
        assert_ne!(place("a", RowKey::Text("b")), place("a", RowKey::Bytes(b"b")));
    }

    #[test]
    fn each_file_gets_its_part() {
        let mut counts = [0_u32; 4];
        for number in 0..4000 {
            counts[place_of("r", RowKey::Text(&number.to_string()), 4)] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_first_file_keeps_the_name_of_the_store() {
        let first = Path::new("/data/cache.db");
        assert_eq!(path_of(first, 0, 4), first);
        assert_eq!(path_of(first, 3, 4), Path::new("/data/cache.db-4of4"));
    }
}
