//! The face of parking_lot over the locks of shuttle, for the tests that choose schedules.
//!
//! It stands apart from `sync.rs` so that a normal build does not even parse it. **Invariant**:
//! what waits here waits in shuttle, and where an end of waiting that parking_lot allows is left
//! out, it says so.

use std::{
    ops::{Deref, DerefMut},
    sync::PoisonError,
    time::Duration,
};

pub(crate) use shuttle::{
    sync::{RwLockReadGuard, RwLockWriteGuard, atomic},
    thread,
};

/// `for_schedules`: few of everything, so that threads meet and an execution is short.
pub(crate) const fn sized(_normal: usize, for_schedules: usize) -> usize {
    for_schedules
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let mutex = &self.0;
        MutexGuard { mutex, held: Some(mutex.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

/// Not held only while it waits for a condition.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a shuttle::sync::Mutex<T>,
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("nobody looks while it waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("nobody looks while it waits")
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

/// Whether the time was over.
#[derive(Debug)]
pub(crate) struct Waited(bool);

impl Waited {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The time is never over: an idle sweeper would go its rounds for ever, and no schedule would
    /// come to an end.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _time: Duration) -> Waited {
        self.wait(guard);
        Waited(false)
    }

    /// The time is over at once, after everybody else had a chance.
    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        _while: impl FnMut(&mut T) -> bool,
        _time: Duration,
    ) -> Waited {
        guard.held = None;
        thread::yield_now();
        guard.held = Some(guard.mutex.lock().unwrap_or_else(PoisonError::into_inner));
        Waited(true)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
