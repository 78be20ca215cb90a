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
    announce::{self, Said},
    claims,
    counters::Counted,
    entries::INLINE_BYTES,
    entry::{Lifetime, NewEntry, Stored},
    filed::Reader,
    find::{self, Looked, Reading},
    handle::SqliteStore,
    keeping::Keeping,
    life::{self, Life},
    link::{self, Schemes},
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

/// The tracked side of a file, in the hands of one cache.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) store: SqliteStore,
    /// The number of this cache among the authors of announcements.
    pub(crate) author: u64,
    /// The lock on the timelines that cannot be shared, if this cache has it. Also in every write
    /// that waits: so that none is carried out after it was given back.
    keeping: Option<Arc<Keeping>>,
}

/// What a cache finds when it attaches.
pub(crate) struct Adopted {
    pub(crate) cursor: Cursor,
    pub(crate) standings: Vec<Standing>,
    pub(crate) schemes: Vec<Dependency>,
}

/// How what a record needs to be registered is noted with it.
#[derive(Debug)]
pub(crate) enum Noting {
    /// In a file that has the line: one after the other.
    Own,
    /// In one that follows it: as that one has them, or not at all.
    AsLine(Option<Arc<Schemes>>),
}

/// Attaches a cache that follows `origins` to `store`.
pub(crate) fn attach(
    store: &SqliteStore,
    origins: &[Name],
    follows: Follows,
) -> Result<Attached, Error> {
    let session = Session::begin(store, follows)?;
    let adopted = apart_from_runtime(|| session.adopt())?;
    Ok(session.attached(Arc::new(session.clone()), origins, adopted))
}

/// Runs what waits for commits, which a thread of the runtime must not.
pub(crate) fn apart_from_runtime<T: Send>(
    act: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let panicked = |_| Error::new(ErrorKind::Panicked, "attach to the store");
    std::thread::scope(|scope| scope.spawn(act).join()).map_err(panicked).flatten()
}

/// Goes on where the store stands, or begins a life of the line; also if one of the schemes cannot
/// be read, so that nothing can be compared.
fn adopt(writing: &mut Writing<'_>, path: &str) -> Result<Adopted, Error> {
    let failed = Writing::failed("attach to the store");
    let mut cursor = announce::adopt(writing, path)?;
    let schemes = link::schemes(writing.connection).or_else(|error| {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        tracing::error!(store = %path, "what its entries choose by cannot be read: all fall");
        cursor = announce::renew(writing, path)?;
        Ok(Vec::new())
    })?;
    let standings = standing::read(writing.connection).map_err(failed)?;
    Ok(Adopted { cursor, standings, schemes })
}

