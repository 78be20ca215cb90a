//! The store as a cache uses it, in however many files it is kept.
//!
//! **Invariant**: a key's record and its claim are in one file, so that the one is written in the
//! transaction that gives the other back. What concerns all keys at once, the timelines, is the
//! business of `tracked`.

use std::sync::Arc;

use larder_core::{
    BoxFuture, Error, Name,
    claim::{Claim, Fence, Patience},
    clock::WallMillis,
    store::{Attached, Claims, Follows, Store, Taken, Written},
};

use super::{Family, Kept, SqliteStore, layout::place_of, tracked};
use crate::store::{handle::SqliteStore as Shard, row_key::RowKey};

impl SqliteStore {
    /// The file that has `key`.
    fn of(&self, region: &str, key: &[u8]) -> &Shard {
        match &self.0 {
            Kept::One(shard) => shard,
            Kept::Many(family) => family.of(region, key),
        }
    }
}

impl Family {
    fn of(&self, region: &str, key: &[u8]) -> &Shard {
        self.at(place_of(region, RowKey::Bytes(key), self.count()))
    }
}

impl Store for SqliteStore {
    fn attach(&self, origins: &[Name], follows: Follows) -> Result<Option<Attached>, Error> {
        match &self.0 {
            Kept::One(shard) => shard.attach(origins, follows),
            Kept::Many(family) => tracked::attach(family, origins, follows).map(Some),
        }
    }

    fn claims(&self) -> Option<Arc<dyn Claims>> {
        match &self.0 {
            Kept::One(shard) => shard.claims(),
            Kept::Many(family) => {
                let claims: Option<Vec<_>> = family.shards.iter().map(Store::claims).collect();
                Some(Arc::new(Claiming { files: claims? }))
            }
        }
    }

    fn get<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        self.of(region, key).get(region, key)
    }

    fn put<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        record: Vec<u8>,
        until: Option<WallMillis>,
        fence: Fence,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        self.of(region, key).put(region, key, record, until, fence)
    }

    fn remove<'a>(&'a self, region: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<bool, Error>> {
        self.of(region, key).remove(region, key)
    }
}

/// The claims of all files in the hands of one cache.
#[derive(Debug)]
struct Claiming {
    files: Vec<Arc<dyn Claims>>,
}

impl Claiming {
    fn of(&self, region: &str, key: &[u8]) -> &dyn Claims {
        let place = place_of(region, RowKey::Bytes(key), self.files.len());
        &**self.files.get(place).expect("a place is below the number of files")
    }
}

impl Claims for Claiming {
    fn holder<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<WallMillis>, Error>> {
        self.of(region, key).holder(region, key)
    }

    fn take<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        deadline: WallMillis,
        patience: Patience,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        self.of(region, key).take(region, key, deadline, patience)
    }

    fn beat<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        self.of(region, key).beat(region, key, claim)
    }

    fn give_back<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.of(region, key).give_back(region, key, claim)
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        // In whichever file: it is a hint, and may come too often.
        let mut waited: Vec<_> = self.files.iter().map(|claims| claims.next_commit()).collect();
        Box::pin(std::future::poll_fn(move |context| {
            let mut any = false;
            for one in &mut waited {
                any |= one.as_mut().poll(context).is_ready();
            }
            if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }))
    }
}
