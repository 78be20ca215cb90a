//! A value that does not let go of the sweeper, so that nothing is carried out behind the callers'
//! backs and every number is the same in each run.

use std::{
    any::Any,
    sync::{Arc, Mutex, mpsc},
};

use larder_memory::{Inserted, MemoryTier};

use crate::support::{cause, entry, row};

/// Out of the way of other keys.
const KEY: u64 = 1 << 40;

/// Keeps whoever drops it until the other ends are gone.
struct HoldsUp {
    reached: mpsc::Sender<()>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Drop for HoldsUp {
    fn drop(&mut self) {
        self.reached.send(()).ok();
        self.release.lock().unwrap().recv().ok();
    }
}

/// Makes the sweeper wait until the returned end is dropped.
pub(crate) fn hold_up(tier: &MemoryTier) -> impl Any + use<> {
    let (reached, is_reached) = mpsc::channel();
    let (release, receiver) = mpsc::channel::<()>();
    let mut holds = entry(tier, KEY, 0, [row(KEY)]);
    holds.value = Arc::new(HoldsUp { reached, release: Mutex::new(receiver) });
    assert_eq!(tier.insert(holds, || true), Inserted::Stored);
    assert_eq!(tier.invalidate(&[row(KEY).digest()], &cause()), 1);
    is_reached.recv().unwrap();
    release
}
