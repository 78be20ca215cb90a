//! Begun: a value that is computed outside a loader.
//!
//! The stamps are taken when it begins, so that a change in between is noticed when it ends (MD2).
//! **Invariant**: there is no way to store a tracked value whose stamps were not taken before.
//! Begun inside a loader, it waits as that loader: who waits for the loader waits for it.

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind, Key, KeyBytes, safeguard::Safeguard};

use crate::{claimed::Claimed, error::LoadError, landing::Landed, load::Load, region::Inner};

/// A computation whose stamps are taken. Dropping it stores nothing.
pub struct Begun<K, V, E> {
    region: Arc<Inner<K, V, E>>,
    key: KeyBytes,
    load: Load,
}

impl<K: Key, V: Send + Sync + 'static, E: Send + Sync + 'static> Begun<K, V, E> {
    pub(crate) fn new(region: Arc<Inner<K, V, E>>, key: KeyBytes) -> Self {
        let load = region.begin();
        Self { region, key, load }
    }

    /// Where to say what the value is built from, and through which to read what it is built from.
    ///
    /// Plain reads of regions are inherited only inside its [`Load::scope`].
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Stores `value`, unless something it depends on changed since the beginning, it is larger
    /// than an entry may be, or the origin cannot be asked whether it is still right; then it is
    /// only returned. [`crate::Stats`] counts the first two as `overtaken` and `too_large`.
    ///
    /// # Errors
    /// `Untracked` when no dependency was named and the region is tracked. Nothing is stored then,
    /// and what was there stays.
    ///
    /// # Cancel safety
    /// Dropped before it ends, it stores nothing or everything.
    pub async fn finish(self, value: V) -> Result<Arc<V>, Error> {
        by_hand(self.land(value).await.result)
    }

    /// As [`Begun::finish`], but a value that is too large is an error.
    pub(crate) async fn finish_or_refuse(self, value: V) -> Result<Arc<V>, Error> {
        let landed = self.land(value).await;
        landed.too_large.map_or(Ok(()), Err)?;
        by_hand(landed.result)
    }

    async fn land(self, value: V) -> Landed<V, E> {
        let mut collected = self.load.collected();
        if Safeguard::StampsTakenAtBegin.is_off() {
            collected.stamps = self.region.cache.node.stamps();
        }
        self.region.store(&self.key, value, collected, Claimed::open()).await
    }
}

/// The result of a landing before which nothing was loaded.
fn by_hand<V, E>(result: Result<Arc<V>, LoadError<E>>) -> Result<Arc<V>, Error> {
    result.map_err(|error| match error {
        LoadError::Cache(error) => error,
        LoadError::Load(_) | LoadError::Panicked => {
            Error::new(ErrorKind::Panicked, "store a value that was not loaded")
        }
    })
}

impl<K, V, E> fmt::Debug for Begun<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("load", &self.load).finish_non_exhaustive()
    }
}
