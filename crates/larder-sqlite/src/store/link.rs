//! Links: from what may be touched to the entries that it reaches.
//!
//! Apart from `standing`, which says how far they were followed. **Invariant**: an entry has the
//! links that were written with its value and no others; they go with its row, or with the value
//! that takes its place.

use larder_core::{Dependency, Digest, Epoch, Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension};

use super::{row_key::RowKey, writer::Writing};

/// Sets of columns by which entries choose rows. A program has as many as it has kinds of
/// questions; one with more names its columns at random.
const SCHEMES_MAX: i64 = 4096;

/// Links the entry under `key`, which was just written and has no links.
pub(crate) fn link(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    digests: &[Digest],
) -> rusqlite::Result<()> {
    let entry: i64 = connection
        .prepare_cached("SELECT id FROM entry WHERE region = ?1 AND key = ?2")?
        .query_row((region, key), |row| row.get(0))?;
    let mut link = connection.prepare_cached("INSERT INTO link(digest, entry) VALUES (?1, ?2)")?;
    let mut bytes = Vec::with_capacity(digests.len() * 8);
    for digest in digests {
        link.execute((digest.0.cast_signed(), entry))?;
        bytes.extend_from_slice(&digest.0.to_le_bytes());
    }
    connection
        .prepare_cached("INSERT INTO linked(entry, digests) VALUES (?1, ?2)")?
        .execute((entry, bytes))
        .map(drop)
}

/// Takes all links from an entry, if it has any.
pub(crate) fn unlink(connection: &Connection, entry: i64) -> rusqlite::Result<()> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("DELETE FROM linked WHERE entry = ?1 RETURNING digests")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else { return Ok(()) };
    let mut unlink =
        connection.prepare_cached("DELETE FROM link WHERE digest = ?1 AND entry = ?2")?;
    for digest in bytes.as_chunks::<8>().0 {
        unlink.execute((i64::from_le_bytes(*digest), entry))?;
    }
    Ok(())
}

/// Declares every entry dead that `digest` reaches.
pub(crate) fn bury(connection: &Connection, digest: Digest) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO dead(entry) SELECT entry FROM link WHERE digest = ?1",
        )?
        .execute([digest.0.cast_signed()])
}

/// Notes what has to be registered before a later life compares anything.
///
/// # Errors
/// `Limit` when there are too many already.
pub(crate) fn note_schemes(connection: &Connection, schemes: &[Dependency]) -> Result<(), Error> {
    let failed = Writing::failed("write an entry");
    for scheme in schemes {
        let digest = scheme.digest().0.cast_signed();
        let is_known = connection
            .prepare_cached("SELECT 1 FROM scheme WHERE digest = ?1")
            .and_then(|mut find| find.exists([digest]))
            .map_err(failed)?;
        if is_known {
            continue;
        }
        let written = connection
            .prepare_cached(
                "INSERT INTO scheme(digest, dependency) SELECT ?1, ?2 \
                 WHERE (SELECT count(*) FROM scheme) < ?3",
            )
            .and_then(|mut write| write.execute((digest, scheme.encode(), SCHEMES_MAX)))
            .map_err(failed)?;
        if written == 0 {
            return Err(Error::new(ErrorKind::Limit, "write an entry").detail(format!(
                "entries choose rows by more than {SCHEMES_MAX} sets of columns; depend on tables \
                 where the columns vary"
            )));
        }
    }
    Ok(())
}

/// All schemes of the file that has the line, at one moment of one life, for a file that follows
/// it.
///
/// Caches compare how many schemes they know with how many there are, and mean those of the file
/// that has the line. So each file has at any time what that one had at some moment of the life:
/// of two such sets the larger one contains the other.
#[derive(Debug)]
pub(crate) struct Schemes {
    pub(crate) epoch: Epoch,
    all: Vec<(i64, Vec<u8>)>,
}

impl Schemes {
    /// What `connection` has, in the life `epoch`.
    pub(crate) fn read(connection: &Connection, epoch: Epoch) -> Result<Self, Error> {
        let all = connection
            .prepare_cached("SELECT digest, dependency FROM scheme")
            .and_then(|mut read| {
                read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .map_err(Writing::failed("write an entry"))?;
        Ok(Self { epoch, all })
    }

    /// Notes all of them, in a file of the same life.
    pub(crate) fn note(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut write = connection
            .prepare_cached("INSERT OR IGNORE INTO scheme(digest, dependency) VALUES (?1, ?2)")?;
        self.all.iter().try_for_each(|one| write.execute((one.0, &one.1)).map(drop))
    }
}

/// Whether all of `schemes` are noted.
pub(crate) fn has_schemes(
    connection: &Connection,
    schemes: &[Dependency],
) -> rusqlite::Result<bool> {
    let mut find = connection.prepare_cached("SELECT 1 FROM scheme WHERE digest = ?1")?;
    for scheme in schemes {
        if !find.exists([scheme.digest().0.cast_signed()])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many schemes are noted. They are only added, until a life of the line ends.
pub(crate) fn count_schemes(connection: &Connection) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("SELECT count(*) FROM scheme")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(|count| usize::try_from(count).unwrap_or(0))
}

/// What [`note_schemes`] noted.
///
/// # Errors
/// `Corrupt` when one of them cannot be read: then nothing can be compared.
pub(crate) fn schemes(connection: &Connection) -> Result<Vec<Dependency>, Error> {
    let read = |connection: &Connection| -> rusqlite::Result<Vec<Vec<u8>>> {
        let mut read = connection.prepare("SELECT dependency FROM scheme")?;
        read.query_map([], |row| row.get(0))?.collect()
    };
    let encoded = read(connection).map_err(Writing::failed("open the store"))?;
    encoded.iter().map(|bytes| Dependency::decode(bytes)).collect()
}
