//! The clock: the one place where larder takes the time.
//!
//! There are two readings. The exact one costs what the machine's clock costs, which on some
//! virtual machines is a system call and more than a whole hit. The coarse one is a number that the
//! kernel keeps at hand; it is behind by up to a tick and, on a machine that is short of processor
//! time, by a few. **Invariant**: a deadline is never passed unnoticed: whoever uses the coarse
//! reading asks [`Clock::reached`], which takes the exact one within [`COARSE_LAG`] of
//! the deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How far the coarse reading may be behind before [`Clock::reached`] stops trusting it.
///
/// Kernel ticks are 1 to 10 ms; a virtual machine that loses its processor can miss a few of them.
/// Ten times more would send most hits of a one-second deadline to the exact clock, a tenth would
/// trust a tick that is merely late.
pub const COARSE_LAG: Duration = Duration::from_millis(100);

/// A moment on a clock that never goes back within this process, in microseconds.
///
/// Moments of different processes, and of different clocks, must not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The start of the clock: earlier than every reading.
    pub const EARLIEST: Self = Self(0);
    /// Later than every reading: the deadline of what never expires.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the start of the clock.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of the clock.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// This moment moved later by `duration`; [`Moment::NEVER`] when it does not fit.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This moment moved earlier by `duration`; [`Moment::EARLIEST`] when it does not fit.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock milliseconds since 1970: what survives a restart, unlike a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub u64);

impl WallMillis {
    /// This time moved later by `duration`, rounded up to whole milliseconds.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this time; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where the time comes from. Cloning shares the clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicU64>),
}

/// So that [`Moment::EARLIEST`] lies before every reading, even right after the machine started.
const HEAD_START: u64 = 1_000_000;

/// What a manual clock shows as wall time when it is made: the first of January 2026.
const MANUAL_START: u64 = 1_767_225_600_000;

/// The latest wall time that this process has shown to anybody.
static LATEST: AtomicU64 = AtomicU64::new(0);

impl Clock {
    /// The machine's monotonic clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] moves it, for tests.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(HEAD_START))))
    }

    /// The exact time.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment(read(rustix::time::ClockId::Monotonic)),
            Source::Manual(micros) => Moment(micros.load(Ordering::SeqCst)),
        }
    }

    /// The time at little cost: never ahead of [`Clock::now`], usually less than 10 ms behind it.
    #[inline]
    pub fn coarse(&self) -> Moment {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Source::System => Moment(read(rustix::time::ClockId::MonotonicCoarse)),
            _ => self.now(),
        }
    }

    /// The wall time, for what other processes and later lives compare. Within this process it
    /// never goes back: while the machine's clock is set back, it stands still (ruling J7).
    pub fn wall(&self) -> WallMillis {
        match &self.0 {
            Source::System => {
                let since = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
                let millis = seconds * 1000 + u64::try_from(since.tv_nsec).unwrap_or(0) / 1_000_000;
                WallMillis(LATEST.fetch_max(millis, Ordering::Relaxed).max(millis))
            }
            Source::Manual(micros) => {
                let since = micros.load(Ordering::SeqCst).saturating_sub(HEAD_START);
                WallMillis(MANUAL_START.saturating_add(since / 1000))
            }
        }
    }

    /// Whether `deadline` has been reached, where `coarse` is a coarse reading just taken.
    ///
    /// # Cost
    /// One comparison; within [`COARSE_LAG`] of the deadline one exact reading.
    #[inline]
    pub fn reached(&self, deadline: Moment, coarse: Moment) -> bool {
        if coarse.plus(COARSE_LAG) < deadline {
            return false;
        }
        deadline <= coarse || deadline <= self.now()
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// When this is the machine's clock, which nobody can move.
    pub fn advance(&self, duration: Duration) {
        match &self.0 {
            Source::Manual(micros) => {
                let step = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                micros.fetch_add(step, Ordering::SeqCst);
            }
            Source::System => panic!("only a manual clock can be advanced"),
        }
    }
}

#[inline]
fn read(id: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1000 + HEAD_START
}
