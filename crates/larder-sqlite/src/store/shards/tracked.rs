//! What can be invalidated, in several files.
//!
//! An entry lies in one file with its links, so each file has standings of its own, and an entry is
//! judged by those of its file. Places are the same in all: of `app` those of the line, which the
//! first file has; of an origin those of its log, in the life that the first file is in.
//! **Invariant**: a step is carried out in the first file before any other, and what the first
//! refuses is carried out in none; a file that a step did not reach stands before it.
//!
//! # Implementation notes
//!
//! What is announced: see `line`. What an origin tells, F being the first file and K another one:
//!
//! *A crash between the files.* F stands at 20, K at 15. The feed is given the least of them, and
//! tells again from there what K lacks; F finds it done. What was recorded with the commits up to
//! 20 was announced before F went there, so K hears of it from the line.
//!
//! *Positions that nobody shares.* A feed that counts for itself does not count twice alike, and
//! what it tells again would seem done in F. So it is given no mark unless all files agree, and
//! begins a life.
//!
//! *A failure of power.* F is back at 15, K stands at 20 with entries of 20. The feed tells again
//! from 15. Should the log go on otherwise now, the mark of K is not on it, and whoever moves K is
//! refused, asks the feed, and begins a life. It is the same that a slower cache does.
//!
//! *A file in another life.* A has begun a life in F and is killed before it comes to K; or F has
//! lost that life to a failure of power, and K is in it. K cannot simply be put where F is: it may
//! have entries of that very life, from before. So K rejoins the line, which ends all that it has,
//! and is in no life; then it begins where the step ends.
//!
//! *Two that begin a life.* F decides. Between its answer and K another one may begin: before K is
//! put into a life F is asked again, and K is put there only from where it was seen before that.
//!
//! 1. A begins E in F. K is seen in D. C begins G in F, and in K in place of D: A finds K moved.
//! 2. Or A comes first: K is in E. C finds it there, and F in G: K rejoins, into G.
//!
//! *A file that fails* is left where it stands, which is as right as before. The next step finds a
//! gap there, and raises the floor.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use larder_core::{
    BoxFuture, Dependency, Digest, Error, Name,
    announcement::{Cursor, Look},
    store::{
        Applied, Attached, Begins, Follows, FoundRecord, Knows, NewRecord, Standing, Step,
        TrackedStore, Written,
    },
};
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{Family, layout::place_of, line, together::all};
use crate::store::{
    announce::Said,
    file,
    follow::{self, Reached},
    life::Life,
    link::{self, Schemes},
    operation::on_a_thread,
    options::Durability,
    row_key::RowKey,
    standing,
    tracked::{Noting, Session, apart_from_runtime, durability_of},
    writer::Writing,
};

/// What is said of a file that cannot be written now.
const LEFT_BEHIND: &str = "a file of the store is left behind the others: what it has is not \
                           believed beyond where it stands";

/// Times that a step is brought to a file which others move meanwhile.
const TRIES: usize = 4;

/// The tracked side of several files, in the hands of one cache.
#[derive(Debug)]
struct Sessions {
    first: Session,
    others: Vec<Follower>,
    /// Where the line stood when this cache last heard of it.
    seen: Mutex<Cursor>,
}

/// One of the files that follow the first.
#[derive(Debug)]
struct Follower {
    session: Session,
    /// Up to where in the line it was last seen to be.
    reached: Mutex<Option<Cursor>>,
    /// Schemes that it was seen to have. A hint: whoever writes looks again.
    schemes: Mutex<HashSet<Digest>>,
    /// Whether it was said that it cannot be written.
    is_said: AtomicBool,
}

