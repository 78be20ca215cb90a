//! Changes told by the application: rows it created, updated or deleted, in the words of its types.
//!
//! They stand apart from invalidation by name because a row says for itself which scopes it was and
//! is in. **Invariant**: user code runs before anything is locked or written, so a row type that
//! panics leaves nothing half done.

use larder_core::{Error, TrackedChange};

use crate::{cache::Cache, invalidation::Told};

impl Cache {
    /// Drops every entry that the changes of rows can have made wrong: those built from the rows
    /// themselves, from scopes a row was in, is in, or, where that is unknown, may have been in,
    /// and from their tables. All of them are one step on the timeline `app`; nothing told is no
    /// step.
    ///
    /// For what no feed watches. Where a feed watches the table too, telling is quicker than
    /// waiting for it and does no harm.
    ///
    /// # Freshness
    /// When it returns, nothing is hit that was built from a row as one of `changes` found it. Each
    /// change names two states of its row, so of several changes of one row each must be told, in
    /// any order; what is right only since the last of them is right once all were told.
    ///
    /// ```
    /// use std::sync::LazyLock;
    /// use larder::{Cache, Change, Dependency, Description, Error, Tracked, Value};
    ///
    /// struct Book { id: i64, category: String }
    ///
    /// // What `#[derive(Tracked)]` writes, by hand.
    /// impl Tracked for Book {
    ///     fn description() -> &'static Description {
    ///         static OF_BOOK: LazyLock<Description> = LazyLock::new(|| {
    ///             Description::of("app", "Book").with_columns(&["category", "id"], &[1])
    ///         });
    ///         &OF_BOOK
    ///     }
    ///     fn image(&self) -> Vec<Value> {
    ///         vec![(&self.category).into(), self.id.into()]
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let count = cache
    ///     .region::<String, u64>("count")
    ///     .ttl(std::time::Duration::from_secs(60))
    ///     .loader(|category: String, load| async move {
    ///         load.depends_on(Dependency::scope("app", "Book", [("category", category)]));
    ///         Ok::<_, Error>(1)
    ///     })
    ///     .build()?;
    /// count.get_or_load(&"sci-fi".to_owned()).await?;
    ///
    /// let old = Book { id: 1, category: "sci-fi".into() };
    /// let new = Book { id: 1, category: "fantasy".into() };
    /// let told = cache.changed(Change::updated(&old, &new)).await?;
    /// assert_eq!(told.entries, 1);
    /// assert!(count.get(&"sci-fi".to_owned()).await?.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when a row is of a timeline this cache does not have. Nothing was dropped then.
    /// Those of the store, as for [`Invalidating::commit`].
    ///
    /// [`Invalidating::commit`]: crate::Invalidating::commit
    ///
    /// # Cost
    /// A hash for each set of columns that scopes of the table ask for, twice where the row before
    /// and after are known; a logarithm of the ranges in use.
    ///
    /// # Cancel safety
    /// Once polled it is done in this process. With a store that keeps tracked values it then waits
    /// until that has noted it on the disk; dropped meanwhile, it is noted all the same, soon.
    pub async fn changed(
        &self,
        changes: impl IntoIterator<Item = TrackedChange>,
    ) -> Result<Told, Error> {
        let changes: Vec<TrackedChange> = changes.into_iter().collect();
        if changes.is_empty() {
            return Ok(Told { token: self.token(), entries: 0 });
        }
        let node = self.node();
        changes.iter().try_for_each(|change| node.expect_timeline(change.timeline()))?;
        node.counters.invalidations.add(1);
        let told = node.changed(&changes);
        node.make_durable().await?;
        Ok(told)
    }
}
