//! How a region runs what it is asked: over a connection that reads, or with the next commit.
//!
//! What is asked is a function of a connection and the number of the region; here is where the
//! number comes from and who counts. **Invariant**: reading makes no region; a number is remembered
//! only once it was read in a snapshot or committed.

use larder_core::Error;
use rusqlite::Connection;

use super::Entries;
use crate::{
    connection::in_snapshot,
    store::{
        counters::Counted,
        fence::What,
        filed::Reader,
        journal::Begun,
        writer::{Effort, Queue, Writing},
    },
};

impl Entries {
    pub(in crate::store) fn count_up(&self, what: Counted, count: u64) {
        self.inner.counters.add(&self.tally, self.inner.options.clock.wall(), what, count);
    }

    pub(in crate::store) fn noted<T>(
        &self,
        begun: Begun,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        self.inner.journal.change(begun, self.region.name(), &result);
        result
    }

    /// Reads in one snapshot on a thread; `absent` where the region was never written.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        absent: T,
        read: impl FnOnce(&Connection, i64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let named = self.region.clone();
        self.inner
            .pool
            .read(move |connection| {
                let read = |connection: &Connection| {
                    Ok(named.read(connection, absent, |region| read(connection, region)))
                };
                let failed = Writing::failed("read from the store");
                in_snapshot(connection, read).map_err(failed).flatten()
            })
            .await
    }

    /// Removes what is there; `absent` where the region was never written. The removal is noted in
    /// any case: what is computed now must not appear after it.
    pub(super) async fn removing<T: Send + 'static>(
        &self,
        effort: Effort,
        absent: T,
        what: What,
        act: impl FnOnce(&mut Writing<'_>, i64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let named = self.region.clone();
        let removed = self.queue().write(self.durability, effort, move |writing| {
            let failed = Writing::failed("write to the store");
            writing.removals.note(writing.connection, named.name().clone(), what)?;
            match named.look_up(writing.connection).map_err(failed)? {
                Some(region) => act(writing, region),
                None => Ok(absent),
            }
        });
        removed.await
    }

    /// Reads values in one snapshot on a thread, or in several where one of them was replaced while
    /// it was read; `None` where the region was never written.
    pub(in crate::store) async fn read_values<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection, i64, &Reader<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let (named, values) = (self.region.clone(), self.inner.values.clone());
        let failed = Writing::failed("read from the store");
        self.inner
            .pool
            .read(move |connection| {
                Reader::run(values.directory(), |files| {
                    let read = |connection: &Connection| {
                        let read = |region| read(connection, region, files).map(Some);
                        Ok(named.read(connection, None, read))
                    };
                    in_snapshot(connection, read).map_err(failed).flatten()
                })
            })
            .await
    }

    /// Changes what is there; `absent` where the region was never written.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        effort: Effort,
        absent: T,
        act: impl FnOnce(&mut Writing<'_>, i64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let named = self.region.clone();
        let changed = self.queue().write(self.durability, effort, move |writing| {
            let failed = Writing::failed("write to the store");
            match named.look_up(writing.connection).map_err(failed)? {
                Some(region) => act(writing, region),
                None => Ok(absent),
            }
        });
        changed.await
    }

    /// Writes into the region, which is made if there is none.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        effort: Effort,
        act: impl FnOnce(&mut Writing<'_>, i64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let named = self.region.clone();
        let written = self.queue().write(self.durability, effort, move |writing| {
            let failed = Writing::failed("write to the store");
            let region = named.make(writing.connection).map_err(failed)?;
            act(writing, region).map(|result| (result, region))
        });
        let (result, region) = written.await?;
        self.region.remember(region);
        Ok(result)
    }

    pub(crate) fn queue(&self) -> &Queue {
        self.inner.writer.queue()
    }
}
