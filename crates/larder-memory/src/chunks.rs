//! A table that grows without moving: chunks that double in size, each made at most once.
//!
//! It stands apart from a `Vec` because readers index it without a lock while it grows.
//! **Invariant**: the address of an item never changes, and an item once made is never dropped
//! before the table is.

use std::sync::OnceLock;

use crate::sync::sized;

/// Items in the first chunk; chunk `k` has `FIRST << k`. A tenth would lengthen the chain of
/// chunks, ten times more would cost every small cache a page for nothing.
const FIRST: u64 = sized(1024, 2) as u64;
/// Chunks needed for every `u32` index.
const CHUNKS: usize = (u32::BITS - FIRST.ilog2() + 1) as usize;

/// A growable table of `T`, indexed by `u32`.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }
}

impl<T: Default> Chunks<T> {
    /// The item at `index`, if its chunk was made.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = place(index);
        self.chunks.get(chunk)?.get()?.get(place)
    }

    /// The item at `index`, making its chunk if need be.
    pub(crate) fn grow(&self, index: u32) -> &T {
        let (chunk, place) = place(index);
        self.chunks
            .get(chunk)
            .map(|cell| cell.get_or_init(|| (0..FIRST << chunk).map(|_| T::default()).collect()))
            .and_then(|items| items.get(place))
            .expect("the chunks cover every index")
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both are below 2^32")]
fn place(index: u32) -> (usize, usize) {
    let at = u64::from(index) + FIRST;
    let chunk = at.ilog2() - FIRST.ilog2();
    (chunk as usize, (at - (FIRST << chunk)) as usize)
}

#[cfg(test)]
mod tests;
