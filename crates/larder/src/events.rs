//! Events: what was invalidated, told to whoever subscribed.
//!
//! It stands apart from `stats.rs`, which counts, and `explain.rs`, which answers about one entry:
//! this tells of every step as it is taken. **Invariant**: whoever invalidates never waits for a
//! subscriber; each subscriber hears the steps of one timeline in the order of their positions, or
//! how many it missed, at the place where they are missing.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use larder_core::{Dependency, Mode, Moment, Name, Position, feed::Doubt};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Notices kept for a subscriber that does not ask. At ten times fewer a pause of the subscriber's
/// task would cost it notices, at ten times more every idle one could hold a megabyte.
const KEPT: usize = 1024;

/// Names of dependencies kept for a subscriber that does not ask, in all of its notices: at 150 to
/// 250 bytes each, a few megabytes. At ten times fewer one step of a thousand names would be missed
/// behind another one; at ten times more a pause of the subscriber could cost what a small cache
/// has. One step with more of them is kept where nothing else is.
const NAMES_KEPT: usize = 1 << 14;

/// One step on a timeline, and what it did to the entries of this node.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The timeline: `app` for what was invalidated by name, else the origin's.
    pub timeline: Name,
    /// Where on it.
    pub position: Position,
    /// What was invalidated.
    pub what: What,
    /// Whether the entries fell, or may be served as stale.
    pub mode: Mode,
    /// How many entries of this node it reached.
    pub entries: u64,
    /// When, on the clock of the cache.
    pub at: Moment,
}

/// What was invalidated.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// These dependencies, by name.
    Named(Arc<[Dependency]>),
    /// What an origin's feed delivered.
    Reported {
        /// How many changes it was.
        changes: usize,
        /// The first of them in words, without values of rows.
        words: Arc<str>,
    },
    /// Everything on the timeline, because its continuity is in doubt.
    Restarted(Doubt),
}

/// What a subscriber is told.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Something was invalidated.
    Invalidated(Event),
    /// The subscriber was so slow that this many events were left out here.
    Missed(u64),
}

/// A stream of notices. Made by [`crate::Cache::subscribe`]; dropping it ends the subscription.
pub struct Subscription(Arc<Inbox>);

/// Everybody who subscribed.
#[derive(Default)]
pub(crate) struct Events {
    inboxes: Mutex<Vec<Weak<Inbox>>>,
    /// Nothing more comes. Written under the lock of the inboxes.
    ended: AtomicBool,
    /// How many there were when somebody last looked, so that nobody pays for telling nobody.
    count: AtomicUsize,
}

#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    notices: VecDeque<Notice>,
    /// Names in them.
    names: usize,
    ended: bool,
}

impl Subscription {
    /// The next notice, in order; `None` when the cache was closed or dropped, and everything
    /// before was told.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing. The waker is called on the thread of whoever invalidates,
    /// be it a feed under its own lock: one made by hand must return at once.
    ///
    /// # Cost
    /// Nothing to whoever invalidates but a short lock: notices wait here, up to 1,024 of them,
    /// with up to 16,384 names of dependencies; what does not fit is counted.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            let filled = self.0.filled.notified();
            {
                let mut queue = self.0.queue.lock();
                if let Some(notice) = queue.take() {
                    return Some(notice);
                }
                if queue.ended {
                    return None;
                }
            }
            filled.await;
        }
    }
}

impl Events {
    pub(crate) fn subscribe(&self) -> Subscription {
        let inbox = Arc::new(Inbox::default());
        let mut inboxes = self.inboxes.lock();
        inboxes.retain(|inbox| inbox.strong_count() != 0);
        inbox.queue.lock().ended = self.ended.load(Ordering::Relaxed);
        inboxes.push(Arc::downgrade(&inbox));
        self.count.store(inboxes.len(), Ordering::Release);
        Subscription(inbox)
    }

    /// Puts the event that `describe` makes into every inbox. Wakes nobody: a waker is foreign
    /// code, and the caller holds the lock of a timeline, so that the order is that of positions.
    pub(crate) fn tell(&self, describe: impl FnOnce() -> Event) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let event = describe();
        let mut inboxes = self.inboxes.lock();
        inboxes.retain(|inbox| {
            let inbox = inbox.upgrade();
            inbox.is_some_and(|inbox| {
                inbox.queue.lock().put(event.clone());
                true
            })
        });
        self.count.store(inboxes.len(), Ordering::Release);
    }

    /// Wakes who waits. Called without a lock of this cache; but a feed that delivers may hold one
    /// of its own, and the SQLite watcher does. So a waker that panics is not let through: it would
    /// take down an invalidation that is done, or the feed. It must not call the feed either.
    pub(crate) fn wake(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let inboxes: Vec<_> = self.inboxes.lock().iter().filter_map(Weak::upgrade).collect();
        for inbox in inboxes {
            let _ = catch_unwind(AssertUnwindSafe(|| inbox.filled.notify_one()));
        }
    }

    /// Tells everybody that nothing more comes, also those who subscribe later.
    pub(crate) fn end(&self) {
        let inboxes = self.inboxes.lock();
        self.ended.store(true, Ordering::Relaxed);
        for inbox in inboxes.iter().filter_map(Weak::upgrade) {
            inbox.queue.lock().ended = true;
        }
        drop(inboxes);
        self.wake();
    }
}

impl Queue {
    fn take(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        if let Notice::Invalidated(event) = &notice {
            self.names -= names_in(event);
        }
        Some(notice)
    }

    fn put(&mut self, event: Event) {
        let names = self.names.saturating_add(names_in(&event));
        if self.notices.is_empty() || self.notices.len() < KEPT && names <= NAMES_KEPT {
            self.names = names;
            return self.notices.push_back(Notice::Invalidated(event));
        }
        match self.notices.back_mut() {
            Some(Notice::Missed(count)) => *count += 1,
            _ => self.notices.push_back(Notice::Missed(1)),
        }
    }
}

fn names_in(event: &Event) -> usize {
    match &event.what {
        What::Named(dependencies) => dependencies.len(),
        What::Reported { .. } | What::Restarted(_) => 0,
    }
}

/// In words, as `explain` says it: `shop/Id(Artist, 90)`.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(dependencies) => {
                for (place, dependency) in dependencies.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{dependency}")?;
                }
                Ok(())
            }
            Self::Reported { words, .. } => f.write_str(words),
            Self::Restarted(doubt) => doubt.fmt(f),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.queue.lock().notices.len();
        f.debug_struct("Subscription").field("waiting", &waiting).finish()
    }
}
