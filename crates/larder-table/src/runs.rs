//! Runs: the orders of a load, made piece by piece while it still reads.
//!
//! A load gives its records in whatever order the origin has them. Every so many of them are put
//! into the order of each index on another thread, while the origin goes on; what is left when it
//! has ended is to merge those runs. Apart from the content, which is what comes of it, and from
//! the origin, which knows records only. **Invariant**: what is ordered is in no table, and no
//! closure of the user's runs under a lock of this.
//!
//! # Implementation notes
//!
//! *One worker.* There is one thread for the runs of a load, and only while a piece waits for it:
//! a load behind a slow origin holds none. If it is slower than the origin, pieces wait, which are
//! pointers to records that the load has anyway; at the end each index orders those by itself.
//!
//! *Dropped half-way* (TD3), a load takes the pieces that wait with it. The worker ends after the
//! piece that it has in hand, and drops what it made.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    mem,
    sync::Arc,
    vec,
};

use larder_core::Error;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    content::{Content, Limits, MANY, PRIMARY, each},
    index::{AnyIndex, IndexKey, Keys, Ordered, Spec},
    measure::{Measure, Nothing},
    origin::Fill,
    record::Record,
    sync::Mutex,
    table::not_made,
    tree::Tree,
};

/// Records of a run.
pub(crate) const RUN: usize = if cfg!(test) { 8 } else { 1 << 15 };

/// The runs of one index, whatever its keys are.
pub(crate) trait AnyRuns<R>: Send {
    /// One more, of these records.
    fn add(&mut self, records: &[Arc<R>]);

    /// All of them as one index.
    ///
    /// # Errors
    /// `Conflict` where a unique index would hold a key twice.
    fn merged(self: Box<Self>) -> Result<Arc<dyn AnyIndex<R>>, Error>;
}

type Run<K, R> = Vec<(K, Arc<R>)>;

/// The runs of an index over `K`.
pub(crate) struct Runs<R, K, M> {
    pub(crate) spec: Arc<Spec<R, K, M>>,
    pub(crate) runs: Vec<Run<K, R>>,
}

impl<R: Record, K: IndexKey, M: Measure<R>> AnyRuns<R> for Runs<R, K, M> {
    fn add(&mut self, records: &[Arc<R>]) {
        let mut run = Vec::with_capacity(records.len());
        for record in records {
            self.spec.keys.of(record, &mut |key| run.push((key, record.clone())));
        }
        run.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.order(&b.1)));
        self.runs.push(run);
    }

    fn merged(self: Box<Self>) -> Result<Arc<dyn AnyIndex<R>>, Error> {
        let Self { spec, runs } = *self;
        let tree = Tree::build(Merge::of(runs), &spec.measure);
        match &spec.keys {
            Keys::Unique(_) if tree.has_key_twice() => Err(spec.repeated()),
            _ => Ok(Arc::new(Ordered { spec, tree })),
        }
    }
}

/// The entries of some runs in their order.
struct Merge<K, R> {
    heads: BinaryHeap<Head<K, R>>,
    left: usize,
}

/// What is left of a run.
struct Head<K, R> {
    key: K,
    record: Arc<R>,
    rest: vec::IntoIter<(K, Arc<R>)>,
}

impl<K: Ord, R: Record> Merge<K, R> {
    fn of(runs: Vec<Run<K, R>>) -> Self {
        let left = runs.iter().map(Vec::len).sum();
        let head = |run: Run<K, R>| {
            let mut rest = run.into_iter();
            rest.next().map(|(key, record)| Head { key, record, rest })
        };
        Self { heads: runs.into_iter().filter_map(head).collect(), left }
    }
}

