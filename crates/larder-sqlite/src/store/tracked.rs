//! The store as a cache uses it for what can be invalidated.
//!
//! Apart from `records`, which keeps what depends on nothing. **Invariant**: a record is written
//! with its links or not at all, and only if nothing that it depends on was announced by then; it
//! is read together with the standings by which its stamps are to be judged.

use std::sync::Arc;

use larder_core::{
    BoxFuture, Dependency, Error, ErrorKind, Name, WallMillis,
    announcement::{Cursor, Look},
    store::{
        Applied, Attached, Follows, FoundRecord, Judgement, Knows, NewRecord, Origins, Standing,
        Step, TrackedStore, Written,
    },
    timeline::APP,
};
use rusqlite::Connection;

use super::{
    announce, claims,
    counters::Counted,
    entries::INLINE_BYTES,
    entry::{Lifetime, NewEntry, Stored},
    filed::Reader,
    find::{self, Looked, Reading},
    handle::SqliteStore,
    keeping::Keeping,
    life, link,
    options::Durability,
    put::{self, IfPresent},
    region::Named,
    row_key::{OwnKey, RowKey},
    standing,
    writer::{Effort, Writing},
};
use crate::connection::in_snapshot;

/// Times that a look begins a life of the line, one after the other.
const LOOKS: usize = 3;

/// The tracked side of a store, in the hands of one cache.
#[derive(Debug)]
struct Session {
    store: SqliteStore,
    author: u64,
    /// The lock on the timelines that cannot be shared, if this cache has it. Also in every write
    /// that waits: so that none is carried out after it was given back.
    keeping: Option<Arc<Keeping>>,
}

/// What a cache finds when it attaches.
struct Adopted {
    cursor: Cursor,
    standings: Vec<Standing>,
    schemes: Vec<Dependency>,
}

/// Attaches a cache that follows `origins` to `store`.
pub(crate) fn attach(
    store: &SqliteStore,
    origins: &[Name],
    follows: Follows,
) -> Result<Attached, Error> {
    let keeping = match follows {
        Follows::Places => None,
        Follows::Positions => Keeping::of(store.path())?,
    };
    let (queue, path) = (store.writer_queue().clone(), store.path().display().to_string());
    // It waits for a commit, which a thread of the runtime must not.
    let adopted = std::thread::scope(|scope| {
        let adopt = move || queue.write_blocking(move |writing| adopt(writing, &path));
        scope.spawn(adopt).join()
    });
    let panicked = || Error::new(ErrorKind::Panicked, "attach to the store");
    let Adopted { cursor, mut standings, schemes } = adopted.unwrap_or_else(|_| Err(panicked()))?;
    let kept = if keeping.is_some() { Origins::Kept } else { Origins::NotKept };
    standings.retain(|own| origins.contains(&own.timeline));
    let (author, keeping) = (life::random()?, keeping.map(Arc::new));
    let tracked = Arc::new(Session { store: store.clone(), author, keeping });
    Ok(Attached { tracked, author, cursor, origins: kept, standings, schemes })
}

/// Goes on where the store stands, or begins a life of the line. If one of the schemes cannot be
/// read, everything falls.
fn adopt(writing: &mut Writing<'_>, path: &str) -> Result<Adopted, Error> {
    let failed = Writing::failed("attach to the store");
    let mut cursor = announce::adopt(writing, path)?;
    let schemes = link::schemes(writing.connection).or_else(|error| {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        tracing::error!(store = %path, "what its entries choose by cannot be read: all fall");
        writing.connection.execute("DELETE FROM scheme", []).map_err(failed)?;
        cursor = announce::everything(writing, path, "schemes that cannot be read")?;
        Ok(Vec::new())
    })?;
    let standings = standing::read(writing.connection).map_err(failed)?;
    Ok(Adopted { cursor, standings, schemes })
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
            let NewRecord { bytes, digests, schemes, judge, fence, .. } = record;
            let (keeping, author, key) = (self.keeping.clone(), self.author, key.to_vec());
            let entry = NewEntry::new(Stored::bytes(bytes), lifetime);
            let entries = self.store.entries(region);
            let entry = entries.pack(entry).await?;
            let effort = Effort::Much { bytes: entry.value.bytes.len() as u64 };
            entries
                .write(effort, move |writing, region| {
                    let _keeping = keeping;
                    let failed = Writing::failed("write an entry");
                    let connection = writing.connection;
                    let standings = standing::read(connection).map_err(failed)?;
                    let Judgement::Right(known) = judge(&standings) else {
                        return Ok(Written::NotRight);
                    };
                    let app = standings.iter().find(|own| *own.timeline == *APP);
                    let now = app.map_or(known, |own| own.position);
                    if announce::reaches(connection, author, known, now, &digests)
                        .map_err(failed)?
                    {
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

    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>> {
        let (keeping, queue) = (self.keeping.clone(), self.store.writer_queue().clone());
        let (author, path) = (self.author, self.store.path().display().to_string());
        Box::pin(async move {
            let durability = match steps.iter().any(|step| step.announced.is_some()) {
                true => Durability::Durable,
                false => Durability::Relaxed,
            };
            let apply = move |writing: &mut Writing<'_>| {
                let _keeping = keeping;
                let mut applied = Applied::default();
                for step in steps {
                    if let Some(how) = &step.announced {
                        let place = announce::announce(writing, &path, author, &step, how)?;
                        applied.place = Some(place);
                    } else {
                        applied.refused.extend(standing::step(writing.connection, step, &*knows)?);
                    }
                }
                Ok(applied)
            };
            queue.write(durability, Effort::MUCH, apply).await
        })
    }

    fn look(&self, since: Cursor, schemes: usize) -> BoxFuture<'static, Result<Look, Error>> {
        let store = self.store.clone();
        Box::pin(async move {
            let path = store.path().display().to_string();
            for _ in 0..LOOKS {
                let path_of_read = path.clone();
                let look = move |connection: &Connection| {
                    let look = |connection: &Connection| {
                        Ok(announce::look(connection, &path_of_read, since, schemes))
                    };
                    let failed = Writing::failed("look at announcements");
                    in_snapshot(connection, look).map_err(failed).flatten()
                };
                let looked = match store.pool().borrow(&look)? {
                    Some(looked) => looked,
                    None => store.pool().read(look).await?,
                };
                if let Some(looked) = looked {
                    return Ok(looked);
                }
                let (queue, path) = (store.writer_queue().clone(), path.clone());
                let begin = move |writing: &mut Writing<'_>| announce::adopt(writing, &path);
                queue.write(Durability::Durable, Effort::MUCH, begin).await?;
            }
            Err(Error::new(ErrorKind::Unavailable, "look at announcements")
                .subject(path)
                .detail("the store is restored again and again"))
        })
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        self.store.next_commit()
    }
}
