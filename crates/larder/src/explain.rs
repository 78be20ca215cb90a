//! Explanations: what is known of one entry, for people.
//!
//! **Invariant**: explaining is not reading: it counts nothing and moves nothing in the eviction
//! order.

use std::{sync::Arc, time::Duration};

use larder_core::{Dependency, Moment, Name, Position, Stamps, freshness::State};

use crate::node::Node;

/// What is known of one entry.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What a read would find now.
    pub state: EntryState,
    /// How long ago it was stored.
    pub age: Option<Duration>,
    /// How long it stays fresh if nothing changes; `None` also for one that never expires.
    pub ttl_left: Option<Duration>,
    /// Bytes it counts against the limit.
    pub bytes: Option<u64>,
    /// Up to where it reflects each timeline.
    pub stamps: Stamps,
    /// What it was built from.
    pub dependencies: Vec<Dependency>,
    /// Whether it was built from more than the limit and the list is wider than what was read.
    pub widened: bool,
    /// What made an entry of this key fall last, as far as it is remembered.
    pub last_invalidation: Option<LastInvalidation>,
}

/// What a read would find.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// No entry, or one that is past everything.
    Absent,
    /// An entry that something it depends on has made invalid.
    Invalid,
    /// A fresh entry.
    Fresh,
    /// Past its TTL, still of use while it is loaded again or if that fails.
    Stale,
}

/// What made an entry fall.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct LastInvalidation {
    /// The timeline it happened on.
    pub timeline: Name,
    /// Where on it.
    pub position: Position,
    /// What it was, for people.
    pub what: Arc<str>,
    /// How long ago.
    pub ago: Duration,
}

pub(crate) fn explain(node: &Node, key: &[u8]) -> Explanation {
    let now = node.clock.now();
    let last_invalidation = node.tier.last_invalidation(key).map(|last| LastInvalidation {
        timeline: last.cause.timeline,
        position: last.cause.position,
        what: last.cause.what,
        ago: now.since(last.at),
    });
    let Some(entry) = node.tier.inspect(key) else {
        return Explanation {
            state: EntryState::Absent,
            age: None,
            ttl_left: None,
            bytes: None,
            stamps: Stamps::new(),
            dependencies: Vec::new(),
            widened: false,
            last_invalidation,
        };
    };
    let deadlines = entry.deadlines;
    let state = match deadlines.state(now) {
        State::Expired => EntryState::Absent,
        _ if !entry.valid => EntryState::Invalid,
        State::Fresh => EntryState::Fresh,
        State::Revalidate | State::OnError => EntryState::Stale,
    };
    let never = deadlines.fresh_until == Moment::NEVER;
    Explanation {
        state,
        age: Some(now.since(deadlines.stored)),
        ttl_left: (!never).then(|| deadlines.fresh_until.since(now)),
        bytes: Some(entry.weight),
        stamps: entry.stamps,
        dependencies: entry.dependencies,
        widened: entry.widened,
        last_invalidation,
    }
}
