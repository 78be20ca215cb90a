//! The store as the cache above uses it: records under the keys that regions encode.
//!
//! Apart from `entries`, whose keys and values people chose. **Invariant**: it looks at nothing
//! inside a record.

use std::sync::Arc;

use larder_core::{
    BoxFuture, Error, Name,
    claim::Fence,
    clock::WallMillis,
    store::{Attached, Claims, Follows, Store, Written},
};

use super::{
    claims,
    entry::{Lifetime, NewEntry, Stored},
    handle::SqliteStore,
    put::{self, IfPresent},
    remove,
    row_key::RowKey,
    tracked,
    writer::Effort,
};

impl Store for SqliteStore {
    fn attach(&self, origins: &[Name], follows: Follows) -> Result<Option<Attached>, Error> {
        tracked::attach(self, origins, follows).map(Some)
    }

    fn claims(&self) -> Option<Arc<dyn Claims>> {
        let claims = claims::claims_of(self)?;
        Some(Arc::new(claims))
    }

    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async move {
            let entries = self.entries(region);
            Ok(entries.read_counted(RowKey::Bytes(key)).await?.map(|stored| stored.bytes))
        })
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: Vec<u8>,
        until: Option<WallMillis>,
        fence: Fence,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(async move {
            let now = self.options().clock.wall();
            let lifetime = match until {
                None => Lifetime::Forever,
                Some(until) if until <= now => return Ok(Written::NotRight),
                Some(until) => Lifetime::Until(until),
            };
            let (key, entry) = (key.to_vec(), NewEntry::new(Stored::bytes(record), lifetime));
            let entries = self.entries(region);
            let entry = entries.pack(entry).await?;
            let effort = Effort::Row { bytes: entry.value.bytes.len() as u64 };
            entries
                .write(effort, move |writing, region| {
                    let key = RowKey::Bytes(&key);
                    if !claims::pass(writing, region, key, fence)? {
                        return Ok(Written::Outrun);
                    }
                    put::put(writing, region, key, &entry, IfPresent::Replace)?;
                    Ok(Written::Kept)
                })
                .await
        })
    }

    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let key = key.to_vec();
            self.entries(region)
                .change(Effort::ROW, false, move |writing, region| {
                    remove::remove(writing, region, RowKey::Bytes(&key))
                })
                .await
        })
    }
}
