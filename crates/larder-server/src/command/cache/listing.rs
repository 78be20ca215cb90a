//! `larder cache ls`, `tags`, `stats` and `top`: what is there.
//!
//! **Invariant**: looking counts as no read, and what has expired is never shown (SD9).

use std::cmp::Reverse;

use anyhow::Result;
use larder::Clock;
use larder_core::clock::WallMillis;
use larder_sqlite::store::{Entries, Meta, Pattern, Select, SqliteStore};
use serde_json::{Value, json};

use crate::{
    cli::{AtStore, Ls, Tags, Top, TopBy},
    entry,
    exit::Exit,
    say,
};

use super::super::shown;

/// Entries that are read from the store at a time.
pub(super) const PAGE: usize = 1000;

pub(super) async fn ls(at: &AtStore, arguments: &Ls) -> Result<Exit> {
    let (store, region) = (at.open().await?, &*arguments.place.region);
    let limit = arguments.limit.max(1);
    let (select, after) = (arguments.which.select(), arguments.after.as_deref());
    let mut page = store.entries(region).page(&select, after, limit + 1).await?;
    let is_more = limit < page.len();
    page.truncate(limit);
    let next = page.last().map(|(key, _)| key.clone()).filter(|_| is_more);
    if at.json {
        let lines: Vec<_> =
            page.iter().map(|(key, meta)| entry::known(region, key, meta)).collect();
        say!("{:#}", json!({ "entries": lines, "next": next }));
        return Ok(Exit::Done);
    }
    if page.is_empty() {
        return say_nothing_there(&store, region).await;
    }
    let now = Clock::system().wall();
    let row = |(key, meta): &(String, Meta)| {
        let tags: Vec<String> = meta.tags.iter().map(|tag| shown::text(tag)).collect();
        [
            shown::text(key),
            meta.kind.as_str().to_owned(),
            shown::size(meta.size_bytes),
            lasts(meta, now),
            meta.access_count.to_string(),
            tags.join(", "),
        ]
    };
    let rows: Vec<_> = page.iter().map(row).collect();
    shown::columns(["key", "kind", "size", "expires in", "reads", "tags"], &rows);
    if let Some(next) = next {
        say!("more with --after {}", shown::text(&next));
    }
    Ok(Exit::Done)
}

fn lasts(meta: &Meta, now: WallMillis) -> String {
    let left = meta.expires.map(|expires| shown::span(expires.since(now)));
    let left = left.unwrap_or_else(|| "never".to_owned());
    if meta.is_pinned { left + ", pinned" } else { left }
}

/// Says that there is nothing, and where something is.
async fn say_nothing_there(store: &SqliteStore, region: &str) -> Result<Exit> {
    say!("no entries in region `{}`", shown::text(region));
    let names = store.regions().await?;
    if !names.iter().any(|name| name == region) && !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| shown::text(name)).collect();
        say!("there are entries in: {} (choose with --region)", names.join(", "));
    }
    Ok(Exit::Done)
}

pub(super) async fn tags(at: &AtStore, arguments: &Tags) -> Result<Exit> {
    let (store, region) = (at.open().await?, &*arguments.place.region);
    let limit = arguments.limit.max(1);
    let mut tags = store.entries(region).tags(arguments.after.as_deref(), limit + 1).await?;
    let is_more = limit < tags.len();
    tags.truncate(limit);
    let next = tags.last().map(|(tag, _)| tag.clone()).filter(|_| is_more);
    if at.json {
        let tag = |(tag, count): &(String, u64)| json!({ "tag": tag, "entries": count });
        let tags: Vec<_> = tags.iter().map(tag).collect();
        say!("{:#}", json!({ "region": region, "tags": tags, "next": next }));
        return Ok(Exit::Done);
    }
    if tags.is_empty() {
        return say_nothing_there(&store, region).await;
    }
    let row = |(tag, count): &(String, u64)| [shown::text(tag), count.to_string()];
    shown::columns(["tag", "entries"], &tags.iter().map(row).collect::<Vec<_>>());
    if let Some(next) = next {
        say!("more with --after {}", shown::text(&next));
    }
    Ok(Exit::Done)
}

