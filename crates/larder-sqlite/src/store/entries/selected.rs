//! What is asked of many entries of a region: pages, counts and removals by selection, statistics.
//!
//! Apart from what is asked by key. **Invariant**: what has expired is in no page and in no count.

use larder_core::Error;

use super::Entries;
use crate::store::{
    counters::{Counted, RegionStats, TagStats},
    entry::Meta,
    fence::What,
    listing, remove,
    select::Select,
    total::Totals,
    writer::{Effort, Writing},
};

impl Entries {
    /// At most `limit` of the entries that `select` names, sorted by key, those after the key
    /// `after`. The last key of a page asks for the next one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn page(
        &self,
        select: &Select,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Meta)>, Error> {
        select.check()?;
        let (select, after) = (select.clone(), after.map(str::to_owned));
        let now = self.inner.options.clock.wall();
        self.read(Vec::new(), move |connection, region| {
            listing::page(connection, region, &select, now, after.as_deref(), limit)
        })
        .await
    }

    /// How many entries `select` names: what [`Entries::remove_matching`] would remove now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn count(&self, select: &Select) -> Result<u64, Error> {
        select.check()?;
        let (select, now) = (select.clone(), self.inner.options.clock.wall());
        self.read(0, move |connection, region| listing::count(connection, region, &select, now))
            .await
    }

    /// Removes the entries that `select` names; how many. When it returns no read finds them; their
    /// rows are removed behind.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_matching(&self, select: &Select) -> Result<u64, Error> {
        select.check()?;
        let begun = self.inner.journal.begin("remove_matching");
        let (select, what) = (select.clone(), What::Selected(select.clone()));
        let bury = move |writing: &mut Writing<'_>, region| remove::bury(writing, region, &select);
        let count = self.removing(Effort::MUCH, 0, what, bury).await;
        let count = self.noted(begun, count)?;
        self.count_up(Counted::Removed, count);
        Ok(count)
    }

    /// At most `limit` tags, sorted, those after the tag `after`, with what is known of the entries
    /// of each together.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # Cost
    /// Looks at every entry of the tags that it gives.
    pub async fn tag_stats(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TagStats>, Error> {
        let (after, now) = (after.map(str::to_owned), self.inner.options.clock.wall());
        self.read(Vec::new(), move |connection, region| {
            listing::tags(connection, region, now, after.as_deref(), limit)
        })
        .await
    }

    /// How the region is doing: what is in it, and what this process did there. Its tags are
    /// counted by [`Entries::tag_stats`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stats(&self) -> Result<RegionStats, Error> {
        let failed = Writing::failed("ask for statistics");
        let totals = self.read((0, (0, 0)), move |connection, region| {
            Ok((region, Totals::of_region(connection, region).map_err(failed)?))
        });
        let (region, totals) = totals.await?;
        let gone = self.inner.counters.gone_of(region);
        Ok(RegionStats::of(&self.tally, totals, gone, self.inner.options.clock.wall()))
    }
}
