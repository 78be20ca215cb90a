//! The names of regions and the numbers they have in the file.
//!
//! A number takes one byte in each row and index where the name would take many. **Invariant**: a
//! number means one region for as long as the file lives, so that it may be remembered.

use std::{collections::HashMap, sync::Arc};

use larder_core::Error;
use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension};

use super::writer::Writing;

/// The numbers that this process has seen.
#[derive(Debug, Default)]
pub(crate) struct Regions(RwLock<HashMap<Arc<str>, i64>>);

/// One region by its name: what a task takes to another thread in place of the store.
///
/// The store ends its threads when its last owner is dropped, so that a task which owned it could
/// come to wait for the very thread it is dropped on.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    regions: Arc<Regions>,
    name: Arc<str>,
}

impl Named {
    pub(crate) fn new(regions: Arc<Regions>, name: Arc<str>) -> Self {
        Self { regions, name }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its number, if it was ever written.
    pub(crate) fn look_up(&self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        self.regions.look_up(connection, &self.name)
    }

    /// Its number, made if there is none.
    pub(crate) fn make(&self, connection: &Connection) -> rusqlite::Result<i64> {
        self.regions.make(connection, &self.name)
    }

    /// See [`Regions::remember`].
    pub(crate) fn remember(&self, id: i64) {
        self.regions.remember(&self.name, id);
    }

    /// Reads in the region; `absent` where it was never written.
    pub(crate) fn read<T>(
        &self,
        connection: &Connection,
        absent: T,
        read: impl FnOnce(i64) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(region) = self.regions.known(&self.name) {
            return read(region);
        }
        let failed = Writing::failed("read from the store");
        let Some(region) = self.look_up(connection).map_err(failed)? else { return Ok(absent) };
        self.remember(region);
        read(region)
    }
}

impl Regions {
    /// The number of `name`, if this process has seen it.
    pub(crate) fn known(&self, name: &str) -> Option<i64> {
        self.0.read().get(name).copied()
    }

    /// Remembers a number that was read in a snapshot, or written by a transaction that is
    /// committed. One that is not could be given to another region by somebody else.
    pub(crate) fn remember(&self, name: &str, id: i64) {
        if self.known(name).is_none() {
            self.0.write().insert(name.into(), id);
        }
    }

    /// Forgets all numbers, because the file has other ones now.
    pub(crate) fn forget(&self) {
        self.0.write().clear();
    }

    /// The number of `name`, if the region was ever written.
    pub(crate) fn look_up(
        &self,
        connection: &Connection,
        name: &str,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.known(name) {
            return Ok(Some(id));
        }
        connection
            .prepare_cached("SELECT id FROM region WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    /// The number of `name`, made if there is none.
    pub(crate) fn make(&self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.known(name) {
            return Ok(id);
        }
        connection
            .prepare_cached(
                "INSERT INTO region(name) VALUES (?1) ON CONFLICT(name) DO UPDATE SET name = name \
                 RETURNING id",
            )?
            .query_row([name], |row| row.get(0))
    }

    /// The names of all regions, sorted.
    pub(crate) fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
        connection
            .prepare_cached("SELECT name FROM region WHERE name <> char(0) ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect()
    }
}