/// Attaches a cache that follows `origins` to several files.
pub(super) fn attach(
    family: &Family,
    origins: &[Name],
    follows: Follows,
) -> Result<Attached, Error> {
    let (first_file, others) = family.shards.split_first().expect("a family has a first file");
    let first = Session::begin(first_file, follows)?;
    let (adopted, offered) = apart_from_runtime(|| {
        first.adopt()?;
        if let Err(error) = line::bring_all(first_file, others) {
            tracing::warn!(%error, "{LEFT_BEHIND}");
        }
        let mut standings = Vec::new();
        for other in others {
            // Not by the writer, which may be what left it behind.
            let connection = file::open_for_reading(other.path(), other.options())?;
            let failed = Writing::failed("attach to the store");
            standings.push(standing::read(&connection).map_err(failed)?);
        }
        // Again: files may have taken places in the line.
        let adopted = first.adopt()?;
        let offered = offered(&adopted.standings, &standings, follows);
        Ok((adopted, offered))
    })?;
    let follower = |file| Follower {
        session: first.on(file),
        reached: Mutex::default(),
        schemes: Mutex::default(),
        is_said: AtomicBool::default(),
    };
    let sessions = Sessions {
        first: first.clone(),
        others: others.iter().map(follower).collect(),
        seen: Mutex::new(adopted.cursor),
    };
    let attached = first.attached(Arc::new(Hands(Arc::new(sessions))), origins, adopted);
    let standings = offered.into_iter().filter(|own| origins.contains(&own.timeline)).collect();
    Ok(Attached { standings, ..attached })
}

/// Where each timeline goes on: in the life that the first file is in, from where everybody who is
/// in it can be told the rest.
fn offered(first: &[Standing], others: &[Vec<Standing>], follows: Follows) -> Vec<Standing> {
    let offered = |own: &Standing| {
        let is_same = |one: &&Standing| one.timeline == own.timeline && one.epoch == own.epoch;
        let others: Vec<&Standing> = others.iter().flatten().filter(is_same).collect();
        let is_there = |one: &&Standing| (one.position, &one.mark) == (own.position, &own.mark);
        let least = others.iter().copied().chain([own]).min_by_key(|one| one.position);
        match follows {
            Follows::Positions if !others.iter().all(is_there) => {
                Standing { mark: None, ..own.clone() }
            }
            Follows::Places | Follows::Positions => least.unwrap_or(own).clone(),
        }
    };
    first.iter().map(offered).collect()
}

/// What became of steps in a file that follows.
enum Carried {
    /// They were carried out, but for those whose timelines stand there.
    Out(Vec<Standing>),
    /// The file is not where the line was before them.
    NotHere,
}

impl Sessions {
    /// The file that has `key`, if it is not the first.
    fn other_of(&self, region: &str, key: &[u8]) -> Option<&Follower> {
        let place = place_of(region, RowKey::Bytes(key), 1 + self.others.len());
        place.checked_sub(1).and_then(|place| self.others.get(place))
    }

    fn see(&self, cursor: Cursor) {
        let mut seen = self.seen.lock();
        if seen.epoch != cursor.epoch || seen.position < cursor.position {
            *seen = cursor;
        }
    }

    async fn apply(&self, steps: Vec<Step>, knows: Knows) -> Result<Applied, Error> {
        let (mut applied, said) = self.first.carry_out(steps.clone(), knows.clone()).await?;
        if let Some(place) = applied.place {
            self.see(place);
        }
        let is_refused =
            |step: &Step| applied.refused.iter().any(|own| own.timeline == step.timeline);
        let mut steps = steps;
        steps.retain(|step| step.announced.is_some() || !is_refused(step));
        let said: Arc<[Said]> = said.into();
        let others = self.others.iter().map(|other| async {
            let carried = self.carry_to(other, steps.clone(), said.clone(), &knows).await;
            other.tell(carried)
        });
        for own in all(others).await.into_iter().flatten() {
            if applied.refused.iter().all(|known| known.timeline != own.timeline) {
                applied.refused.push(own);
            }
        }
        Ok(applied)
    }

    /// Carries out in `other` what was carried out in the first file; what is refused there.
    async fn carry_to(
        &self,
        other: &Follower,
        mut steps: Vec<Step>,
        said: Arc<[Said]>,
        knows: &Knows,
    ) -> Result<Vec<Standing>, Error> {
        let mut refused = Vec::new();
        for _ in 0..TRIES {
            if steps.is_empty() {
                break;
            }
            let (these, said, knows) = (steps.clone(), said.clone(), knows.clone());
            let (path, durability) = (other.session.path(), durability_of(&steps));
            let carry =
                move |writing: &mut Writing<'_>| go_along(writing, &path, these, &said, &knows);
            match other.session.write(durability, carry).await? {
                Carried::NotHere => {
                    // Over what was announced; and if the line is in another life by now, what was
                    // announced in the one before is over.
                    self.bring(other).await?;
                    steps.retain(|step| step.announced.is_none());
                }
                Carried::Out(standings) => {
                    steps.retain(|step| standings.iter().any(|own| own.timeline == step.timeline));
                    for own in standings {
                        refused.extend(self.settle(other, own, &mut steps).await?);
                    }
                }
            }
        }
        Ok(refused)
    }

