//! How a store is doing as JSON: what `GET /v1/stats` answers and `larder cache stats` shows.
//!
//! One form for both, so that a file and a server are read alike. **Invariant**: what is counted of
//! entries is what is there; what is counted of reads and of what went is what this process did
//! since it opened the store.

use larder_core::Error;
use larder_sqlite::store::{Backup, Pattern, RegionStats, Select, SqliteStore};
use serde_json::{Value, json};

/// Regions that are shown each by itself.
const REGIONS_MAX: usize = 1000;

/// How `store` is doing, with each of its regions.
///
/// # Errors
/// Those of the store.
///
/// # Cost
/// Counts all entries, by their keys.
pub async fn of(store: &SqliteStore) -> Result<Value, Error> {
    let stats = store.stats().await?;
    let names = store.regions().await?;
    let mut regions = Vec::new();
    for name in names.iter().take(REGIONS_MAX) {
        let entries = store.entries(name.as_str());
        let all = entries.count(&Select::everything()).await?;
        let keyed = entries.count(&Select::everything().matching(Pattern::glob("*"))).await?;
        let of_caches = all.saturating_sub(keyed);
        regions.push(region(name, (keyed, of_caches), &entries.stats().await?));
    }
    Ok(json!({
        "entries": stats.entries,
        "bytes": stats.bytes,
        "file_bytes": file_bytes(store),
        "value_files": { "count": stats.files, "bytes": stats.file_bytes },
        "hits": stats.hits,
        "misses": stats.misses,
        "errors": stats.errors,
        "hit_rate": stats.hit_rate(),
        "hits_recent": stats.hits_recent,
        "misses_recent": stats.misses_recent,
        "hit_rate_recent": stats.hit_rate_recent(),
        "written": stats.written,
        "removed": stats.removed,
        "expired": stats.expired,
        "evicted": stats.evicted,
        "commits": stats.commits,
        "regions": regions,
        "regions_left_out": names.len().saturating_sub(REGIONS_MAX),
    }))
}

/// Bytes of all files of a store.
pub fn file_bytes(store: &SqliteStore) -> u64 {
    // The descriptor of another file would drop locks; asking for the length opens none.
    let bytes = |path| std::fs::metadata(path).map_or(0, |file| file.len());
    store.paths().iter().map(bytes).sum()
}

/// A backup with its name and its bytes, those of its value files included.
pub fn backup(backup: &Backup) -> Value {
    let name = backup.path.file_name().unwrap_or_default().to_string_lossy();
    json!({ "name": name, "taken_ms": backup.taken.0, "bytes": backup.bytes() })
}

/// One region, with the entries that people named and those that a cache keeps there.
fn region(name: &str, (keyed, of_caches): (u64, u64), stats: &RegionStats) -> Value {
    json!({
        "region": name,
        "entries": keyed,
        "entries_of_caches": of_caches,
        "bytes": stats.bytes,
        "hits": stats.hits,
        "misses": stats.misses,
        "errors": stats.errors,
        "hit_rate": stats.hit_rate(),
        "hits_recent": stats.hits_recent,
        "misses_recent": stats.misses_recent,
        "hit_rate_recent": stats.hit_rate_recent(),
        "written": stats.written,
        "removed": stats.removed,
        "expired": stats.expired,
        "evicted": stats.evicted,
    })
}
