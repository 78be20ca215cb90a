//! Replica: a table that follows another one, of another process, and is read in its place.
//!
//! Apart from `follow`, which hears of rows and knows an origin: a replica is sent whole versions
//! of its owner's table, and has nobody else to ask. How bytes come to it is not said here.
//! **Invariant**: what a replica shows is one version of its owner; and a read shows one that is at
//! least as new as what the owner would have shown at some moment that is not longer ago than the
//! replica's `max_staleness`.
//!
//! # Implementation notes
//!
//! *Age.* That a version has come says nothing of its age: it may have waited on the way. So a
//! replica asks, and counts from the moment of the question:
//!
//! 1. A reader comes. The replica asks its owner at 12:00:00.
//! 2. The owner asks its origin, loads what is in doubt, and answers: version 8.
//! 3. Version 8 arrives, and is shown. Whatever is shown from then on is as new as 12:00:00.
//!
//! An answer counts for the connection and the life that it was asked in: after the end of either
//! nothing is proven, and the next read asks.
//!
//! *A connection that ends* leaves the records where they are, for they were a version of the
//! owner; only nobody is shown them without another question, which waits for another connection
//! and all that is sent by that. A reader that was told "young enough" just before looks once more
//! after it has taken its snapshot: else it could take the first version of another owner, of whose
//! age nobody knows.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_core::{
    BoxFuture, Clock, Error, ErrorKind, Key, Moment, Name,
    feed::{Feed, FeedSink},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    codec::Codec,
    content::{Content, MANY},
    definition::Definition,
    follow::Followed,
    frames::{READ, corrupt},
    incoming::Incoming,
    index::{Index, IndexKey},
    kept::Described,
    lane::AnyRanges,
    message::{Begin, End, Message, each_record},
    origin::Fill,
    published::Version,
    ranges::Ranges,
    record::Record,
    snapshot::Snapshot,
    table::{Progress, Table},
};

/// The owner of a table, as far as a replica asks it.
pub trait Owner: fmt::Debug + Send + Sync + 'static {
    /// The version that [`Table::version`] gives there now. Asked at most once at a time.
    ///
    /// # Errors
    /// Whatever keeps it from answering: reads that need the answer fail with it.
    fn version(&self) -> BoxFuture<'_, Result<Version, Error>>;
}

/// A table that follows another one: [`Definition::replica`]. Cloning shares it.
pub struct Replica<R: Record, W: IndexKey>(Arc<Following<R, W>>);

struct Following<R: Record, W: IndexKey> {
    table: Table<R, W>,
    codec: Codec<R>,
    described: Described,
    asking: Arc<Asking>,
}

/// The part of a replica that knows no types.
#[derive(Debug)]
struct Asking {
    owner: Arc<dyn Owner>,
    called: Name,
    clock: Clock,
    wait: Duration,
    /// Everything that the owner knew before this is shown. Changed under the lock of `state`.
    proven: Arc<AtomicU64>,
    state: watch::Sender<State>,
    /// Held by whoever asks.
    turn: tokio::sync::Mutex<()>,
    counts: Mutex<Counts>,
}

/// How far the connection came.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// They are numbered; the last one.
    connection: u64,
    is_open: bool,
    life: u64,
    /// The version that is shown; none of this connection yet at zero.
    number: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    versions: u64,
    bytes: u64,
}

/// How a replica is, and what has come.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaStats {
    /// Whether it is connected, and was sent all of the table.
    pub is_connected: bool,
    /// Connections that were begun.
    pub connections: u64,
    /// Versions that were shown.
    pub versions: u64,
    /// Bytes that have come.
    pub bytes: u64,
    /// How long ago the question was asked whose answer is shown; `None` while nothing is proven.
    pub age: Option<Duration>,
}