    /// What is done about a step that a file has refused which stands at `own`: it is left in
    /// `steps`, in a form that may be carried out there, or taken out of them and refused.
    async fn settle(
        &self,
        other: &Follower,
        own: Standing,
        steps: &mut Vec<Step>,
    ) -> Result<Option<Standing>, Error> {
        let Some(index) = steps.iter().position(|step| step.timeline == own.timeline) else {
            return Ok(None);
        };
        let Some(step) = steps.get_mut(index) else { return Ok(None) };
        if own.epoch == step.epoch {
            // The feed has to be asked about the place.
            steps.remove(index);
            return Ok(Some(own));
        }
        let now = self.first.store.pool().read(|connection| {
            standing::read(connection).map_err(Writing::failed("read from the store"))
        });
        let now = now.await?.into_iter().find(|now| now.timeline == own.timeline);
        if now.as_ref().is_none_or(|now| now.epoch != step.epoch) {
            // Others have begun a life since.
            let now = now.unwrap_or_else(|| standing::nowhere(step));
            steps.remove(index);
            return Ok(Some(now));
        }
        if own.epoch == larder_core::Epoch::VOID {
            // Only if it still is in none.
            step.begins = Begins::Anew(None);
            (step.digests, step.tables, step.everything) = (Vec::new(), Vec::new(), false);
        } else {
            let (first, file) = (self.first.store.clone(), other.session.store.clone());
            on_a_thread("bring a file of the store along", move |_| line::rejoin(&first, &file))
                .await?;
        }
        Ok(None)
    }

    /// What was announced since `since`. Where that is in another life of the line, all files are
    /// brought into it first, so that this cache hears of the places that they take.
    async fn look(&self, since: Cursor, schemes: usize) -> Result<Look, Error> {
        let mut look = self.first.look(since, schemes).await?;
        if look.cursor.epoch != since.epoch {
            let first = self.first.store.clone();
            let files: Vec<_> =
                self.others.iter().map(|other| other.session.store.clone()).collect();
            let bring = move |_: &dyn Fn() -> bool| line::bring_all(&first, &files);
            if let Err(error) = on_a_thread("bring files of the store along", bring).await {
                tracing::warn!(%error, "{LEFT_BEHIND}");
            }
            look = self.first.look(since, schemes).await?;
        }
        self.see(look.cursor);
        Ok(look)
    }

    /// Brings a file to where the line stands, on a thread: it waits for commits.
    async fn bring(&self, other: &Follower) -> Result<Cursor, Error> {
        let (first, file) = (self.first.store.clone(), other.session.store.clone());
        let bring = move |_: &dyn Fn() -> bool| line::bring(&first, &file);
        let at = on_a_thread("bring a file of the store along", bring).await?;
        *other.reached.lock() = Some(at);
        Ok(at)
    }

    /// Sees to it that a record can be written into a file: it stands where this cache knows the
    /// line to be, and has the schemes that are `needed`, or can be given them.
    async fn make_ready(
        &self,
        other: &Follower,
        needed: &[Dependency],
    ) -> Result<Option<Arc<Schemes>>, Error> {
        let seen = *self.seen.lock();
        let is_along = |at: Cursor| at.epoch == seen.epoch && seen.position <= at.position;
        let reached = *other.reached.lock();
        if !reached.is_some_and(is_along) {
            let path = other.session.path();
            let read = move |connection: &Connection| follow::stands(connection, &path);
            let found = other.session.store.pool().read(read).await?;
            match found.cursor.filter(|at| is_along(*at)) {
                Some(at) => *other.reached.lock() = Some(at),
                None => drop(self.bring(other).await?),
            }
        }
        let has_all = {
            let known = other.schemes.lock();
            needed.iter().all(|scheme| known.contains(&scheme.digest()))
        };
        if has_all || other.has_schemes(needed).await? {
            return Ok(None);
        }
        self.note_schemes(needed).await.map(|schemes| Some(Arc::new(schemes)))
    }

