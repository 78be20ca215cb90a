//! The index: an order of the records of a table by keys that a closure computes.
//!
//! A user holds a typed [`Index`]; the table holds the trees of all of its indexes behind one
//! trait, because their keys differ in type. **Invariant**: every index holds every record of the
//! table, under each key that its closure gives for it, and nothing else.

use std::{any::Any, fmt, marker::PhantomData, sync::Arc};

use larder_core::{Error, ErrorKind};

use crate::{
    measure::Measure,
    record::Record,
    runs::{AnyRuns, Runs},
    tree::{Edit, Kind, Tree},
};

/// What a key of an index can be: anything with an order. Floats have one in [`crate::Float`].
pub trait IndexKey: Ord + Clone + fmt::Debug + Send + Sync + 'static {}

impl<K: Ord + Clone + fmt::Debug + Send + Sync + 'static> IndexKey for K {}

/// An index of a table, by which it is read. Cheap to clone.
pub struct Index<R, K> {
    pub(crate) place: usize,
    pub(crate) name: Arc<str>,
    /// Which definition it belongs to.
    pub(crate) of: u64,
    pub(crate) types: PhantomData<fn(&R) -> K>,
}

impl<R, K> Index<R, K> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<R, K> Clone for Index<R, K> {
    fn clone(&self) -> Self {
        Self { place: self.place, name: self.name.clone(), of: self.of, types: PhantomData }
    }
}

impl<R, K> fmt::Debug for Index<R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.name).finish()
    }
}

type ManyKeys<R, K> = dyn Fn(&R) -> Vec<K> + Send + Sync;

/// How the keys of a record are computed.
pub(crate) enum Keys<R, K> {
    One(Box<dyn Fn(&R) -> K + Send + Sync>),
    Unique(Box<dyn Fn(&R) -> K + Send + Sync>),
    Many(Box<ManyKeys<R, K>>),
}

impl<R, K: IndexKey> Keys<R, K> {
    /// The keys of `record`, sorted, each once.
    pub(crate) fn of(&self, record: &R, each: &mut dyn FnMut(K)) {
        match self {
            Self::One(key) | Self::Unique(key) => each(key(record)),
            Self::Many(keys) => {
                let mut keys = keys(record);
                keys.sort_unstable();
                keys.dedup();
                keys.into_iter().for_each(each);
            }
        }
    }

    pub(crate) fn are_many(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// Whether one of the keys of `record` meets the condition.
    pub(crate) fn any(&self, record: &R, is_met: impl Fn(&K) -> bool) -> bool {
        let mut any = false;
        self.of(record, &mut |key| any |= is_met(&key));
        any
    }
}

/// What stays the same of an index while its content changes.
pub(crate) struct Spec<R, K, M> {
    pub(crate) name: Arc<str>,
    pub(crate) table: Arc<str>,
    pub(crate) keys: Keys<R, K>,
    pub(crate) measure: M,
}

/// A record that was there and what is in its place.
pub(crate) struct Change<R> {
    pub(crate) old: Option<Arc<R>>,
    pub(crate) new: Option<Arc<R>>,
}

/// An index and its content at one moment.
pub(crate) struct Ordered<R, K, M: Measure<R>> {
    pub(crate) spec: Arc<Spec<R, K, M>>,
    pub(crate) tree: Tree<K, R, M>,
}

/// The same, whatever its keys are.
pub(crate) trait AnyIndex<R>: Send + Sync {
    /// The index with these changes; each concerns another primary key.
    fn changed(&self, changes: &[Change<R>]) -> Result<Arc<dyn AnyIndex<R>>, Error>;

    /// The beginning of an index of the same kind with other records.
    fn runs(&self) -> Box<dyn AnyRuns<R>>;

    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

impl<R: Record, K: IndexKey, M: Measure<R>> AnyIndex<R> for Ordered<R, K, M> {
    fn changed(&self, changes: &[Change<R>]) -> Result<Arc<dyn AnyIndex<R>>, Error> {
        let keys = &self.spec.keys;
        let mut edits: Vec<Edit<K, R>> = Vec::with_capacity(changes.len() * 2);
        for Change { old, new } in changes {
            // Of two edits of one place the later one counts: a record that stays where it was is
            // put in place of itself.
            for (record, kind) in [(old, Kind::Take), (new, Kind::Put)] {
                let Some(record) = record else { continue };
                keys.of(record, &mut |key| {
                    edits.push(Edit { key, record: record.clone(), kind });
                });
            }
        }
        edits.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| a.record.order(&b.record)));
        edits.dedup_by(|later, earlier| {
            let is_same = later.key == earlier.key && later.record.order(&earlier.record).is_eq();
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        let put: Vec<K> = match keys {
            Keys::Unique(_) => {
                let put = edits.iter().filter(|edit| edit.kind == Kind::Put);
                put.map(|edit| edit.key.clone()).collect()
            }
            Keys::One(_) | Keys::Many(_) => Vec::new(),
        };
        let tree = self.tree.edited(edits, &self.spec.measure);
        let count = |key: &K| tree.rank(|own| own <= key) - tree.rank(|own| own < key);
        if put.iter().any(|key| 1 < count(key)) {
            return Err(self.spec.repeated());
        }
        Ok(Arc::new(Self { spec: self.spec.clone(), tree }))
    }

    fn runs(&self) -> Box<dyn AnyRuns<R>> {
        Box::new(Runs { spec: self.spec.clone(), runs: Vec::new() })
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl<R, K: IndexKey, M> Spec<R, K, M> {
    #[cold]
    pub(crate) fn repeated(&self) -> Error {
        let Self { name, table, .. } = self;
        Error::new(ErrorKind::Conflict, "put records into table")
            .subject(format!("`{table}`"))
            .detail(format!(
                "two records would have the same key of the unique index `{name}`; nothing was \
                 changed; let the index not be unique, or the origin give each key once"
            ))
    }
}