/// Carries out `steps` in a file that has the line; with where those that are announced found it.
fn carry_out(
    writing: &mut Writing<'_>,
    (path, author): (&str, u64),
    steps: Vec<Step>,
    knows: &Knows,
) -> Result<(Applied, Vec<Said>), Error> {
    let (mut applied, mut all) = (Applied::default(), Vec::new());
    for step in steps {
        if let Some(how) = &step.announced {
            let said = announce::announce(writing, path, author, &step, how)?;
            applied.place = Some(said.one.cursor);
            all.push(said);
        } else {
            applied.refused.extend(standing::step(writing.connection, step, &**knows)?);
        }
    }
    Ok((applied, all))
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

impl Session {
    /// The hands of a cache on `store`.
    pub(crate) fn begin(store: &SqliteStore, follows: Follows) -> Result<Self, Error> {
        let keeping = match follows {
            Follows::Places => None,
            Follows::Positions => Keeping::of(store.path())?,
        };
        let author = life::random()?;
        Ok(Self { store: store.clone(), author, keeping: keeping.map(Arc::new) })
    }

    /// The same hands on another file of the same store.
    pub(crate) fn on(&self, store: &SqliteStore) -> Self {
        Self { store: store.clone(), ..self.clone() }
    }

    /// Goes on where the file stands; waits for a commit.
    pub(crate) fn adopt(&self) -> Result<Adopted, Error> {
        let path = self.path();
        self.store.writer_queue().write_blocking(move |writing| adopt(writing, &path))
    }

    /// What the cache is given that attaches, with `tracked` to read and write by.
    pub(crate) fn attached(
        &self,
        tracked: Arc<dyn TrackedStore>,
        origins: &[Name],
        adopted: Adopted,
    ) -> Attached {
        let Adopted { cursor, mut standings, schemes } = adopted;
        standings.retain(|own| origins.contains(&own.timeline));
        let origins = if self.keeping.is_some() { Origins::Kept } else { Origins::NotKept };
        Attached { tracked, author: self.author, cursor, origins, standings, schemes }
    }

    pub(crate) fn path(&self) -> String {
        self.store.path().display().to_string()
    }

    /// Writes what `act` does, while this cache keeps what it keeps.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let keeping = self.keeping.clone();
        let act = move |writing: &mut Writing<'_>| {
            let _keeping = keeping;
            act(writing)
        };
        self.store.writer_queue().write(durability, Effort::MUCH, act).await
    }

    /// Carries out `steps` in a file that has the line; with where those that are announced found
    /// it.
    pub(crate) async fn carry_out(
        &self,
        steps: Vec<Step>,
        knows: Knows,
    ) -> Result<(Applied, Vec<Said>), Error> {
        let (author, path, durability) = (self.author, self.path(), durability_of(&steps));
        self.write(durability, move |writing| carry_out(writing, (&path, author), steps, &knows))
            .await
    }

    /// Puts `record` under `key` of `region`, if it is right, its fence allows it, and what it
    /// needs to be registered is noted.
    pub(crate) async fn put_with(
        &self,
        region: &str,
        key: &[u8],
        record: NewRecord,
        noting: Noting,
    ) -> Result<Written, Error> {
        let now = self.store.options().clock.wall();
        let lifetime = match record.until {
            None => Lifetime::Forever,
            Some(until) if until <= now => return Ok(Written::NotRight),
            Some(until) => Lifetime::Until(until),
        };
        let NewRecord { bytes, digests, schemes, judge, fence, .. } = record;
        let (keeping, author, key) = (self.keeping.clone(), self.author, key.to_vec());
        let path = self.path();
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
                if announce::reaches(connection, author, known, now, &digests).map_err(failed)? {
                    return Ok(Written::NotRight);
                }
                if !noting.note(connection, &path, &schemes)? {
                    return Ok(Written::NotRight);
                }
                let key = RowKey::Bytes(&key);
                if !claims::pass(writing, region, key, fence)? {
                    return Ok(Written::Outrun);
                }
                put::put(writing, region, key, &entry, IfPresent::Replace)?;
                link::link(writing.connection, region, key, &digests).map_err(failed)?;
                Ok(Written::Kept)
            })
            .await
    }
}

/// What is announced is on the disk before it is answered.
pub(crate) fn durability_of(steps: &[Step]) -> Durability {
    match steps.iter().any(|step| step.announced.is_some()) {
        true => Durability::Durable,
        false => Durability::Relaxed,
    }
}

impl Noting {
    /// Notes `needed`; whether it is noted now.
    fn note(
        &self,
        connection: &Connection,
        path: &str,
        needed: &[Dependency],
    ) -> Result<bool, Error> {
        let failed = Writing::failed("write an entry");
        let schemes = match self {
            Self::Own => return link::note_schemes(connection, needed).map(|()| true),
            Self::AsLine(schemes) => schemes,
        };
        if link::has_schemes(connection, needed).map_err(failed)? {
            return Ok(true);
        }
        let epoch = Life::read(connection, path)?.epoch;
        let Some(schemes) = schemes.as_ref().filter(|schemes| schemes.epoch == epoch) else {
            return Ok(false);
        };
        schemes.note(connection).map_err(failed)?;
        link::has_schemes(connection, needed).map_err(failed)
    }
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
        Box::pin(self.put_with(region, key, record, Noting::Own))
    }

    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>> {
        let session = self.clone();
        Box::pin(async move { session.carry_out(steps, knows).await.map(|(applied, _)| applied) })
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
