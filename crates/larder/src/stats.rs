//! Counters: one for each thing that can happen, added up when somebody asks.
//!
//! Hits come from every core at once, so a counter is a few cells that threads spread over.
//! **Invariant**: every read ends in exactly one of hit, store hit, stale hit, miss and error
//! (X19).

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Cells of a spread counter. The first threads that count have one of their own each, all others
/// share the last.
const CELLS: usize = 32;

/// A counter for what happens on every core at once.
///
/// A cell of one thread is written without a locked instruction, which would cost a hit as much as
/// its look-up: nobody else writes it, and readers may be a moment late.
#[derive(Debug, Default)]
pub(crate) struct Spread([Padded; CELLS]);

/// On a cache line of its own, or two cores would take it from each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl Spread {
    /// Adds one; how many were counted in this cell before.
    #[inline]
    pub(crate) fn add(&self) -> u64 {
        let [own @ .., shared] = &self.0;
        match own.get(cell()) {
            Some(Padded(cell)) => {
                let count = cell.load(Ordering::Relaxed);
                cell.store(count + 1, Ordering::Relaxed);
                count
            }
            None => shared.0.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }
}

/// The number of this thread, in the order in which threads first counted.
#[inline]
fn cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static CELL: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    CELL.with(|cell| {
        if cell.get() == usize::MAX {
            cell.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        cell.get()
    })
}

/// A counter for what is rare beside hits.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Adds one; whether it is the first.
    pub(crate) fn add_first(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// The counters of one cache or one region.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: $kind,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }

        /// What happened since the start. Counts only grow.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl std::ops::AddAssign for Stats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Reads answered with a fresh value from memory.
    hits: Spread,
    /// Reads answered with a fresh value from the store.
    store_hits: Counter,
    /// Times that the store did not answer or could not keep a value.
    store_errors: Counter,
    /// Records in the store that could not be read: another type wrote them, or they are damaged.
    store_undecodable: Counter,
    /// Records that were found in the store, or were to be written into it, and are not right any
    /// more: something they depend on changed.
    store_overtaken: Counter,
    /// Flights that waited for another process to load the same.
    claims_awaited: Counter,
    /// Loads whose result was not stored, because another process began to load the same later.
    outrun: Counter,
    /// Reads answered with a value that was not fresh, and said so.
    stale_hits: Counter,
    /// Reads answered with a value loaded for them or for somebody beside them.
    misses: Counter,
    /// Reads answered with an error.
    errors: Counter,
    /// Loads begun.
    loads: Counter,
    /// Loads that ended in an error, a panic or past their deadline.
    load_errors: Counter,
    /// Microseconds spent in loads.
    load_micros: Counter,
    /// Misses that took the result of a load somebody else had begun.
    joined: Counter,
    /// Misses that found a running load too old for them and took the next one.
    second_flights: Counter,
    /// Loads whose result was not stored, because something it depends on changed meanwhile.
    overtaken: Counter,
    /// Loads whose result was not stored, because its position is no longer remembered.
    forgotten: Counter,
    /// Loads whose result was not stored, because it is larger than an entry may be.
    too_large: Counter,
    /// Loads that depended on more than the limit, so that their entries fall with whole tables.
    widened: Counter,
    /// Misses answered with a value that was built from another entry past its TTL.
    built_on_stale: Counter,
    /// Loads that read another entry, and had to wait for themselves: an error of the loaders.
    cycles: Counter,
    /// Loads refused because too many ran or waited.
    overloaded: Counter,
    /// Values loaded again behind a stale answer.
    revalidations: Counter,
    /// Explicit invalidations.
    invalidations: Counter,
    /// Changes delivered by feeds.
    changes: Counter,
    /// New epochs of timelines: each makes everything on it a miss.
    restarts: Counter,
    /// Hits that were loaded again to compare.
    sampled: Counter,
    /// Sampled hits that differed from the origin although nothing was known to have changed.
    violations: Counter,
}
