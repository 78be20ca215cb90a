//! A table, its origin and its feed, and the promise that every read is held to.
//!
//! It stands apart from the scenarios so that they say who meets whom and nothing else.
//! **Invariant**: what was known when a read began is asked before it begins, and what can have
//! been known at its end after it has ended; a complaint is never about the order of the two.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    ops::Range,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use larder_core::{
    BoxFuture, Clock, Epoch, Error, Name, Position, Value,
    change::{Change, RowChange},
    feed::{Doubt, Feed, FeedSink},
};
use shuttle::future::{block_on, yield_now};

use crate::{
    Definition, Fill, Image, Index, Ranges, Record, Rules, Table, snapshot::Snapshot, sync::Mutex,
};

/// Rows of the origin; they are there from the beginning.
const ROWS: u8 = 4;

/// A record is older than a change that the table was told of before the read began.
pub(super) const STALE: &str = "older than what was known";
/// What is shown was never so in the origin.
pub(super) const TORN: &str = "of no one moment";
/// A read failed.
pub(super) const UNANSWERED: &str = "a read is answered";

/// A row as some commit left it; 0 is how it began.
#[derive(Clone, Debug)]
pub(super) struct Row {
    id: u8,
    commit: usize,
}

impl Record for Row {
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }
}

/// Every row, and the commit that left it so.
type State = BTreeMap<u8, usize>;

/// What was committed, and how much of it loads can see.
#[derive(Debug, Default)]
struct Log {
    commits: Vec<&'static [u8]>,
    shown: usize,
}

impl Log {
    /// The rows after so many commits.
    fn state(&self, count: usize) -> State {
        let mut state: State = (0..ROWS).map(|id| (id, 0)).collect();
        for (place, ids) in self.commits.iter().take(count).enumerate() {
            state.extend(ids.iter().map(|id| (*id, place + 1)));
        }
        state
    }

    fn change(&self, place: usize) -> Vec<Change> {
        let (old, new) = (self.state(place), self.state(place + 1));
        let image = |state: &State, id: u8| {
            let commit = i64::try_from(state[&id]).expect("there are few");
            Some(vec![Value::Integer(commit), Value::Integer(id.into())])
        };
        let row = |id: &u8| {
            Change::Row(RowChange {
                table: "row".into(),
                columns: ["commit", "id"].map(Into::into).into(),
                key: [1].into(),
                old: image(&old, *id),
                new: image(&new, *id),
            })
        };
        self.commits[place].iter().map(row).collect()
    }
}

/// A feed that tells of the log when it is asked, or somebody lets it.
struct Hand {
    name: Name,
    log: Arc<Mutex<Log>>,
    sink: OnceLock<Arc<dyn FeedSink>>,
    /// So many commits were told of. Held while the table is told.
    told: Mutex<usize>,
    confirmed: AtomicUsize,
    clock: Clock,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hand")
    }
}

impl Feed for Hand {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        sink.restarted("hand", Epoch(1), Position(0), Doubt::Started);
        assert!(self.sink.set(sink).is_ok(), "it is started once");
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.deliver();
            Ok(())
        })
    }

    fn stop(&self) {}
}

impl Hand {
    fn deliver(&self) {
        let sink = self.sink.get().expect("it was started");
        let mut told = self.told.lock();
        let (changes, shown) = {
            let log = self.log.lock();
            let changes: Vec<_> = (*told..log.commits.len()).map(|at| log.change(at)).collect();
            (changes, log.shown)
        };
        for changes in changes {
            *told += 1;
            sink.received("hand", Position(*told as u64), &changes);
        }
        sink.confirmed("hand", Position(shown as u64), self.clock.now());
        self.confirmed.fetch_max(shown, SeqCst);
    }
}

/// What a change of a row of the origin means.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// It is the record.
    Is,
    /// It touches it.
    Touches,
}

/// See the module.
pub(super) struct World {
    log: Arc<Mutex<Log>>,
    table: Table<Row, u8>,
    by_id: Index<Row, u8>,
    hand: Option<Arc<Hand>>,
    /// Of each row, the last commit that an invalidation by hand has ended for.
    invalidated: [AtomicUsize; ROWS as usize],
}

impl World {
    fn new() -> Self {
        let log = Arc::<Mutex<Log>>::default();
        let mut definition = Definition::new("rows");
        let by_id = definition.primary();
        let own = log.clone();
        definition.loads_by(&by_id, move |ids: Ranges<u8>, fill: Fill<Row>| {
            let own = own.clone();
            async move {
                let state = {
                    let log = own.lock();
                    log.state(log.shown)
                };
                yield_now().await;
                let rows = state.into_iter().filter(|(id, _)| ids.contains(id));
                fill.put_all(rows.map(|(id, commit)| Row { id, commit }))
            }
        });
        let table = definition.build(&by_id).expect("a definition");
        Self { log, table, by_id, hand: None, invalidated: Default::default() }
    }

    /// A table that the application tells of changes.
    pub(super) fn by_hand(window: Range<u8>) -> Self {
        let world = Self::new();
        world.load(window);
        world
    }

