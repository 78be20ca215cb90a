//! The life of a table: loaded in the background, tried again while that fails, then slid along.
//!
//! **Invariant**: a table that is not loaded is being loaded or will be tried again, until the
//! server stops; what went wrong last is told.

use std::{sync::Arc, time::Duration};

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
    slide: Mutex<Option<Slide>>,
    task: Mutex<Option<AbortHandle>>,
}

impl Life {
    /// How it is.
    pub fn state(&self) -> State {
        self.state.lock().clone()
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
        let mut pause = PAUSES.0;
        let records = loop {
            match self.held.load(self.window.at(clock.wall())).await {
                Ok(records) => break records,
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
        };
        *self.life.state.lock() = State::Loaded;
        let seconds = clock.now().since(began).as_secs_f64();
        tracing::info!(target: "larder::table", table = %self.name, records, seconds, "loaded");
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
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
