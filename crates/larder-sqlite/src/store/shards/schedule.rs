//! The backups that are taken of several files together, whenever one is due.
//!
//! Apart from the keepers of the files, each of which knows of its own only. **Invariant**: a
//! failure is told and tried again, later and later, and keeps nobody from reading or writing; a
//! backup that goes takes all of its files along.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use larder_core::{Error, ErrorKind, Moment, WallMillis};
use parking_lot::{Condvar, Mutex};

use super::whole::{back_up, forget};
use crate::store::{
    kept::{self, Schedule},
    options::StoreOptions,
};

/// How long a backup that failed waits for the next attempt, doubled with each that fails: as for
/// one file, see `keeper`.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread that takes them. Dropping it ends a backup that is under way.
#[derive(Debug)]
pub(crate) struct Scheduled {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// The files of the store, the first one first.
    paths: Vec<PathBuf>,
    options: StoreOptions,
    is_closing: Mutex<bool>,
    rung: Condvar,
}

impl Scheduled {
    /// Begins to take them, if that was asked for.
    pub(crate) fn start(
        paths: Vec<PathBuf>,
        options: &StoreOptions,
    ) -> Result<Option<Self>, Error> {
        let Some(schedule) = options.backups.clone() else { return Ok(None) };
        let (is_closing, rung) = (Mutex::new(false), Condvar::new());
        let shared = Arc::new(Shared { paths, options: options.clone(), is_closing, rung });
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("larder-backup".into())
            .spawn(move || own.run(&schedule))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "start taking backups").source(error)
            })?;
        Ok(Some(Self { shared, thread: Some(thread) }))
    }
}

impl Drop for Scheduled {
    fn drop(&mut self) {
        *self.shared.is_closing.lock() = true;
        self.shared.rung.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self, schedule: &Schedule) {
        let (mut failed, mut not_before) = (0_u32, None::<Moment>);
        loop {
            let now = self.options.clock.now();
            if not_before.is_none_or(|moment| moment <= now) {
                match self.round(schedule) {
                    Ok(()) => (failed, not_before) = (0, None),
                    Err(error) if error.kind() == ErrorKind::Closed => {}
                    Err(error) => {
                        tracing::warn!(%error, "a backup could not be taken; it is tried again");
                        let pause = PAUSE.saturating_mul(1 << failed.min(30)).min(schedule.every);
                        (failed, not_before) = (failed + 1, Some(now.plus(pause)));
                    }
                }
            }
            let mut is_closing = self.is_closing.lock();
            if !*is_closing {
                self.rung.wait_for(&mut is_closing, self.options.keep_every);
            }
            if *is_closing {
                return;
            }
        }
    }

    /// Takes one if it is due, and lets those go that are too many.
    fn round(&self, schedule: &Schedule) -> Result<(), Error> {
        let Some(first) = self.paths.first() else { return Ok(()) };
        let now = self.options.clock.wall();
        if !schedule.is_due(first, now)? {
            return Ok(());
        }
        let target = schedule.path(first, now)?;
        let taken =
            back_up(&self.paths, &self.options, &target, &mut |_| match *self.is_closing.lock() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })?;
        tracing::info!(backup = %taken.path.display(), "a backup was taken");
        trim(schedule, first, self.options.clock.wall())
    }
}

/// Removes the backups of the store at `first` that are too many, with all of their files.
pub(crate) fn trim(schedule: &Schedule, first: &Path, now: WallMillis) -> Result<(), Error> {
    let before = kept::list(&schedule.directory, first)?;
    schedule.trim(first, now)?;
    let after = kept::list(&schedule.directory, first)?;
    let gone = before.iter().filter(|backup| !after.contains(backup));
    gone.for_each(|backup| forget(&backup.path, |_| true));
    Ok(())
}