pub(super) async fn stats(at: &AtStore) -> Result<Exit> {
    let store = at.open().await?;
    let stats = store.stats().await?;
    let file = std::fs::metadata(store.path()).map_or(0, |file| file.len());
    let mut regions = Vec::new();
    for name in store.regions().await? {
        let entries = store.entries(&*name);
        let all = entries.count(&Select::everything()).await?;
        let keyed = entries.count(&Select::everything().matching(Pattern::glob("*"))).await?;
        regions.push((name, keyed, all.saturating_sub(keyed)));
    }
    if at.json {
        let regions: Vec<Value> = regions.iter().map(region).collect();
        let (entries, bytes) = (stats.entries, stats.bytes);
        let value_files = json!({ "count": stats.files, "bytes": stats.file_bytes });
        let stats = json!({
            "entries": entries, "bytes": bytes, "file_bytes": file,
            "value_files": value_files, "regions": regions,
        });
        say!("{stats:#}");
        return Ok(Exit::Done);
    }
    say!("entries          {}", stats.entries);
    say!("keys and values  {}", shown::size(stats.bytes));
    say!("file             {}", shown::size(file));
    if 0 < stats.files {
        let size = shown::size(stats.file_bytes);
        say!("value files      {}, {size} of the keys and values", stats.files);
    }
    say!();
    let row = |(name, keyed, encoded): &(String, u64, u64)| {
        [shown::text(name), keyed.to_string(), encoded.to_string()]
    };
    shown::columns(
        ["region", "entries", "entries of caches"],
        &regions.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(Exit::Done)
}

/// A region with the number of its entries, and of those that a cache keeps in it.
fn region((name, keyed, encoded): &(String, u64, u64)) -> Value {
    json!({ "region": name, "entries": keyed, "entries_of_caches": encoded })
}

/// An entry that may be shown: where it is, its key, and what is known of it.
type Ranked = (String, String, Meta);

pub(super) async fn top(at: &AtStore, arguments: &Top) -> Result<Exit> {
    let store = at.open().await?;
    let regions = match &arguments.region {
        Some(region) => vec![region.clone()],
        None => store.regions().await?,
    };
    let mut best: Vec<Ranked> = Vec::new();
    for region in regions {
        let entries = store.entries(&*region);
        let mut pages = Pages::new(entries, Select::everything());
        while let Some(page) = pages.next().await? {
            best.extend(page.into_iter().map(|(key, meta)| (region.clone(), key, meta)));
            sort(&mut best, arguments.by);
            best.truncate(arguments.limit);
        }
    }
    if at.json {
        let line = |(region, key, meta): &Ranked| entry::known(region, key, meta);
        say!("{:#}", json!({ "entries": best.iter().map(line).collect::<Vec<_>>() }));
        return Ok(Exit::Done);
    }
    let now = Clock::system().wall();
    let row = |(region, key, meta): &Ranked| {
        [
            meta.access_count.to_string(),
            shown::size(meta.size_bytes),
            shown::span(now.since(meta.created)),
            shown::span(now.since(meta.accessed)),
            shown::text(region),
            shown::text(key),
        ]
    };
    let rows: Vec<_> = best.iter().map(row).collect();
    shown::columns(["reads", "size", "age", "idle", "region", "key"], &rows);
    Ok(Exit::Done)
}

fn sort(best: &mut [Ranked], by: TopBy) {
    match by {
        TopBy::Reads => best.sort_by_key(|(.., meta)| Reverse(meta.access_count)),
        TopBy::Size => best.sort_by_key(|(.., meta)| Reverse(meta.size_bytes)),
        TopBy::Age => best.sort_by_key(|(.., meta)| meta.created),
        TopBy::Idle => best.sort_by_key(|(.., meta)| meta.accessed),
    }
}

/// All entries that a selection names, a page at a time.
pub(super) struct Pages {
    entries: Entries,
    select: Select,
    after: Option<String>,
}

impl Pages {
    pub(super) fn new(entries: Entries, select: Select) -> Self {
        Self { entries, select, after: None }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<(String, Meta)>>> {
        let page = self.entries.page(&self.select, self.after.as_deref(), PAGE).await?;
        self.after = page.last().map(|(key, _)| key.clone());
        Ok(self.after.is_some().then_some(page))
    }
}