    /// Notes schemes in the first file; all that it has then.
    ///
    /// On the disk, also if it has them: a file that follows must not have what the first one can
    /// still lose.
    async fn note_schemes(&self, needed: &[Dependency]) -> Result<Schemes, Error> {
        let (needed, path) = (needed.to_vec(), self.first.path());
        let note = move |writing: &mut Writing<'_>| {
            link::note_schemes(writing.connection, &needed)?;
            let epoch = Life::read(writing.connection, &path)?.epoch;
            Schemes::read(writing.connection, epoch)
        };
        self.first.write(Durability::Durable, note).await
    }

    async fn put(&self, region: &str, key: &[u8], record: NewRecord) -> Result<Written, Error> {
        let Some(other) = self.other_of(region, key) else {
            return self.first.put_with(region, key, record, Noting::Own).await;
        };
        let schemes = self.make_ready(other, &record.schemes).await?;
        let needed: Vec<Digest> = record.schemes.iter().map(Dependency::digest).collect();
        let noting = Noting::AsLine(schemes);
        let written = other.session.put_with(region, key, record, noting).await?;
        match written {
            Written::Kept => other.schemes.lock().extend(needed),
            // What was seen of the file may not be so any more: it was restored.
            Written::NotRight => other.forget(),
            Written::Outrun => {}
        }
        Ok(written)
    }
}

impl Follower {
    /// Whether the file has all of `needed`.
    async fn has_schemes(&self, needed: &[Dependency]) -> Result<bool, Error> {
        let schemes = needed.to_vec();
        let has = move |connection: &Connection| {
            let failed = Writing::failed("read from the store");
            link::has_schemes(connection, &schemes).map_err(failed)
        };
        let has = self.session.store.pool().read(has).await?;
        if has {
            self.schemes.lock().extend(needed.iter().map(Dependency::digest));
        }
        Ok(has)
    }

    fn forget(&self) {
        *self.reached.lock() = None;
        self.schemes.lock().clear();
    }

    /// What is refused in the file; says it if nothing could be carried out there.
    fn tell(&self, carried: Result<Vec<Standing>, Error>) -> Vec<Standing> {
        match carried {
            Ok(refused) => {
                self.is_said.store(false, Ordering::Relaxed);
                refused
            }
            Err(error) => {
                self.forget();
                if !self.is_said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "{LEFT_BEHIND}");
                }
                Vec::new()
            }
        }
    }
}

/// Carries out steps in a file that follows: first what was announced.
fn go_along(
    writing: &mut Writing<'_>,
    path: &str,
    steps: Vec<Step>,
    said: &[Said],
    knows: &Knows,
) -> Result<Carried, Error> {
    let (announced, steps): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| step.announced.is_some());
    for (step, said) in announced.iter().zip(said) {
        if follow::take_step(writing, path, step, said)? == Reached::No {
            return Ok(Carried::NotHere);
        }
    }
    let mut refused = Vec::new();
    for step in steps {
        refused.extend(standing::step(writing.connection, step, &**knows)?);
    }
    Ok(Carried::Out(refused))
}

/// The hands of one cache: futures outlive the call.
#[derive(Debug)]
struct Hands(Arc<Sessions>);

impl TrackedStore for Hands {
    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<FoundRecord>, Error>> {
        let other = self.0.other_of(region, key).map(|other| &other.session);
        other.unwrap_or(&self.0.first).get(region, key)
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(self.0.put(region, key, record))
    }

    fn apply(&self, steps: Vec<Step>, knows: Knows) -> BoxFuture<'static, Result<Applied, Error>> {
        let sessions = self.0.clone();
        Box::pin(async move { sessions.apply(steps, knows).await })
    }

    fn look(&self, since: Cursor, schemes: usize) -> BoxFuture<'static, Result<Look, Error>> {
        let sessions = self.0.clone();
        Box::pin(async move { sessions.look(since, schemes).await })
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        // The line is in the first file.
        self.0.first.next_commit()
    }
}
