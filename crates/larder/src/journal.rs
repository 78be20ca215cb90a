//! The journal: what this node knows, on its way into the store.
//!
//! Changes are applied to the store behind, so that no feed waits for a disk; what was invalidated
//! by name is waited for, so that it outlives the process. **Invariant**: steps reach the store in
//! the order in which the histories took them up, all timelines together: whoever finds the
//! position of a commit in the store also finds what was recorded in it. What cannot be written
//! stays here, and the store stays where it stands, which is as right as before. Only what is
//! invalidated by name overtakes: it does not wait until it is settled who is right about an
//! origin. So it is in the store earlier than it has to be, never later.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use larder_core::{
    Digest, Error, ErrorKind,
    feed::Feed,
    store::{Applied, Begins, Knows, Standing, Step, TrackedStore},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    l2,
    node::{Node, SharedNode},
    origins::Dispute,
    shared,
};

/// Digests that wait for the store, on each timeline: 8 bytes each. Beyond them everything in the
/// store falls instead. Ten times more would make one transaction hold up other writes for seconds;
/// ten times fewer are touched by a large import.
const DIGESTS_MAX: usize = 50_000;

/// How often in a row a refused step is tried again at once: the store moves on while the feed is
/// asked. After that, who moves it is left alone for a while, and the step stays: if it were let
/// go of, the gap would end what all processes have in the store of its origin.
const REFUSALS_MAX: u32 = 8;

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
    /// So many of the noted steps are in the store, but for those that nobody vouched for.
    written: u64,
    /// Of so many, those that were invalidated by name are.
    announced: u64,
    /// So many could not be written, and why.
    failed: Option<(u64, Error)>,
    closed: bool,
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

    /// Notes a change that was just taken up by the history of its timeline. The epoch of a step of
    /// an origin is that of the history, until it is written; where a life of the store begins, it
    /// is that one.
    ///
    /// # Callers must
    /// hold the lock of the timeline, so that the order is that of the history.
    pub(crate) fn note(&self, step: Step) {
        let mut waiting = self.waiting.lock();
        waiting.noted += 1;
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
        self.reached(|progress| progress.written).await
    }

    /// Waits until everything that was invalidated by name before is in the store.
    ///
    /// # Errors
    /// As [`Journal::written`].
    pub(crate) async fn announced(&self) -> Result<(), Error> {
        self.reached(|progress| progress.announced).await
    }

    async fn reached(&self, so_many: fn(&Progress) -> u64) -> Result<(), Error> {
        let number = self.waiting.lock().noted;
        let mut progress = self.progress.subscribe();
        loop {
            {
                let now = progress.borrow_and_update();
                match &now.failed {
                    _ if number <= so_many(&now) => return Ok(()),
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

    /// Writes what is noted, until the journal is closed; tells `node` where it stands then. Where
    /// the store refuses something, the feeds are asked who is right.
    pub(crate) async fn run(self: Arc<Self>, node: SharedNode, feeds: Arc<[Arc<dyn Feed>]>) {
        let mut refusals = 0;
        while self.store().is_some() {
            let (steps, noted) = {
                let mut waiting = self.waiting.lock();
                (std::mem::take(&mut waiting.steps), waiting.noted)
            };
            if steps.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let Some((steps, refused)) = self.apply(steps, noted, &node).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            refusals = if refused.is_empty() { 0 } else { refusals + 1 };
            let asked = async {
                let again = agree(&node, &feeds, steps, &refused).await;
                if !again.is_empty() && REFUSALS_MAX < refusals {
                    self.give_way(noted, refusals).await;
                }
                again
            };
            let again = self.beside(&node, pin!(asked)).await;
            if again.is_empty() {
                self.progress.send_modify(|progress| progress.written = noted);
            } else {
                self.take_back(again);
            }
        }
    }

    /// Lets others move the store, and those go who wait for what they keep from being written.
    async fn give_way(&self, noted: u64, refusals: u32) {
        let error = Error::new(ErrorKind::Conflict, "apply a change of an origin to the store")
            .detail(format!(
                "other processes moved it {refusals} times meanwhile; it is tried again"
            ));
        if refusals == REFUSALS_MAX + 1 {
            tracing::warn!(%error, "values of this origin are not kept in the store meanwhile");
        }
        self.progress.send_modify(|progress| progress.failed = Some((noted, error)));
        tokio::time::sleep(PAUSE).await;
    }

    /// Writes `steps`, the last that were noted when `noted` were; says which the store refused.
    /// Those that could not be written wait again: `None`.
    async fn apply(
        &self,
        steps: Vec<Step>,
        noted: u64,
        node: &SharedNode,
    ) -> Option<(Vec<Step>, Vec<Standing>)> {
        let Some(store) = self.store() else {
            self.take_back(steps);
            return None;
        };
        let translated = node.in_words_of_store(&steps);
        let applying =
            (!translated.is_empty()).then(|| store.apply(translated.clone(), knows(node)));
        // Not kept while it is waited for, so that it can be let go of meanwhile.
        drop(store);
        let applied = match applying {
            Some(applying) => applying.await,
            None => Ok(Applied::default()),
        };
        match applied {
            Ok(Applied { place, refused }) => {
                let announced = steps.iter().find(|step| step.announced.is_some());
                if let (Some(place), Some(step)) = (place, announced) {
                    node.placed(place, step.position);
                }
                node.were_written(&translated, &refused);
                self.progress.send_modify(|progress| {
                    (progress.announced, progress.failed) = (noted, None);
                });
                Some((steps, refused))
            }
            Err(error) => {
                self.take_back(steps);
                tracing::warn!(%error, "changes cannot be applied to the store; they are kept");
                self.progress.send_modify(|progress| progress.failed = Some((noted, error)));
                None
            }
        }
    }

    /// Lets `other` end, and meanwhile writes what is invalidated by name.
    async fn beside<T>(
        &self,
        node: &SharedNode,
        mut other: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            let ended = poll_fn(|context| match other.as_mut().poll(context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending => arrived.as_mut().poll(context).map(|()| None),
            });
            if let Some(ended) = ended.await {
                return ended;
            }
            let (step, noted) = {
                let mut waiting = self.waiting.lock();
                let named = waiting.steps.iter().position(|step| step.announced.is_some());
                (named.map(|index| waiting.steps.remove(index)), waiting.noted)
            };
            if let Some(step) = step {
                self.apply(vec![step], noted, node).await;
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

fn knows(node: &SharedNode) -> Knows {
    let node = node.clone();
    Arc::new(move |standing| node.knows(standing))
}

/// Those of the refused steps that may be written now that their feeds were asked. What is not
/// written is a gap in front of the next step, over which the store's floor rises.
async fn agree(
    node: &Node,
    feeds: &[Arc<dyn Feed>],
    steps: Vec<Step>,
    refused: &[Standing],
) -> Vec<Step> {
    let mut again = Vec::new();
    for standing in refused {
        // An origin that does not answer must not hold up what is noted of others.
        let asked = l2::within(async { Ok(node.ask_about(feeds, standing, Dispute::Take).await) });
        if asked.await.unwrap_or(false) {
            let is_of_it = |step: &&Step| step.timeline == standing.timeline;
            again.extend(steps.iter().find(is_of_it).cloned());
        }
    }
    again
}

/// Adds to a step the one that follows it.
fn merge(own: &mut Step, next: Step) {
    let is_of_another_life = own.announced.is_none()
        && next.announced.is_none()
        && matches!((own.begins, next.begins), (Begins::After(_), Begins::After(_)))
        && own.epoch != next.epoch;
    if is_of_another_life {
        *own = next;
        return;
    }
    let Step { epoch, begins, position, digests, tables, everything, mark, announced, .. } = next;
    if !tables.is_empty() {
        own.schemes =
            if own.tables.is_empty() { next.schemes } else { own.schemes.and(next.schemes) };
    }
    own.announced = match (own.announced.take(), announced) {
        (Some(own), Some(next)) => Some(shared::together(own, next)),
        (own, next) => own.or(next),
    };
    (own.position, own.mark) = (position, mark);
    match (own.begins, begins) {
        // Nothing was written in this life yet.
        (Begins::Anew(_), Begins::After(_)) => return,
        (Begins::After(_), Begins::After(_)) => own.epoch = epoch,
        (_, Begins::Anew(_)) => {
            (own.epoch, own.begins, own.everything) = (epoch, begins, false);
            own.digests.clear();
            own.tables.clear();
            return;
        }
    }
    own.everything |= everything;
    extend(&mut own.digests, digests);
    extend(&mut own.tables, tables);
    if own.everything || DIGESTS_MAX < own.digests.len() + own.tables.len() {
        own.everything = true;
        own.digests.clear();
        own.tables.clear();
    }
}

fn extend(own: &mut Vec<Digest>, more: Vec<Digest>) {
    own.extend(more);
    if DIGESTS_MAX < own.len() {
        own.sort_unstable();
        own.dedup();
    }
}

#[cfg(test)]
mod tests;
