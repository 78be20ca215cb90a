//! `"rewarm"` in a request to invalidate: the most read of what fell is loaded again.
//!
//! Apart from `invalidate.rs`, whose step is done when this begins. **Invariant**: whatever becomes
//! of the loads, the invalidation stands and its answer comes in time; and all rewarmings together
//! take no more than half of the loads that may run, so that readers always find a place.

use std::{sync::Arc, time::Duration};

use larder::{Rewarm, Rewarmed, Rewarming};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    problem::{Code, Problem},
    server::Server,
};

/// Entries that one request may have loaded again. They are chosen before the answer, at 200 ns for
/// each that falls, and their keys are kept until they are loaded: here a megabyte or so.
pub const ENTRIES_MAX: usize = 10_000;

/// The member as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "rewarm is an object such as {\"at_most\": 100, \"concurrency\": 4}"
)]
pub(super) struct Written {
    /// How many entries, the most read ones first.
    at_most: usize,
    /// How many of them at once.
    #[serde(default = "some")]
    concurrency: usize,
    /// How long the answer may wait for them.
    #[serde(default)]
    wait_ms: u64,
}

fn some() -> usize {
    4
}

/// A rewarming that may begin, unless there is no room for it.
pub(super) struct Planned {
    rewarm: Rewarm,
    wait: Duration,
    places: Option<OwnedSemaphorePermit>,
}

/// Loads that rewarmings may run at once on a server that runs `loads` of all kinds.
pub fn loads_max(loads: usize) -> usize {
    (loads / 2).max(1)
}

impl Written {
    /// Checks it and takes its places.
    pub(super) fn plan(self, server: &Server) -> Result<Planned, Problem> {
        let Self { at_most, concurrency, wait_ms } = self;
        let refused = |detail: String| Err(Problem::new(Code::MalformedRequest, detail));
        if !(1..=ENTRIES_MAX).contains(&at_most) {
            return refused(format!(
                "rewarm.at_most is {at_most}; write 1 to {ENTRIES_MAX} entries, or leave rewarm \
                 out. Nothing was dropped"
            ));
        }
        let most = loads_max(server.config.cache.loads);
        if !(1..=most).contains(&concurrency) {
            return refused(format!(
                "rewarm.concurrency is {concurrency}; write 1 to {most} loads at once, half of \
                 cache.loads. Nothing was dropped"
            ));
        }
        let wait = Duration::from_millis(wait_ms).min(server.config.server.request_timeout);
        let count = u32::try_from(concurrency).unwrap_or(u32::MAX);
        let places = server.rewarming.clone().try_acquire_many_owned(count).ok();
        Ok(Planned { rewarm: Rewarm { at_most, concurrency }, wait, places })
    }
}

impl Planned {
    /// What to ask of the invalidation: nothing where there is no room.
    pub(super) fn rewarm(&self) -> Option<Rewarm> {
        self.places.is_some().then_some(self.rewarm)
    }

    /// Sees to it that the loads are counted when they have ended, and waits for that, not for
    /// long and not while the server stops; what became of them so far.
    pub(super) async fn follow(self, server: &Arc<Server>, rewarming: Option<Rewarming>) -> Json {
        let Some(rewarming) = rewarming else {
            server.told.rewarm.refused.add(1);
            return json!({
                "state": "refused",
                "why": "as many loads as may are rewarming already; what fell is loaded when it \
                        is read",
            });
        };
        let (places, followed) = (self.places, rewarming.clone());
        // Loads that take long do not keep the server.
        let weak = Arc::downgrade(server);
        let counted = tokio::spawn(async move {
            let Rewarmed { loaded, failed, skipped, .. } = followed.ended().await;
            drop(places);
            if let Some(server) = weak.upgrade() {
                server.told.rewarm.loaded.add(loaded);
                server.told.rewarm.failed.add(failed);
                server.told.rewarm.skipped.add(skipped);
            }
        });
        let mut stopping = server.phase.watch();
        tokio::select! {
            biased;
            _ = tokio::time::timeout(self.wait, counted) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        shown(rewarming.so_far())
    }
}

fn shown(so_far: Rewarmed) -> Json {
    let Rewarmed { loaded, failed, skipped, left, .. } = so_far;
    json!({
        "state": if left == 0 { "done" } else { "running" },
        "loaded": loaded,
        "failed": failed,
        "skipped": skipped,
        "left": left,
    })
}