impl<K: Ord, R: Record> Iterator for Merge<K, R> {
    type Item = (K, Arc<R>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut first = self.heads.peek_mut()?;
        self.left -= 1;
        match first.rest.next() {
            Some((key, record)) => {
                Some((mem::replace(&mut first.key, key), mem::replace(&mut first.record, record)))
            }
            None => {
                let Head { key, record, .. } = PeekMut::pop(first);
                Some((key, record))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K: Ord, R: Record> ExactSizeIterator for Merge<K, R> {}

/// The greatest head is that of the smallest entry: that is what a heap gives first.
impl<K: Ord, R: Record> Ord for Head<K, R> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then_with(|| other.record.order(&self.record))
    }
}

impl<K: Ord, R: Record> PartialOrd for Head<K, R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, R: Record> PartialEq for Head<K, R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, R: Record> Eq for Head<K, R> {}

/// Says of a record whether it is of those that were asked for.
pub(crate) type IsAsked<R> = Box<dyn Fn(&R) -> bool + Send + Sync>;

/// What was ordered of a load so far.
struct Parts<R> {
    orders: Vec<Box<dyn AnyRuns<R>>>,
    count: usize,
    bytes: u64,
    /// Given, and not asked for.
    left_out: Vec<Arc<R>>,
}

/// Orders the records of one load.
pub(crate) struct Sorter<R: Record> {
    limits: Arc<Limits<R>>,
    is_asked: IsAsked<R>,
    /// Without a runtime everything is done at the end.
    runtime: Option<Handle>,
    state: Mutex<Sorting<R>>,
}

struct Sorting<R> {
    waiting: Vec<Vec<Arc<R>>>,
    /// The worker has it while it works.
    parts: Option<Parts<R>>,
    /// Whether there is a worker; for ever, if it panicked.
    is_working: bool,
    worker: Option<JoinHandle<()>>,
    is_over: bool,
}

impl<R: Record> Sorter<R> {
    /// Takes a piece of what was loaded.
    pub(crate) fn take(self: &Arc<Self>, piece: Vec<Arc<R>>) {
        let mut state = self.state.lock();
        if state.is_over {
            return;
        }
        state.waiting.push(piece);
        if let Some(runtime) = self.runtime.as_ref().filter(|_| !state.is_working) {
            let own = self.clone();
            state.is_working = true;
            state.worker = Some(runtime.spawn_blocking(move || own.work()));
        }
    }

    /// Orders what waits, and ends when nothing does.
    fn work(&self) {
        let Some(mut parts) = self.state.lock().parts.take() else { return };
        loop {
            let mut state = self.state.lock();
            if state.is_over {
                return;
            }
            let Some(piece) = state.waiting.pop() else {
                (state.parts, state.is_working) = (Some(parts), false);
                return;
            };
            drop(state);
            let piece = self.counted(&mut parts, piece);
            parts.orders.iter_mut().for_each(|order| order.add(&piece));
        }
    }

    /// What of a piece is asked for, and counts.
    fn counted(&self, parts: &mut Parts<R>, mut piece: Vec<Arc<R>>) -> Vec<Arc<R>> {
        parts.left_out.extend(piece.extract_if(.., |record| !(self.is_asked)(record)));
        parts.count += piece.len();
        parts.bytes += piece.iter().map(|record| self.limits.of(record)).sum::<u64>();
        piece
    }

    /// Nobody waits for the load any more.
    fn give_up(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let (waiting, parts) = (mem::take(&mut state.waiting), state.parts.take());
        // What is in them is the user's, and so is what its end does.
        drop(state);
        drop((waiting, parts));
    }

    /// What the worker has not come to, and what it made.
    async fn ended(&self) -> Result<(Vec<Vec<Arc<R>>>, Parts<R>), Error> {
        let mut left = Vec::new();
        loop {
            let worker = {
                let mut state = self.state.lock();
                left.append(&mut state.waiting);
                if !state.is_working {
                    state.is_over = true;
                    let parts = state.parts.take().expect("no worker has it");
                    return Ok((left, parts));
                }
                state.worker.take()
            };
            let worker = worker.expect("the worker is waited for once");
            worker.await.map_err(|error| not_made(&self.limits.table, error))?;
        }
    }

    /// Orders what is left as well, and makes one of it all.
    fn merged(&self, left: Vec<Vec<Arc<R>>>, mut parts: Parts<R>) -> Result<Content<R>, Error> {
        let left: Vec<_> = left.into_iter().map(|piece| self.counted(&mut parts, piece)).collect();
        let Parts { orders, count, bytes, left_out } = parts;
        self.limits.check(bytes)?;
        let merged = |mut order: Box<dyn AnyRuns<R>>| {
            left.iter().for_each(|piece| order.add(piece));
            order.merged()
        };
        let indexes = each(orders, count, merged);
        let first = indexes.get(PRIMARY).and_then(|first| first.as_ref().ok());
        let primary = first.and_then(|first| first.as_any().downcast_ref());
        let primary: &Ordered<R, R::Key, Nothing> = primary.expect("the index by primary key");
        if primary.tree.has_key_twice() || has_twice(&primary.tree, left_out) {
            return Err(self.limits.repeated());
        }
        Ok(Content::new(indexes.into_iter().collect::<Result<_, _>>()?, bytes))
    }
}

/// Whether one of the primary keys of `left_out` came twice.
fn has_twice<R: Record>(tree: &Tree<R::Key, R, Nothing>, mut left_out: Vec<Arc<R>>) -> bool {
    left_out.sort_unstable_by(|a, b| a.order(b));
    let is_same = |two: &[Arc<R>]| matches!(two, [one, other] if one.order(other).is_eq());
    left_out.windows(2).any(is_same) || left_out.iter().any(|one| tree.find(&one.key()).is_some())
}

/// A load whose records are ordered while they come. Dropping it gives it up.
pub(crate) struct Gathering<R: Record> {
    fill: Fill<R>,
    sorter: Arc<Sorter<R>>,
}

impl<R: Record> Gathering<R> {
    /// Of records of which `is_asked` says that they are wanted, in the orders of `content`.
    pub(crate) fn begin(
        limits: &Arc<Limits<R>>,
        content: &Content<R>,
        is_asked: IsAsked<R>,
    ) -> Self {
        let (orders, left_out) = (content.runs(), Vec::new());
        let parts = Some(Parts { orders, count: 0, bytes: 0, left_out });
        let (waiting, worker) = (Vec::new(), None);
        let state = Sorting { waiting, parts, is_working: false, worker, is_over: false };
        let (limits, runtime) = (limits.clone(), Handle::try_current().ok());
        let sorter = Sorter { limits: limits.clone(), is_asked, runtime, state: Mutex::new(state) };
        let sorter = Arc::new(sorter);
        Self { fill: Fill::sorted_by(limits, sorter.clone()), sorter }
    }

    /// Where the records are put.
    pub(crate) fn fill(&self) -> &Fill<R> {
        &self.fill
    }

    /// All that was put, in each order.
    ///
    /// # Errors
    /// `Conflict` when a primary key came twice, or a key of a unique index; `Limit`; `Closed` when
    /// the runtime is shut down.
    ///
    /// # Panics
    /// Where a closure did that computes keys.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it has ordered for nothing.
    pub(crate) async fn end(self) -> Result<Content<R>, Error> {
        let rest = self.fill.take();
        let (mut left, parts) = self.sorter.ended().await?;
        left.push(rest);
        let count = parts.count + left.iter().map(Vec::len).sum::<usize>();
        if count < MANY {
            return self.sorter.merged(left, parts);
        }
        let sorter = self.sorter.clone();
        let made = tokio::task::spawn_blocking(move || sorter.merged(left, parts)).await;
        made.map_err(|error| not_made(&self.sorter.limits.table, error))?
    }
}

/// The origin may have a clone of the fill for as long as it likes.
impl<R: Record> Drop for Gathering<R> {
    fn drop(&mut self) {
        self.sorter.give_up();
        drop(self.fill.take());
    }
}

#[cfg(test)]
mod tests;