impl<R: Record> Definition<R> {
    /// A table that follows the one of another process, which is `called` so in errors; connections
    /// bring to it what that sends ([`Table::outgoing`]). It has no loaders: what is outside the
    /// owner's window is asked of the owner.
    ///
    /// The definition has the indexes of the owner's under the same names, in the same order, and
    /// the same index of the window; `codec` reads what the owner's wrote. Windows and records are
    /// changed at the owner only.
    ///
    /// A read asks the owner first where the last question was asked longer than `max_staleness`
    /// ago, and at zero each time: then it sees all that the owner's origin showed when it began.
    /// It waits for the answer, for the connection and for what it has to be sent, at most as long
    /// as [`Definition::wait_for_load`] says.
    ///
    /// # Errors
    /// As [`Definition::build`]; `Config` when the codec or keys of the window cannot be compared.
    pub fn replica<W: IndexKey + Key>(
        mut self,
        window: &Index<R, W>,
        called: &str,
        owner: Arc<dyn Owner>,
        codec: Codec<R>,
        clock: Clock,
        max_staleness: Duration,
    ) -> Result<Replica<R, W>, Error> {
        let name: Name = called.into();
        // Never called: a table must have one, and a replica loads nothing (`Table::ask`).
        self.loads_by(window, |_, _| std::future::ready(Ok(())));
        let table = self.build(window)?;
        let proven = Arc::new(AtomicU64::new(Moment::EARLIEST.as_micros()));
        let asking = Arc::new(Asking {
            owner,
            called: name,
            clock: clock.clone(),
            wait: table.wait(),
            proven: proven.clone(),
            state: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
        });
        table.set_followed(Followed::owner(asking.clone(), proven, clock, max_staleness))?;
        let described = table.described_to_others(&codec);
        Ok(Replica(Arc::new(Following { table, codec, described, asking })))
    }
}

impl<R: Record, W: IndexKey + Key> Replica<R, W> {
    /// The table, to be read.
    pub fn table(&self) -> &Table<R, W> {
        &self.0.table
    }

    /// A connection to the owner begins, over which `incoming` comes, with what it has brought so
    /// far. Whatever an earlier one brings is refused from now on.
    ///
    /// # Errors
    /// `Config` when the owner's table is of another definition; those of [`Incoming::hello`], and
    /// `Corrupt` when it has not said what it is of.
    pub fn connect(&self, mut incoming: Incoming) -> Result<Connection<R, W>, Error> {
        let asking = &self.0.asking;
        let hello = incoming.hello()?.ok_or_else(|| corrupt("it has not said what it is of"))?;
        hello.check(&self.0.described)?;
        let (life, mut number) = (hello.life, 0);
        asking.state.send_modify(|state| {
            asking.unprove();
            number = state.connection + 1;
            *state = State { connection: number, is_open: true, life, number: 0 };
        });
        Ok(Connection { replica: self.clone(), number, incoming, shown: 0, coming: None })
    }

    /// How it is, and what has come.
    pub fn stats(&self) -> ReplicaStats {
        let asking = &self.0.asking;
        let (state, counts) = (*asking.state.borrow(), *asking.counts.lock());
        let proven = asking.proven.load(Ordering::Acquire);
        let is_proven = proven != Moment::EARLIEST.as_micros();
        let age = asking.clock.now().since(Moment::from_micros(proven));
        ReplicaStats {
            is_connected: state.is_open && state.number != 0,
            connections: state.connection,
            versions: counts.versions,
            bytes: counts.bytes,
            age: is_proven.then_some(age),
        }
    }
}

/// One connection of a replica to its owner. When it is dropped nothing is proven any more.
pub struct Connection<R: Record, W: IndexKey> {
    replica: Replica<R, W>,
    /// By which it is known to be the last one.
    number: u64,
    incoming: Incoming,
    /// The version that was shown last by this connection.
    shown: u64,
    coming: Option<Coming<R, W>>,
}

/// A version of which not everything has come.
struct Coming<R: Record, W> {
    begin: Begin,
    window: Ranges<W>,
    came: Fill<R>,
    went: Vec<R>,
    counts: (u64, u64),
}

