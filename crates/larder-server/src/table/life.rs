//! The life of a table: restored or loaded in the background, tried again while that fails, then
//! slid along and saved.
//!
//! **Invariant**: a table that is not loaded is being loaded or will be tried again, until the
//! server stops; what went wrong last is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder::{Clock, Error};
use larder_table::Slide;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::Table;

/// The pause before a load that failed is tried again, and the longest it grows to: an origin that
/// is down for the night is asked once a minute.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It is being loaded for the first time.
    #[default]
    Loading,
    /// The first load failed, for this reason, and is tried again.
    Failed(String),
    /// It answers.
    Loaded,
}

impl State {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Failed(_) => "failed",
            Self::Loaded => "loaded",
        }
    }
}

/// What goes on in the background.
#[derive(Debug, Default)]
pub struct Life {
    state: Mutex<State>,
    restored: AtomicBool,
    slide: Mutex<Option<Slide>>,
    task: Mutex<Option<AbortHandle>>,
}

impl Life {
    /// How it is.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Says how it is.
    pub(super) fn set(&self, state: State) {
        *self.state.lock() = state;
    }

    /// Whether it began with what an earlier process had saved, and was not loaded.
    pub fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Relaxed)
    }

    /// Why the last step of a sliding window did not move it; `None` where it did.
    pub fn slide_failure(&self) -> Option<Error> {
        self.slide.lock().as_ref().and_then(Slide::failure)
    }

    /// Ends what goes on in the background.
    pub fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.slide.lock().take();
    }
}

impl Table {
    /// Begins to load the table, in the background, and keeps its window from then on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn begin(self: &Arc<Self>, clock: &Clock) {
        let (table, clock) = (self.clone(), clock.clone());
        let task = tokio::spawn(async move { table.live(clock).await });
        *self.life.task.lock() = Some(task.abort_handle());
    }

    async fn live(&self, clock: Clock) {
        let began = clock.now();
        let restored = match self.restore().await {
            Ok(restored) => restored,
            Err(error) => {
                let why = with_causes(&error);
                tracing::warn!(target: "larder::table", table = %self.name, %why, "cannot restore");
                if self.held.reflects().is_none() {
                    // Loaded now, it would never hear of a change.
                    *self.life.state.lock() = State::Failed(why);
                    return;
                }
                None
            }
        };
        let (records, how) = match restored {
            Some(records) => (records, "restored"),
            None => (self.load(&clock).await, "loaded"),
        };
        self.life.restored.store(restored.is_some(), Ordering::Relaxed);
        *self.life.state.lock() = State::Loaded;
        let (seconds, table) = (clock.now().since(began).as_secs_f64(), &*self.name);
        tracing::info!(target: "larder::table", %table, records, seconds, "{how}");
        if restored.is_some() {
            self.move_as_set(&clock).await;
        }
        self.slide(clock);
        self.keep_saving().await;
    }

    /// Loads the records, and tries again for as long as that fails; how many there are.
    async fn load(&self, clock: &Clock) -> usize {
        let mut pause = PAUSES.0;
        loop {
            match self.held.load(self.window.at(clock.wall())).await {
                Ok(records) => return records,
                Err(error) => {
                    let why = with_causes(&error);
                    tracing::warn!(
                        target: "larder::table", table = %self.name, %why,
                        again_seconds = pause.as_secs(), "cannot load"
                    );
                    *self.life.state.lock() = State::Failed(why);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Moves the window from where it was saved to where the settings have it now.
    async fn move_as_set(&self, clock: &Clock) {
        let mut pause = PAUSES.0;
        loop {
            let window = self.window.at(clock.wall());
            if self.held.window().as_ref() == Some(&window) {
                return;
            }
            let Err(error) = self.held.adjust(window).await else { return };
            let (table, why) = (&*self.name, with_causes(&error));
            tracing::warn!(target: "larder::table", %table, %why, "its window is as it was saved");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Keeps a window that slides where it is due.
    fn slide(&self, clock: Clock) {
        let Some(step) = self.window.slides().map(|last| last.step) else { return };
        let window = self.window.clone();
        match self.held.slide(clock, step, move |now| window.at(now)) {
            Ok(slide) => *self.life.slide.lock() = Some(slide),
            Err(error) => {
                let table = &*self.name;
                tracing::error!(target: "larder::table", %table, %error, "stands still");
            }
        }
    }
}

/// The error with its causes: whoever runs the server may read them.
pub(super) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
