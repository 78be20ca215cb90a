//! The journal: what this node knows, on its way into the store.
//!
//! Changes are applied to the store behind, so that no feed waits for a disk; what was invalidated
//! by name is waited for, so that it outlives the process. **Invariant**: steps reach the store in
//! the order in which the histories took them up, all timelines together: whoever finds the
//! position of a commit in the store also finds what was recorded in it. What cannot be written
//! stays here, and the store stays where it stands, which is as right as before.

use std::{sync::Arc, time::Duration};

use larder_core::{
    Digest, Epoch, Error, ErrorKind, Name, Position,
    announcement::Announced,
    store::{Begins, Step, TrackedStore},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{node::SharedNode, shared};

/// Digests that wait for the store, on each timeline: 8 bytes each. Beyond them everything in the
/// store falls instead. Ten times more would make one transaction hold up other writes for seconds;
/// ten times fewer are touched by a large import.
const DIGESTS_MAX: usize = 50_000;

/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What waits to be applied to a store. One for each cache that has one.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Mutex<Option<Arc<dyn TrackedStore>>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// At most one for each timeline.
    steps: Vec<Step>,
    /// Steps that were noted so far.
    noted: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// So many of the noted steps are in the store.
    written: u64,
    /// So many could not be written, and why.
    failed: Option<(u64, Error)>,
    closed: bool,
}

/// What a change touched, for [`Journal::note`].
pub(crate) struct Noted<'a> {
    pub(crate) timeline: &'a Name,
    pub(crate) epoch: Epoch,
    pub(crate) begins: Begins,
    pub(crate) position: Position,
    pub(crate) digests: &'a [Digest],
    pub(crate) everything: bool,
    pub(crate) mark: Option<Vec<u8>>,
    pub(crate) announced: Option<Announced>,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn TrackedStore>) -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Some(store)),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            progress: watch::Sender::default(),
        })
    }

    /// The store, until the journal is closed.
    pub(crate) fn store(&self) -> Option<Arc<dyn TrackedStore>> {
        self.store.lock().clone()
    }

    /// Notes a change that was just taken up by the history of its timeline.
    ///
    /// # Callers must
    /// hold the lock of the timeline, so that the order is that of the history.
    pub(crate) fn note(&self, noted: Noted<'_>) {
        let mut waiting = self.waiting.lock();
        waiting.noted += 1;
        let step = Step {
            timeline: noted.timeline.clone(),
            epoch: noted.epoch,
            begins: noted.begins,
            position: noted.position,
            digests: noted.digests.to_vec(),
            everything: noted.everything,
            mark: noted.mark,
            announced: noted.announced,
        };
        match waiting.steps.iter_mut().find(|own| own.timeline == step.timeline) {
            Some(own) => merge(own, step),
            None => waiting.steps.push(step),
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits until everything that was noted before is in the store.
    ///
    /// # Errors
    /// What keeps it from being written; it is tried again. `Closed`.
    pub(crate) async fn written(&self) -> Result<(), Error> {
        let number = self.waiting.lock().noted;
        let mut progress = self.progress.subscribe();
        loop {
            {
                let now = progress.borrow_and_update();
                match &now.failed {
                    _ if number <= now.written => return Ok(()),
                    Some((failed, error)) if number <= *failed => return Err(error.clone()),
                    _ if now.closed => break,
                    _ => {}
                }
            }
            if progress.changed().await.is_err() {
                break;
            }
        }
        Err(Error::new(ErrorKind::Closed, "write to the store").detail("the cache is closed"))
    }

    /// Writes what is noted, until the journal is closed; tells `node` where it stands then.
    pub(crate) async fn run(self: Arc<Self>, node: SharedNode) {
        while let Some(store) = self.store() {
            let (steps, noted) = {
                let mut waiting = self.waiting.lock();
                (std::mem::take(&mut waiting.steps), waiting.noted)
            };
            if steps.is_empty() {
                drop(store);
                self.arrived.notified().await;
                continue;
            }
            // Not kept while it is waited for, so that it can be let go of meanwhile.
            let applying = store.apply(steps.clone());
            drop(store);
            match applying.await {
                Ok(place) => {
                    let announced = steps.iter().find(|step| step.announced.is_some());
                    if let (Some(place), Some(step)) = (place, announced) {
                        node.placed(place, step.position);
                    }
                    self.progress.send_modify(|progress| {
                        (progress.written, progress.failed) = (noted, None);
                    });
                }
                Err(error) => {
                    self.take_back(steps);
                    tracing::warn!(%error, "changes cannot be applied to the store; they are kept");
                    self.progress.send_modify(|progress| progress.failed = Some((noted, error)));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn take_back(&self, steps: Vec<Step>) {
        let mut waiting = self.waiting.lock();
        let later = std::mem::replace(&mut waiting.steps, steps);
        for step in later {
            match waiting.steps.iter_mut().find(|own| own.timeline == step.timeline) {
                Some(own) => merge(own, step),
                None => waiting.steps.push(step),
            }
        }
    }

    /// Lets go of the store. What is still noted is lost, and the store stays where it stands.
    pub(crate) fn close(&self) {
        let store = self.store.lock().take();
        self.progress.send_modify(|progress| progress.closed = true);
        self.arrived.notify_one();
        drop(store);
    }
}

/// Adds to a step the one that follows it.
fn merge(own: &mut Step, next: Step) {
    let Step { epoch, begins, position, digests, everything, mark, announced, .. } = next;
    own.announced = match (own.announced.take(), announced) {
        (Some(own), Some(next)) => Some(shared::together(own, next)),
        (own, next) => own.or(next),
    };
    if begins == Begins::Anew {
        (own.begins, own.everything) = (begins, false);
        own.digests.clear();
    }
    (own.epoch, own.position, own.mark) = (epoch, position, mark);
    own.everything |= everything;
    if own.begins == Begins::Anew {
        // Nothing was written in this life yet.
        return;
    }
    own.digests.extend(digests);
    if DIGESTS_MAX < own.digests.len() {
        own.digests.sort_unstable();
        own.digests.dedup();
    }
    if own.everything || DIGESTS_MAX < own.digests.len() {
        own.everything = true;
        own.digests.clear();
    }
}