impl<R: Record, W: IndexKey + Key> Connection<R, W> {
    /// Takes what the owner has sent, and shows each version that is whole.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was sent, or does not follow from what came before; `Limit`
    /// when the records are more than the table may hold; `Conflict` when another connection has
    /// taken the place of this one, or keys are repeated. The connection is of no use then: it is
    /// to be dropped, and another one begun.
    ///
    /// # Cancel safety
    /// Not so: a connection of which this was dropped before it ended is to be dropped, too.
    ///
    /// # Cost
    /// What a change of as many records costs; what takes long is done where no task waits.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.incoming.take(bytes);
        self.replica.0.asking.counts.lock().bytes += self.incoming.came();
        while let Some(message) = self.incoming.next()? {
            self.hear(message).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, message: Message) -> Result<(), Error> {
        let misplaced = || corrupt("a message stands where it cannot");
        let codec = &self.replica.0.codec;
        match message {
            Message::Beat => {}
            Message::Hello(_) => return Err(misplaced()),
            Message::Begin(begin) => self.begin(begin)?,
            Message::Came(body) => {
                let coming = self.coming.as_mut().ok_or_else(misplaced)?;
                coming.counts.0 += each_record(&body, codec, |record| coming.came.put(record))?;
            }
            Message::Went(body) => {
                let Coming { went, counts, .. } = self.coming.as_mut().ok_or_else(misplaced)?;
                counts.1 += each_record(&body, codec, |record| {
                    went.push(record);
                    Ok(())
                })?;
            }
            Message::End(end) => {
                let coming = self.coming.take().ok_or_else(misplaced)?;
                self.end(coming, end).await?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, begin: Begin) -> Result<(), Error> {
        let follows = begin.from.unwrap_or(0) == self.shown && self.shown < begin.number;
        if !follows || self.coming.is_some() {
            return Err(corrupt("a version does not follow the one before it"));
        }
        let window = begin.window()?;
        let came = Fill::new(self.replica.0.table.0.limits.clone());
        self.coming = Some(Coming { begin, window, came, went: Vec::new(), counts: (0, 0) });
        Ok(())
    }

    /// Everything of a version is there: it is shown.
    async fn end(&mut self, coming: Coming<R, W>, end: End) -> Result<(), Error> {
        let Coming { begin, window, came, went, counts } = coming;
        if (end.number, (end.came, end.went)) != (begin.number, counts) {
            return Err(corrupt("a version lacks something"));
        }
        let replica = self.replica.clone();
        let make = move || {
            let table = &replica.0.table;
            let came = came.finish()?;
            let lane = table.lane(table.0.window.place);
            if came.iter().any(|record| !lane.holds(&window, record)) {
                return Err(corrupt("a record is not in the window: its keys are made otherwise"));
            }
            let now = table.snapshot();
            let content = match begin.from {
                None => now.content.filled(&came, &table.0.limits)?,
                Some(_) => changed(table, &now.content, &went, came)?,
            };
            if content.len() as u64 != end.count {
                return Err(corrupt("a version has another number of records"));
            }
            let window: Arc<dyn AnyRanges> = Arc::new(window);
            Ok(Snapshot { content, window: Some(window), marks: Vec::new(), last: now.last })
        };
        let next = match end.came + end.went < MANY as u64 {
            true => make()?,
            false => match tokio::task::spawn_blocking(make).await {
                Ok(made) => made?,
                Err(error) => return Err(self.replica.0.table.not_made(error)),
            },
        };
        self.show(next, end.number)
    }

    fn show(&mut self, next: Snapshot<R>, number: u64) -> Result<(), Error> {
        let Following { table, asking, .. } = &*self.replica.0;
        let own = self.number;
        let mut old = None;
        asking.state.send_if_modified(|state| {
            if !state.is_open || state.connection != own {
                return false;
            }
            // Before the number: who waits for that finds the version.
            old = Some(table.0.state.swap(Arc::new(next)));
            state.number = number;
            true
        });
        // Not under the lock.
        if old.take().is_none() {
            let detail = "another connection has taken the place of this one";
            return Err(Error::new(ErrorKind::Conflict, READ).detail(detail));
        }
        self.shown = number;
        asking.counts.lock().versions += 1;
        table.0.publications.shown.send_replace(());
        table.0.loaded.send_if_modified(|progress| {
            std::mem::replace(progress, Progress::Done) != Progress::Done
        });
        Ok(())
    }
}

/// The content when these have gone and those have come.
fn changed<R: Record, W: IndexKey>(
    table: &Table<R, W>,
    now: &Content<R>,
    went: &[R],
    came: Vec<Arc<R>>,
) -> Result<Content<R>, Error> {
    let gone: Option<Vec<Arc<R>>> =
        went.iter().map(|record| now.get(&record.key()).cloned()).collect();
    let gone = gone.ok_or_else(|| corrupt("a record goes that was not there"))?;
    now.changed(gone, came, &table.0.limits)
}

impl<R: Record, W: IndexKey> Drop for Connection<R, W> {
    fn drop(&mut self) {
        self.replica.0.asking.close(self.number);
    }
}

impl Asking {
    fn unprove(&self) {
        self.proven.store(Moment::EARLIEST.as_micros(), Ordering::Release);
    }

    /// The connection of that number is over.
    fn close(&self, number: u64) {
        self.state.send_if_modified(|state| {
            let is_last = state.is_open && state.connection == number;
            if is_last {
                self.unprove();
                state.is_open = false;
            }
            is_last
        });
    }

    /// Asks the owner, and waits until what it answers is shown.
    async fn ask(&self) -> Result<(), Error> {
        let arrived = self.clock.now();
        let asked = tokio::time::timeout(self.wait, async {
            let _turn = self.turn.lock().await;
            // Somebody asked after this one came, while it waited for its turn.
            if arrived.as_micros() < self.proven.load(Ordering::Acquire) {
                return Ok(());
            }
            while !self.ask_once().await? {}
            Ok(())
        });
        asked.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Whether the answer is shown; else the connection has ended, and it has to be asked again.
    async fn ask_once(&self) -> Result<bool, Error> {
        let mut state = self.state.subscribe();
        // It is held here, so that it cannot end. Also before anything has come: while something is
        // in doubt at the owner it sends nothing until it is asked.
        let now = state.wait_for(|state| state.is_open).await.map(|state| *state);
        let Ok(now) = now else { return Ok(false) };
        let moment = self.clock.now();
        let Version { life, number } = self.owner.version().await?;
        if life != now.life {
            // Another one answers than the one that speaks: one of both is gone.
            self.close(now.connection);
            return Ok(false);
        }
        let is_same = move |state: &State| state.is_open && state.connection == now.connection;
        let is_there = |state: &State| state.number != 0 && number <= state.number;
        let ended = state.wait_for(|state| !is_same(state) || is_there(state)).await;
        if ended.is_err() {
            return Ok(false);
        }
        drop(ended);
        let mut is_shown = false;
        self.state.send_if_modified(|state| {
            is_shown = is_same(state);
            if is_shown {
                self.proven.fetch_max(moment.as_micros(), Ordering::AcqRel);
            }
            false
        });
        Ok(is_shown)
    }

    #[cold]
    fn unanswered(&self) -> Error {
        let state = *self.state.borrow();
        let why = match (state.is_open, state.number) {
            (false, _) => "it is not connected",
            (true, 0) => "not all of the table has come yet",
            (true, _) => "it did not answer, or what it answered with has not come",
        };
        Error::new(ErrorKind::Unavailable, "ask the owner of table").subject(&*self.called).detail(
            format!(
                "{why} within {:?}; let the owner run, let reads accept an older state with \
                 `max_staleness`, or let them wait longer with `wait_for_load`",
                self.wait
            ),
        )
    }
}

/// To the reads of a replica its owner is what tells of changes.
impl Feed for Asking {
    fn timeline(&self) -> &Name {
        &self.called
    }

    fn start(&self, _sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, "follow the owner of table").subject(&*self.called))
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.ask())
    }

    fn stop(&self) {}
}

impl<R: Record, W: IndexKey> Clone for Replica<R, W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Replica<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("table", &self.0.table)
            .field("owner", &self.0.asking.called)
            .finish_non_exhaustive()
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Connection<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("of", &self.replica).finish_non_exhaustive()
    }
}
