//! The store as the cache above uses it: records under the keys that regions encode.
//!
//! Apart from `entries`, whose keys and values people chose. **Invariant**: it looks at nothing
//! inside a record.

use larder_core::{
    BoxFuture, Error,
    clock::WallMillis,
    store::{Attached, Store},
};

use super::{
    entry::{Lifetime, NewEntry, Stored},
    handle::SqliteStore,
    put::{self, IfPresent},
    remove,
    row_key::RowKey,
    tracked,
};

impl Store for SqliteStore {
    fn attach(&self) -> Result<Option<Attached>, Error> {
        tracked::attach(self).map(Some)
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
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let now = self.options().clock.wall();
            let lifetime = match until {
                None => Lifetime::Forever,
                Some(until) if until <= now => return Ok(()),
                Some(until) => Lifetime::Until(until),
            };
            let (key, entry) = (key.to_vec(), NewEntry::new(Stored::bytes(record), lifetime));
            let entries = self.entries(region);
            let entry = entries.pack(entry).await?;
            entries
                .write(move |writing, region| {
                    let key = RowKey::Bytes(&key);
                    put::put(writing, region, key, &entry, IfPresent::Replace)
                })
                .await
                .map(drop)
        })
    }

    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let key = key.to_vec();
            self.entries(region)
                .change(false, move |writing, region| {
                    remove::remove(writing, region, RowKey::Bytes(&key))
                })
                .await
        })
    }
}
