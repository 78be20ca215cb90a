//! Lanes: what every read writes to, in parts that each thread mostly has to itself.
//!
//! A read takes some microseconds, and a line of memory that two processors write by turns costs
//! each of them a good part of one. **Invariant**: a lane is only nearer to some threads than to
//! others; whoever adds up looks at all of them.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Lanes of one thing. Threads beyond them share.
const LANES: usize = 8;

/// One thing in as many parts as there are lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes<T>([Lane<T>; LANES]);

/// On lines of memory of its own; two, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane<T>(T);

impl<T> Lanes<T> {
    /// The part of this thread.
    pub(crate) fn own(&self) -> &T {
        let [first, ..] = &self.0;
        &self.0.get(number() % LANES).unwrap_or(first).0
    }

    /// All parts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lane| &lane.0)
    }
}

/// The number of this thread, in the order in which threads first asked.
pub(crate) fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(next));
            next
        })
    })
}
