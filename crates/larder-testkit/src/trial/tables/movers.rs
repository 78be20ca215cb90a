//! The movers: they move the window and load again what is in it, beside all readers.
//!
//! **Invariant**: whatever is done here changes what is kept, never what is true.

use std::sync::Arc;

use larder_table::Ranges;
use tokio::task::yield_now;

use super::{
    super::{Trouble, database::BUCKETS},
    Deed,
    readers::{Noted, Shared},
};
use crate::random::Random;

/// The most pauses between two deeds.
const PAUSES: u64 = 24;

impl Shared {
    /// A window of half of the buckets or more.
    pub(super) fn window(random: &mut Random) -> Result<Ranges<i64>, Trouble> {
        let width = BUCKETS / 2 + random.below(BUCKETS.cast_unsigned() / 2 + 1).cast_signed();
        let low = random.below((BUCKETS - width + 1).cast_unsigned()).cast_signed();
        Ok(Ranges::of(low..low + width)?)
    }

    /// Moves the window until it is over.
    pub(super) async fn move_about(self: Arc<Self>, mut random: Random) -> Result<Noted, Trouble> {
        let mut deeds = Vec::new();
        let table = &self.ground.table;
        while !self.is_over() {
            deeds.push(match random.below(8) {
                0 => {
                    table.reload(Self::window(&mut random)?).await?;
                    Deed::Reloaded
                }
                1 => {
                    table.refresh_invalid().await?;
                    Deed::Refreshed
                }
                _ => {
                    table.adjust(Self::window(&mut random)?).await?;
                    Deed::Adjusted
                }
            });
            for _ in 0..random.below(PAUSES) {
                yield_now().await;
            }
        }
        Ok((Vec::new(), deeds))
    }
}
