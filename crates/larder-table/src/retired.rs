//! Retired: what was shown before a change of the window or a big refresh, until reads let it go.
//!
//! Apart from the publication, which is over by then. Whoever has a snapshot last frees what only
//! it had: every block that a change replaced, in each order. That is some milliseconds after ten
//! thousand changes, and would be those of whichever read was under way. **Invariant**: nothing is
//! kept here longer than [`PAUSES`] are together, so that a read that never ends keeps what it has
//! and nothing else does.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::snapshot::Snapshot;

/// From so many records on a change is kept for: about as many blocks in each order, a tenth of a
/// millisecond to free. A tenth would begin a task for changes that any read can free unnoticed;
/// ten times more would leave some milliseconds to them.
const KEPT_FROM: usize = 256;

/// After these it is looked whether a read still has it: in milliseconds, nearly all are over
/// after the first. Together a quarter of a second; ten times that would keep the memory of a big
/// change for as long, for reads that have waited for something anyway.
const PAUSES: [u64; 6] = [1, 4, 16, 32, 64, 128];

/// Keeps `before`, in place of which something with `count` other records is shown, until no read
/// has it.
pub(crate) fn retire<R: Send + Sync + 'static>(before: Arc<Snapshot<R>>, count: usize) {
    if count < KEPT_FROM || Arc::strong_count(&before) == 1 {
        return;
    }
    // Without a runtime the last read frees it.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        for pause in PAUSES {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if Arc::strong_count(&before) == 1 {
                return;
            }
        }
    });
}
