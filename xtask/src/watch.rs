//! The stop watch of the runner: the one place of this crate that asks for the time.

use std::time::{Duration, Instant};

/// Does `work` and says how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "measures real programs; larder's movable clock would show nothing"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
