//! The store as a cache uses it for what can be invalidated.
//!
//! Apart from `records`, which keeps what depends on nothing and needs no claim. **Invariant**: a
//! record is written with its links or not at all, by whoever holds the claim, and read together
//! with the standings by which its stamps are to be judged.

use std::sync::Arc;

use larder_core::{
    BoxFuture, Error, Position, WallMillis,
    store::{Attached, FoundRecord, NewRecord, Standing, Step, TrackedStore, Written},
    timeline::APP,
};
use rusqlite::Connection;

use super::{
    claim::Claim,
    claims,
    counters::Counted,
    entries::INLINE_BYTES,
    entry::{Lifetime, NewEntry, Stored},
    filed::Reader,
    find::{self, Looked, Reading},
    handle::SqliteStore,
    life::Life,
    link,
    options::Durability,
    put::{self, IfPresent},
    region::Named,
    row_key::{OwnKey, RowKey},
    standing,
    writer::Writing,
};
use crate::connection::in_snapshot;

/// The tracked side of a store, in the hands of one cache.
#[derive(Debug)]
struct Session {
    store: SqliteStore,
    /// Also in every write that waits: so that none is carried out after the claim was given back.
    claim: Arc<Claim>,
}

/// Takes the timelines of `store` over for one cache.
pub(crate) fn attach(store: &SqliteStore) -> Result<Attached, Error> {
    let claim = Arc::new(Claim::of(store.path())?);
    let (queue, path) = (store.writer_queue().clone(), store.path().display().to_string());
    // It waits for a commit, which a thread of the runtime must not.
    let adopted = std::thread::scope(|scope| {
        let adopt = move || queue.write_blocking(move |writing| adopt(writing, &path));
        scope.spawn(adopt).join()
    });
    let panicked = || Error::new(larder_core::ErrorKind::Panicked, "attach to the store");
    let (standings, schemes) = adopted.unwrap_or_else(|_| Err(panicked()))?;
    let tracked = Arc::new(Session { store: store.clone(), claim });
    Ok(Attached { tracked, standings, schemes })
}

/// Goes on where the store stands. If it is in another life than its timeline `app`, or one of its
/// schemes cannot be read, everything in it falls.
fn adopt(
    writing: &mut Writing<'_>,
    path: &str,
) -> Result<(Vec<Standing>, Vec<larder_core::Dependency>), Error> {
    let failed = Writing::failed("attach to the store");
    let connection = writing.connection;
    let epoch = Life::read(connection, path)?.epoch;
    let mut standings = standing::read(connection).map_err(failed)?;
    let app = standings.iter_mut().find(|own| *own.timeline == *APP);
    let schemes = link::schemes(connection);
    let begun = match (app, &schemes) {
        (Some(app), Ok(_)) if app.epoch == epoch => None,
        (Some(app), Err(_)) if app.epoch == epoch => {
            tracing::error!(store = %path, "what its entries choose by cannot be read: all fall");
            app.position = app.position.next();
            app.floor = app.position;
            Some(app.clone())
        }
        _ => {
            // No feed goes on in what another life of the store has left.
            connection.execute("DELETE FROM standing", []).map_err(failed)?;
            standings.clear();
            let (position, floor) = (Position::START, Position::START);
            let begun = Standing { timeline: APP.into(), epoch, position, floor, mark: None };
            standings.push(begun.clone());
            Some(begun)
        }
    };
    if let Some(begun) = begun {
        standing::write(connection, &begun).map_err(failed)?;
        connection.execute("DELETE FROM scheme", []).map_err(failed)?;
        return Ok((standings, Vec::new()));
    }
    Ok((standings, schemes?))
}

/// The record under `key` and the standings, from one snapshot; as far as it is not larger than
/// `reading` says.
fn look(
    connection: &Connection,
    named: &Named,
    key: RowKey<'_>,
    now: WallMillis,
    reading: Reading,
    files: Option<&Reader<'_>>,
) -> Result<(Looked, Vec<Standing>), Error> {
    let failed = Writing::failed("read from the store");
    let look = |connection: &Connection| {
        let standings = standing::read(connection)?;
        let find = |region| find::value(connection, region, key, now, reading, files);
        let looked = named.read(connection, Looked::Absent, find);
        Ok(looked.map(|looked| (looked, standings)))
    };
    in_snapshot(connection, look).map_err(failed).flatten()
}

impl TrackedStore for Session {
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<FoundRecord>, Error>> {
        Box::pin(async move {
            let small = Reading::at_most(self.store.options(), INLINE_BYTES);
            let now = self.store.options().clock.wall();
            let named = self.store.named(region);
            let here = |connection: &Connection| {
                look(connection, &named, RowKey::Bytes(key), now, small, None)
            };
            let (looked, standings) = match self.store.pool().borrow(here)? {
                Some((looked @ (Looked::Absent | Looked::Found(..)), at)) => (looked, at),
                Some((Looked::Larger, _)) | None => {
                    let (named, key) = (named.clone(), OwnKey::from(RowKey::Bytes(key)));
                    let all = Reading::all(self.store.options());
                    let values = self.store.values().clone();
                    let read = move |connection: &Connection| {
                        Reader::run(values.directory(), |files| {
                            look(connection, &named, key.as_row(), now, all, Some(files))
                        })
                    };
                    self.store.pool().read(read).await?
                }
            };
            let found = match looked {
                Looked::Found(id, stored) => {
                    self.store.access().note(id, now);
                    Some(FoundRecord { bytes: stored.bytes, standings })
                }
                Looked::Absent | Looked::Larger => None,
            };
            let counters = self.store.counters();
            let what = if found.is_some() { Counted::Hit } else { Counted::Miss };
            counters.add(&counters.tally(region), now, what, 1);
            Ok(found)
        })
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(async move {
            let now = self.store.options().clock.wall();
            let lifetime = match record.until {
                None => Lifetime::Forever,
                Some(until) if until <= now => return Ok(Written::NotRight),
                Some(until) => Lifetime::Until(until),
            };
            let NewRecord { bytes, digests, schemes, is_right, fence, .. } = record;
            let (claim, key) = (self.claim.clone(), key.to_vec());
            let entry = NewEntry::new(Stored::bytes(bytes), lifetime);
            let entries = self.store.entries(region);
            let entry = entries.pack(entry).await?;
            entries
                .write(move |writing, region| {
                    let _claim = claim;
                    let failed = Writing::failed("write an entry");
                    let standings = standing::read(writing.connection).map_err(failed)?;
                    if !is_right(&standings) {
                        return Ok(Written::NotRight);
                    }
                    let key = RowKey::Bytes(&key);
                    if !claims::pass(writing, region, key, fence)? {
                        return Ok(Written::Outrun);
                    }
                    put::put(writing, region, key, &entry, IfPresent::Replace)?;
                    link::note_schemes(writing.connection, &schemes)?;
                    link::link(writing.connection, region, key, &digests).map_err(failed)?;
                    Ok(Written::Kept)
                })
                .await
        })
    }

    fn apply(&self, steps: Vec<Step>) -> BoxFuture<'static, Result<(), Error>> {
        let (claim, queue) = (self.claim.clone(), self.store.writer_queue().clone());
        Box::pin(async move {
            let durability = match steps.iter().any(|step| *step.timeline == *APP) {
                true => Durability::Durable,
                false => Durability::Relaxed,
            };
            let apply = move |writing: &mut Writing<'_>| {
                let _claim = claim;
                steps.into_iter().try_for_each(|step| standing::step(writing, step))
            };
            queue.write(durability, apply).await
        })
    }
}
