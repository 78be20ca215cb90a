//! What an entry weighs: key, value, bookkeeping and links, in bytes of memory.
//!
//! The constants were found by filling processes and reading their resident memory; the test
//! `resident_memory_stays_near_the_limit` holds them to it. **Invariant**: no weight is zero, and
//! what an entry shares with others is counted once at most.

use std::{ops::Bound, sync::Arc};

use larder_core::{
    Dependency, DependencySet, Span, Value, Watch,
    dependency::{Atom, Hold},
    weigh::{Weigh, allocation},
};

use crate::{
    engine::{EngineKey, Weight},
    entry::NewEntry,
    ledger::Record,
};

/// A slot in the engine's slab (112) and its token in the engine's table (5, at half to seven
/// eighths full), an entry's mark (4, in chunks that double) and its place in the ledger (16).
const FIXED: usize = 112 + 8 + 6 + 20;
/// The counts before the value in its `Arc`.
const ARC_COUNTS: usize = 16;
/// A place in the links: digest, one dependent or two, and the table's byte (25), in a table half
/// to seven eighths full. It is shared by all dependents of a digest; most have one.
const NODE: usize = 40;

/// What keeps a range noticed: the range in the index, its place in two tables, and the handle.
const HELD: usize = 320;

/// The weight of an entry; `None` when it is beyond any limit.
pub(crate) fn of(entry: &NewEntry, key: &EngineKey) -> Option<Weight> {
    let key = match key.heap_bytes() {
        0 => 0,
        bytes => allocation(bytes + ARC_COUNTS),
    };
    let stamps = entry.stamps.iter().len();
    let stamps = allocation(stamps * size_of::<larder_core::Stamp>());
    let bytes = FIXED
        + key
        + allocation(entry.value_bytes.saturating_add(ARC_COUNTS))
        + allocation(size_of::<Record>())
        + stamps
        + dependencies(&entry.dependencies);
    Weight::of(bytes as u64)
}

fn dependencies(set: &DependencySet) -> usize {
    if set.digests().is_empty() {
        return 0;
    }
    // Lists that grew by doubling.
    let room = |count: usize| count.next_power_of_two().max(4);
    allocation(size_of::<DependencySet>())
        + allocation(DependencySet::SHARED_BYTES)
        + allocation(room(set.len()) * size_of::<Dependency>())
        + allocation(room(set.digests().len()) * size_of::<u64>())
        + set.digests().len() * NODE
        + set.iter().map(dependency).sum::<usize>()
        + allocation(
            room(set.holds().len()) * size_of::<Hold>() * usize::from(!set.holds().is_empty()),
        )
        + set.holds().len() * HELD
}

fn dependency(dependency: &Dependency) -> usize {
    let owned = match dependency.atom() {
        Atom::Id { table, key } => {
            name(table)
                + allocation(key.capacity() * size_of::<Value>())
                + key.iter().map(Weigh::heap_bytes).sum::<usize>()
        }
        Atom::Scope { table, terms, span, watch } => {
            let term = |(column, value): &(Arc<str>, Value)| name(column) + value.heap_bytes();
            name(table)
                + allocation(terms.capacity() * size_of::<(Arc<str>, Value)>())
                + terms.iter().map(term).sum::<usize>()
                + span.as_ref().map_or(0, |(column, span)| name(column) + bounds(span))
                + match watch {
                    Watch::Row => 0,
                    Watch::Columns(columns) => columns.iter().map(name).sum(),
                }
        }
        Atom::Table(table) => name(table),
        Atom::Tag { space, name: own } => name(space) + name(own),
        Atom::Everything => 0,
    };
    owned + name(dependency.timeline())
}

fn bounds(span: &Span) -> usize {
    let bytes = |bound: &Bound<Value>| match bound {
        Bound::Unbounded => 0,
        Bound::Included(value) | Bound::Excluded(value) => value.heap_bytes(),
    };
    bytes(&span.low) + bytes(&span.high)
}

/// A name that somebody else holds too is not the entry's own.
fn name(name: &Arc<str>) -> usize {
    if Arc::strong_count(name) == 1 { allocation(name.len() + ARC_COUNTS) } else { 0 }
}
