//! The definition: what a table is called, by what its records are ordered, and where they come
//! from.
//!
//! It is put together before there is a table, because the indexes of a table do not change while
//! it lives. **Invariant**: the index by primary key is the first.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_core::{Error, ErrorKind};

use crate::{
    adjust::{Adjusted, Observer},
    content::{Content, Limits, PRIMARY},
    group::Group,
    index::{AnyIndex, Index, IndexKey, Keys, Ordered, Spec},
    lane::{AnyLane, Lane},
    measure::{Measure, Nothing, Number, Summed},
    origin::Fill,
    ranges::Ranges,
    record::Record,
    slack::{Slack, Widened},
    table::{Defined, Table},
    tree::Tree,
};

/// A table in the making.
pub struct Definition<R: Record> {
    name: Arc<str>,
    number: u64,
    lanes: Vec<Box<dyn AnyLane<R>>>,
    orders: Vec<Arc<dyn AnyIndex<R>>>,
    weigh: Arc<dyn Fn(&R) -> usize + Send + Sync>,
    bytes_max: u64,
    wait: Duration,
    load_timeout: Duration,
    observers: Vec<Observer<R>>,
    /// And the place of the index that it is of.
    slack: Option<(usize, Widened)>,
}

/// What a table holds at most, unless its definition says otherwise: 1 GiB.
const BYTES_MAX: u64 = 1 << 30;

/// How long reads wait for the load of a table, unless its definition says otherwise.
const WAIT: Duration = Duration::from_secs(30);

