//! The bell: what wakes the watcher between two looks at the clock.
//!
//! Waking up two hundred times a second costs a virtual machine more than all that is done when
//! awake, so where the kernel can say that a file beside the database was written (inotify), an
//! idle database is looked at only ten times a second. **Invariant**: the bell is a hint. What is
//! known, and of which moment, is decided by asking the database alone; a bell that never rings
//! costs a delay of one long pause, never a wrong answer.

use std::{path::Path, time::Duration};

/// Why a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Somebody called [`Bell::ring`].
    Called,
    /// A file beside the database was written, renamed or removed.
    Written,
    /// Nothing happened.
    Silence,
}

/// What a pause may be ended by, besides a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    /// Nothing.
    Shut,
    /// A written file.
    Open,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::Bell;

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Bell;

#[cfg(target_os = "linux")]
mod linux {
    //! inotify for the files, an eventfd for callers.

    use std::os::fd::OwnedFd;

    use larder_core::{Error, ErrorKind};
    use rustix::{
        event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
        fs::inotify,
        io::{read, write},
    };

    use super::{Duration, Ear, Path, Rung};

    #[derive(Debug)]
    pub(crate) struct Bell {
        calls: OwnedFd,
        files: Option<OwnedFd>,
    }

    impl Bell {
        pub(crate) fn new() -> Result<Self, Error> {
            let calls = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
            let calls = calls.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "make an event descriptor").source(error)
            })?;
            // The number of these is limited; without one the pauses are short instead.
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            Ok(Self { calls, files: inotify::init(flags).ok() })
        }

        /// Whether files beside `path` will ring from now on. Cheap where they do already.
        pub(crate) fn hears(&self, path: &Path) -> bool {
            use inotify::WatchFlags;
            // SQLite puts its log and its journal beside the file itself, not beside a link to it.
            let file = path.canonicalize();
            let directory = file.as_deref().unwrap_or(path).parent();
            let (Some(files), Some(directory)) = (&self.files, directory) else { return false };
            let events = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO;
            inotify::add_watch(files, directory, events).is_ok()
        }

        /// Ends the current pause, or the next one.
        pub(crate) fn ring(&self) {
            // It fails only when as many calls as fit are waiting already.
            write(&self.calls, &1u64.to_ne_bytes()).ok();
        }

        /// Pauses for at most `pause`.
        pub(crate) fn wait(&self, pause: Duration, ear: Ear) -> Rung {
            let timeout = Timespec {
                tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: pause.subsec_nanos().into(),
            };
            let calls = PollFd::new(&self.calls, PollFlags::IN);
            match &self.files {
                Some(files) if ear == Ear::Open => {
                    let mut both = [calls, PollFd::new(files, PollFlags::IN)];
                    poll(&mut both, Some(&timeout)).ok();
                }
                _ => {
                    poll(&mut [calls], Some(&timeout)).ok();
                }
            }
            self.take()
        }

        /// What rang since the last time.
        fn take(&self) -> Rung {
            let mut count = [0; 8];
            if read(&self.calls, &mut count).is_ok() {
                return Rung::Called;
            }
            let mut events = [0; 4096];
            let mut rung = Rung::Silence;
            while let Some(files) = &self.files
                && read(files, &mut events).is_ok_and(|count| 0 < count)
            {
                rung = Rung::Written;
            }
            rung
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    //! Callers alone; the pauses are short instead.

    use larder_core::Error;
    use parking_lot::{Condvar, Mutex};

    use super::{Duration, Ear, Path, Rung};

    #[derive(Debug, Default)]
    pub(crate) struct Bell {
        called: Mutex<bool>,
        calls: Condvar,
    }

    impl Bell {
        pub(crate) fn new() -> Result<Self, Error> {
            Ok(Self::default())
        }

        pub(crate) fn hears(&self, _: &Path) -> bool {
            false
        }

        pub(crate) fn ring(&self) {
            *self.called.lock() = true;
            self.calls.notify_one();
        }

        pub(crate) fn wait(&self, pause: Duration, _: Ear) -> Rung {
            let mut called = self.called.lock();
            if !*called {
                self.calls.wait_for(&mut called, pause);
            }
            if std::mem::take(&mut *called) { Rung::Called } else { Rung::Silence }
        }
    }
}
