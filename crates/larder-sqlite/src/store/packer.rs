//! What is done with a value before it waits for the writer: it is packed, or put into a file.
//!
//! Apart from `entries`, so that the one connection that writes is never busy with it; how it is
//! packed is said in `packing`, and what a file is in `values`. **Invariant**: what may not be
//! written because of its size is left as it is, for the writer to refuse.

use std::sync::Arc;

use larder_core::Error;

use super::{
    entries::{Entries, INLINE_BYTES},
    entry::NewEntry,
    options::Durability,
    values::Values,
};

impl Entries {
    /// Packs what is large, and writes into a file what is still large then, before it waits for
    /// the writer.
    pub(crate) async fn pack(&self, entry: NewEntry) -> Result<NewEntry, Error> {
        let pack = self.packer();
        match entry.whole_bytes {
            bytes if !pack.has_work(bytes) => Ok(entry),
            bytes if bytes <= INLINE_BYTES.min(pack.file_above) => pack.one(entry),
            _ => self.inner.pool.read(move |_| pack.one(entry)).await,
        }
    }

    pub(super) async fn pack_many(
        &self,
        entries: Vec<(String, NewEntry)>,
    ) -> Result<Vec<(String, NewEntry)>, Error> {
        let pack = self.packer();
        if !entries.iter().any(|(_, entry)| pack.has_work(entry.whole_bytes)) {
            return Ok(entries);
        }
        let one = move |(key, entry): (String, NewEntry)| Ok((key, pack.one(entry)?));
        self.inner.pool.read(move |_| entries.into_iter().map(one).collect()).await
    }

    fn packer(&self) -> Packer {
        let options = &self.inner.options;
        let durability = match options.durability {
            Durability::Durable => Durability::Durable,
            Durability::Relaxed => self.durability,
        };
        Packer {
            pack_above: self.compress_above,
            file_above: options.file_above,
            bytes_max: options.item_bytes_max(),
            values: self.inner.values.clone(),
            durability,
        }
    }
}

/// What is done with a value before it is written.
struct Packer {
    pack_above: u64,
    file_above: u64,
    bytes_max: u64,
    values: Arc<Values>,
    durability: Durability,
}

impl Packer {
    /// Whether there is anything to do with a value of so many bytes. One that may not be written
    /// is left alone.
    fn has_work(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max && self.pack_above.min(self.file_above) < bytes
    }

    /// Blocks for a value that has more bytes than may be in a row.
    fn one(&self, entry: NewEntry) -> Result<NewEntry, Error> {
        if !self.has_work(entry.whole_bytes) {
            return Ok(entry);
        }
        let entry = if self.pack_above < entry.whole_bytes { entry.packed() } else { entry };
        entry.filed(self.file_above, &self.values, self.durability)
    }
}