/// How long one load may take, unless the definition of a table says otherwise: what a big join
/// needs, and no longer than what a feed tells meanwhile can be kept. Ten times more would keep
/// those rows for an hour behind an origin that hangs; a tenth would end loads that are only large.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Numbers of definitions, so that an index of one table is not taken for one of another.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl<R: Record> Definition<R> {
    /// A table without records, ordered by primary key.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let mut definition = Self {
            name: name.into(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            lanes: Vec::new(),
            orders: Vec::new(),
            weigh: Arc::new(|_| size_of::<R>()),
            bytes_max: BYTES_MAX,
            wait: WAIT,
            load_timeout: LOAD_TIMEOUT,
            observers: Vec::new(),
            slack: None,
        };
        definition.add("primary", Keys::One(Box::new(R::key)), Nothing);
        definition
    }

    fn add<K: IndexKey, M: Measure<R>>(
        &mut self,
        name: &str,
        keys: Keys<R, K>,
        measure: M,
    ) -> Index<R, K> {
        let (name, table) = (Arc::<str>::from(name), self.name.clone());
        let spec = Arc::new(Spec { name: name.clone(), table, keys, measure });
        let place = self.lanes.len();
        self.lanes.push(Box::new(Lane { spec: spec.clone(), place, loader: None }));
        self.orders.push(Arc::new(Ordered { spec, tree: Tree::default() }));
        Index { place, name, of: self.number, types: PhantomData }
    }

    /// The index by primary key.
    pub fn primary(&self) -> Index<R, R::Key> {
        Index { place: PRIMARY, name: "primary".into(), of: self.number, types: PhantomData }
    }

    /// Orders the records by a key of each: a column, a tuple of several, or anything that can be
    /// computed from the record alone.
    ///
    /// The closure runs while the table is changed, under a lock of it: it must not call the table.
    pub fn index<K: IndexKey>(
        &mut self,
        name: &str,
        key: impl Fn(&R) -> K + Send + Sync + 'static,
    ) -> Index<R, K> {
        self.add(name, Keys::One(Box::new(key)), Nothing)
    }

    /// The same; no two records may have the same key.
    pub fn unique<K: IndexKey>(
        &mut self,
        name: &str,
        key: impl Fn(&R) -> K + Send + Sync + 'static,
    ) -> Index<R, K> {
        self.add(name, Keys::Unique(Box::new(key)), Nothing)
    }

    /// The same with any number of keys for each record, which is found under each of them, and
    /// once where several of them are read.
    pub fn multi<K: IndexKey>(
        &mut self,
        name: &str,
        keys: impl Fn(&R) -> Vec<K> + Send + Sync + 'static,
    ) -> Index<R, K> {
        self.add(name, Keys::Many(Box::new(keys)), Nothing)
    }

    /// Groups the records, and keeps of each group how many there are and the sum, the smallest and
    /// the largest of a number of each.
    pub fn group<G: IndexKey, N: Number + IndexKey>(
        &mut self,
        name: &str,
        group: impl Fn(&R) -> G + Send + Sync + 'static,
        number: impl Fn(&R) -> N + Send + Sync + 'static,
    ) -> Group<R, G, N> {
        let number: Arc<dyn Fn(&R) -> N + Send + Sync> = Arc::new(number);
        let own = number.clone();
        let keys = Keys::One(Box::new(move |record: &R| (group(record), own(record))));
        Group { index: self.add(name, keys, Summed(number)) }
    }

    /// Says how the records whose key of `index` lies in some ranges are loaded. The loader gives
    /// every such record to the [`Fill`], all as they were at one moment after the loader was
    /// called; what else it gives is left out.
    ///
    /// # Panics
    /// If `index` is of another definition.
    pub fn loads_by<K: IndexKey, F>(
        &mut self,
        index: &Index<R, K>,
        loader: impl Fn(Ranges<K>, Fill<R>) -> F + Send + Sync + 'static,
    ) -> &mut Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        assert_eq!(index.of, self.number, "the index is of this definition");
        let lane = self.lanes.get_mut(index.place).map(|lane| lane.as_any_mut());
        let lane = lane.and_then(|lane| lane.downcast_mut::<Lane<R, K, Nothing>>());
        let lane = lane.expect("an index of this definition has a lane");
        lane.loader = Some(Arc::new(move |ranges, fill| Box::pin(loader(ranges, fill))));
        self
    }

    /// What the records may count at most, and how many bytes each one counts; without this 1 GiB,
    /// at the size of the type.
    pub fn limit(
        &mut self,
        bytes_max: u64,
        weigh: impl Fn(&R) -> usize + Send + Sync + 'static,
    ) -> &mut Self {
        (self.bytes_max, self.weigh) = (bytes_max, Arc::new(weigh));
        self
    }

    /// How many bytes a record counts; without this the size of the type.
    pub fn weigh(&mut self, weigh: impl Fn(&R) -> usize + Send + Sync + 'static) -> &mut Self {
        self.weigh = Arc::new(weigh);
        self
    }

    /// How long a read waits until the table is loaded; without this 30 seconds.
    pub fn wait_for_load(&mut self, at_most: Duration) -> &mut Self {
        self.wait = at_most;
        self
    }

    /// How long one load of records may take, whatever it is for; without this 5 minutes. Then it
    /// is given up with a `Timeout`, and the table is as it was: what a feed tells while a load is
    /// under way is kept until it ends, so a load that never ended would let that grow for ever.
    pub fn load_timeout(&mut self, at_most: Duration) -> &mut Self {
        self.load_timeout = at_most;
        self
    }

    /// Tells `observer` of each change of the window, the first load included, in their order:
    /// which records were loaded, which expired. It is called by whoever moved the window, right
    /// after readers see it, and the next change of the window waits for it. What comes and goes
    /// without a change of the window, because it was invalidated or a feed told of it, is not
    /// told.
    ///
    /// One that panics does so in the call that moved the window, when everything is done and the
    /// others were told.
    pub fn observe(
        &mut self,
        observer: impl Fn(&Adjusted<R>) + Send + Sync + 'static,
    ) -> &mut Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// How far a read may reach beyond the window, which is on `index`, and still count as covered:
    /// what lies there is answered as if there were nothing. Without this no read does.
    ///
    /// [`crate::Selection::is_within_slack`] says of an answer that it reached there. Reads whose
    /// answer cannot say it, [`Table::get`], [`Table::first`] and those of loaders that ask the
    /// table, do not use it, nor do those that say [`crate::Select::exact`].
    ///
    /// # Panics
    /// If `index` is of another definition.
    pub fn slack<K: IndexKey>(&mut self, index: &Index<R, K>, slack: Slack<K>) -> &mut Self {
        assert_eq!(index.of, self.number, "the index is of this definition");
        self.slack = Some((index.place, slack.erased()));
        self
    }

    /// The table, empty and not yet loaded. Its window is a set of ranges of `window`.
    ///
    /// # Errors
    /// `Config` when nothing was said of how records are loaded by `window`, it is an index of
    /// another definition, or the slack is of another index.
    pub fn build<K: IndexKey>(self, window: &Index<R, K>) -> Result<Table<R, K>, Error> {
        let refused = |detail: String| {
            Error::new(ErrorKind::Config, "define table")
                .subject(format!("`{}`", self.name))
                .detail(detail)
        };
        let lane = self.lanes.get(window.place).filter(|_| window.of == self.number);
        let Some(lane) = lane else {
            return Err(refused(format!("the index `{}` is of another table", window.name)));
        };
        if !lane.can_load() {
            return Err(refused(format!(
                "its window is on the index `{}`, by which it cannot load; say how with `loads_by`",
                window.name
            )));
        }
        if self.slack.as_ref().is_some_and(|(place, _)| *place != window.place) {
            return Err(refused(format!(
                "its slack is on another index than its window, which is on `{}`; give it slack \
                 on that one",
                window.name
            )));
        }
        let limits =
            Limits { weigh: self.weigh, bytes_max: self.bytes_max, table: self.name.clone() };
        let content = Content::empty(self.orders);
        let lanes = self.lanes.into_iter().map(Arc::from).collect();
        let (wait, load_timeout) = (self.wait, self.load_timeout);
        let (window, observers) = (window.clone(), self.observers);
        let slack = self.slack.map(|(_, widened)| widened);
        let defined = Defined { window, lanes, limits, wait, load_timeout, observers, slack };
        Ok(Table::new(defined, content))
    }
}

impl<R: Record> fmt::Debug for Definition<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indexes = self.lanes.iter().map(|lane| lane.name()).collect::<Vec<_>>();
        f.debug_struct("Definition").field("name", &self.name).field("indexes", &indexes).finish()
    }
}
