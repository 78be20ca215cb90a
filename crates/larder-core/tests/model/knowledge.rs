//! What the node knows, as data small enough to be part of a state, and as the real [`History`].
//!
//! A history holds hash tables and cannot itself be part of a state; it is rebuilt from the list of
//! what was applied, once for each list, and kept. **Invariant**: every question to a history is
//! answered by `larder-core`, never by this file.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use larder_core::{
    Change, Dependency, DependencySet, Digest, Epoch, History, Position, RowChange, Value,
    flight::Arrival,
    timeline::{APP, Name},
};

use crate::config::Kind;

const SHOP: &str = "shop";
const TABLE: &str = "item";
const CAPACITY: usize = 1000;

/// The epoch of the `app` timeline: its log is not restored in these worlds.
pub(crate) const APP_EPOCH: Epoch = Epoch(1000);

pub(crate) fn shop() -> Name {
    static NAME: OnceLock<Name> = OnceLock::new();
    NAME.get_or_init(|| SHOP.into()).clone()
}

pub(crate) fn app() -> Name {
    static NAME: OnceLock<Name> = OnceLock::new();
    NAME.get_or_init(|| APP.into()).clone()
}

fn row() -> Dependency {
    Dependency::id(SHOP, TABLE, [1i64])
}

fn scope() -> Dependency {
    Dependency::scope(SHOP, TABLE, [("bucket", 1i64)])
}

/// What the one entry depends on.
pub(crate) fn dependencies() -> &'static DependencySet {
    static SET: OnceLock<DependencySet> = OnceLock::new();
    SET.get_or_init(|| [row(), scope()].into_iter().collect())
}

fn change(kind: Kind) -> Change {
    let image = |bucket: i64, id: i64| Some(vec![Value::Integer(bucket), Value::Integer(id)]);
    let (old, new) = match kind {
        Kind::Row => (image(5, 1), image(5, 1)),
        Kind::Member => (None, image(1, 9)),
        Kind::Other => (image(5, 7), image(5, 7)),
    };
    let columns = ["bucket", "id"].map(Arc::from).into();
    Change::Row(RowChange { table: TABLE.into(), columns, key: [1].into(), old, new })
}

/// What the node knows of the shop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ShopKnown {
    /// The current life of the timeline.
    pub(crate) life: u8,
    /// Where this life began.
    pub(crate) start: u8,
    /// The commits applied in this life, by number.
    pub(crate) applied: Vec<u8>,
    /// The confirmed position.
    pub(crate) confirmed: u8,
    /// From which position on the scope's changes are noticed.
    pub(crate) registered: Option<u8>,
}

impl ShopKnown {
    /// The position up to which everything was applied.
    pub(crate) fn position(&self) -> u8 {
        self.start + u8::try_from(self.applied.len()).unwrap()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.life.into())
    }
}

/// A history with what each of its batches touched.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) history: History,
    touched: Vec<Vec<Digest>>,
}

impl Memory {
    /// Whether the batch at `position` of a life that began at `start` touched the entry.
    pub(crate) fn batch_touches(&self, start: u8, position: u8) -> bool {
        let batch = self.touched.get(usize::from(position - start - 1)).unwrap();
        batch.iter().any(|digest| dependencies().digests().binary_search(digest).is_ok())
    }
}

/// All histories that were needed so far.
#[derive(Debug)]
pub(crate) struct Memories {
    kinds: Vec<Kind>,
    shop: Mutex<HashMap<ShopKnown, Arc<Memory>>>,
    app: Vec<Arc<Memory>>,
}

impl Memories {
    pub(crate) fn new(kinds: &[Kind], invalidations: u8) -> Self {
        let app = (0..=invalidations).map(|count| Arc::new(app_memory(count))).collect();
        Self { kinds: kinds.to_vec(), shop: Mutex::default(), app }
    }

    /// The history of `app` after `count` invalidations.
    pub(crate) fn app(&self, count: u8) -> Arc<Memory> {
        self.app.get(usize::from(count)).unwrap().clone()
    }

    /// The history of the shop.
    pub(crate) fn shop(&self, known: &ShopKnown) -> Arc<Memory> {
        let mut memories = self.shop.lock().unwrap();
        if let Some(memory) = memories.get(known) {
            return memory.clone();
        }
        let memory = Arc::new(self.rebuild(known));
        memories.insert(known.clone(), memory.clone());
        memory
    }

    fn rebuild(&self, known: &ShopKnown) -> Memory {
        let start = Position(known.start.into());
        let mut history = History::new(shop(), Epoch(0), Position::START, CAPACITY);
        let register = |history: &mut History| {
            if known.registered.is_some_and(|since| Position(since.into()) == history.applied()) {
                history.register(&scope());
            }
        };
        if known.life == 0 {
            register(&mut history);
        } else {
            // What was registered in an earlier life is noticed from the start of this one.
            if known.registered == Some(known.start) {
                history.register(&scope());
            }
            history.restart(known.epoch(), start);
        }
        let mut touched = Vec::new();
        for number in &known.applied {
            let kind = self.kinds.get(usize::from(*number) - 1).unwrap();
            let batch = history.apply(history.applied().next(), &[change(*kind)]);
            assert!(!batch.everything);
            touched.push(batch.digests);
            register(&mut history);
        }
        history.confirm(Position(known.confirmed.into()));
        Memory { history, touched }
    }
}

fn app_memory(count: u8) -> Memory {
    let mut history = History::new(app(), APP_EPOCH, Position::START, CAPACITY);
    let mut touched = Vec::new();
    for _ in 0..count {
        let position = history.applied().next();
        touched.push(history.apply(position, &[Change::Touch(row())]).digests);
        history.confirm(position);
    }
    Memory { history, touched }
}

/// What was known when a reader arrived, as `larder-core` wants it.
pub(crate) fn arrival(epoch: Epoch, shop_applied: u8, app_applied: u8) -> Arrival {
    let mut arrival = Arrival::default();
    let at = |name, epoch, applied: u8| History::new(name, epoch, Position(applied.into()), 0);
    arrival.note(&at(app(), APP_EPOCH, app_applied));
    arrival.note(&at(shop(), epoch, shop_applied));
    arrival
}