    /// A table that follows a feed, not loaded yet.
    pub(super) fn following(rule: Rule) -> Self {
        let (mut world, clock) = (Self::new(), Clock::manual());
        let hand = Arc::new(Hand {
            name: "hand".into(),
            log: world.log.clone(),
            sink: OnceLock::new(),
            told: Mutex::default(),
            confirmed: AtomicUsize::new(0),
            clock: clock.clone(),
        });
        let id = |row: &Image<'_>| row.integer("id").and_then(|id| u8::try_from(id).ok());
        let rules = match rule {
            Rule::Is => Rules::new().records("row", move |row| {
                let commit = row.integer("commit").and_then(|own| usize::try_from(own).ok());
                Some(Row { id: id(row)?, commit: commit? })
            }),
            Rule::Touches => Rules::new().touches("row", &world.by_id, id),
        };
        let rules = rules.max_staleness(Duration::from_secs(3600));
        world.table.follow(hand.clone(), rules, clock).expect("it follows nothing yet");
        hand.deliver();
        world.hand = Some(hand);
        world
    }

    pub(super) fn load(&self, window: Range<u8>) {
        block_on(self.table.load(Ranges::of(window).expect("a range"))).expect("it loads");
    }

    pub(super) fn adjust(&self, window: Range<u8>) {
        block_on(self.table.adjust(Ranges::of(window).expect("a range"))).expect("it adjusts");
    }

    pub(super) fn reload(&self, window: Range<u8>) {
        block_on(self.table.reload(Ranges::of(window).expect("a range"))).expect("it loads");
    }

    pub(super) fn refresh(&self) {
        block_on(self.table.refresh_invalid()).expect("it refreshes");
    }

    /// What an adjust would be that publishes what goes before the window that it goes with.
    pub(super) fn adjust_in_two_steps(&self, window: Range<u8>) {
        let now = self.table.snapshot();
        let gone = now.content.records().filter(|row| !window.contains(&row.id)).cloned();
        let content = now.content.changed(gone, [], &self.table.0.limits).expect("there is room");
        let next = Snapshot { content, ..Snapshot::clone(&now) };
        self.table.0.state.store(Arc::new(next.clone()));
        let window = Ranges::of(window).expect("a range");
        self.table.0.state.store(Arc::new(Snapshot { window: Some(Arc::new(window)), ..next }));
    }

    /// One commit that writes these rows: in the log first, and then loads can see it.
    fn commit(&self, ids: &'static [u8]) -> usize {
        let number = {
            let mut log = self.log.lock();
            log.commits.push(ids);
            log.commits.len()
        };
        let mut log = self.log.lock();
        log.shown = log.shown.max(number);
        number
    }

    /// A commit, and an invalidation by hand.
    pub(super) fn change(&self, ids: &'static [u8]) {
        let number = self.commit(ids);
        self.table.invalidation().keys(ids.iter().copied()).commit().expect("it is loaded");
        for id in ids {
            self.invalidated[usize::from(*id)].fetch_max(number, SeqCst);
        }
    }

    /// A commit, and the feed that tells of it.
    pub(super) fn change_told(&self, ids: &'static [u8]) {
        self.commit(ids);
        self.deliver();
    }

    /// The feed tells of what there is.
    pub(super) fn deliver(&self) {
        self.hand.as_ref().expect("there is a feed").deliver();
    }

    /// Reads, and checks what it is shown.
    pub(super) fn read(&self, ids: Range<u8>) {
        let known = self.known();
        let found = block_on(self.table.range(&self.by_id, ids.clone())).expect(UNANSWERED);
        let found: State = found.iter().map(|row| (row.id, row.commit)).collect();
        self.check(&ids, &found, &known);
    }

    /// Begins to read, and leaves before it is answered if that takes longer.
    pub(super) fn read_for(&self, ids: Range<u8>, steps: usize) {
        let read = async { drop(self.table.range(&self.by_id, ids).await.expect(UNANSWERED)) };
        block_on(so_long(read, steps));
    }

    /// The same, and whoever shares what it waits for is left without.
    pub(super) fn read_and_end_it(&self, ids: Range<u8>, steps: usize) {
        self.read_for(ids, steps);
        self.table.0.flights.end_all();
    }

    fn known(&self) -> Known {
        match &self.hand {
            Some(hand) => Known::Moment(hand.confirmed.load(SeqCst)),
            None => Known::Each(self.invalidated.each_ref().map(|commit| commit.load(SeqCst))),
        }
    }

    fn check(&self, ids: &Range<u8>, found: &State, known: &Known) {
        let log = self.log.lock();
        let is_shown = |count: usize| {
            let state = log.state(count);
            state.range(ids.clone()).eq(found)
        };
        match known {
            Known::Moment(floor) => {
                if (*floor..=log.commits.len()).any(is_shown) {
                    return;
                }
                let complaint = if (0..*floor).any(is_shown) { STALE } else { TORN };
                panic!("{found:?} is {complaint}: {log:?}, {floor} known");
            }
            Known::Each(floors) => {
                assert!(found.keys().copied().eq(ids.clone()), "{found:?} is {TORN}: {ids:?}");
                for (id, commit) in found {
                    let floor = floors[usize::from(*id)];
                    assert!(floor <= *commit, "{found:?} is {STALE}: {floors:?}");
                }
            }
        }
    }

    /// When everybody has gone: what is left behind is held to the promise as well.
    pub(super) fn end(&self) {
        self.read(0..ROWS);
        for id in 0..ROWS {
            self.read(id..id + 1);
        }
    }
}

/// What was known when a read began.
enum Known {
    /// Of a table that follows a feed: it shows the origin after so many commits, or more.
    Moment(usize),
    /// Of one that is told by hand: each row is as this commit left it, or a later one.
    Each([usize; ROWS as usize]),
}

/// Polls `future` so many times.
async fn so_long(future: impl Future<Output = ()>, steps: usize) {
    let (mut future, mut left) = (pin!(future), steps);
    poll_fn(|context| {
        if left == 0 || future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
