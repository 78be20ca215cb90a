//! `larder cache ls`, `tags`, `stats` and `top`: what is there.
//!
//! **Invariant**: looking counts as no read, and what has expired is never shown (SD9).

use std::cmp::Reverse;

use anyhow::Result;
use larder::Clock;
use larder_core::clock::WallMillis;
use serde_json::{Value, json};

use crate::{
    cli::{AtStore, Ls, Selection, Tags, Top, TopBy},
    exit::Exit,
    say,
};

use super::{
    super::shown,
    answer::{number, text},
    place::Place,
};

/// Entries that are read from the store at a time.
pub(super) const PAGE: usize = 1000;

pub(super) async fn ls(at: &AtStore, arguments: &Ls) -> Result<Exit> {
    let (store, region) = (at.place().await?, &*arguments.place.region);
    let (limit, after) = (arguments.limit.max(1), arguments.after.as_deref());
    let (page, next) = store.page(region, &arguments.which, after, limit).await?;
    if at.json {
        say!("{:#}", json!({ "entries": page, "next": next }));
        return Ok(Exit::Done);
    }
    if page.is_empty() {
        let is_everything = arguments.which == Selection::default() && after.is_none();
        let what = if is_everything { "entries" } else { "such entries" };
        return say_nothing_there(&store, region, what).await;
    }
    let now = Clock::system().wall();
    let row = |entry: &Value| {
        let tags = entry.get("tags").and_then(Value::as_array).into_iter().flatten();
        let tags: Vec<String> = tags.filter_map(Value::as_str).map(shown::text).collect();
        [
            text(entry, "key"),
            text(entry, "kind"),
            shown::size(number(entry, "size_bytes")),
            lasts(entry, now),
            number(entry, "access_count").to_string(),
            tags.join(", "),
        ]
    };
    let rows: Vec<_> = page.iter().map(row).collect();
    shown::columns(["key", "kind", "size", "expires in", "reads", "tags"], &rows);
    say_more(next.as_deref());
    Ok(Exit::Done)
}

fn moment(of: &Value, name: &str) -> WallMillis {
    WallMillis(number(of, name))
}

fn lasts(entry: &Value, now: WallMillis) -> String {
    let expires = entry.get("expires_ms").and_then(Value::as_u64).map(WallMillis);
    let left = expires.map(|expires| shown::span(expires.since(now)));
    let left = left.unwrap_or_else(|| "never".to_owned());
    match entry.get("pinned") {
        Some(Value::Bool(true)) => left + ", pinned",
        _ => left,
    }
}

fn say_more(next: Option<&str>) {
    if let Some(next) = next {
        say!("more with --after {}", shown::text(next));
    }
}

/// Says that there is nothing of what was asked for, and where entries are.
async fn say_nothing_there(store: &Place, region: &str, what: &str) -> Result<Exit> {
    say!("no {what} in region `{}`", shown::text(region));
    // Who may not see the statistics of a server is told as much as may be.
    let names = store.regions().await.unwrap_or_default();
    if !names.iter().any(|name| name == region) && !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| shown::text(name)).collect();
        say!("there are entries in: {} (choose with --region)", names.join(", "));
    }
    Ok(Exit::Done)
}

pub(super) async fn tags(at: &AtStore, arguments: &Tags) -> Result<Exit> {
    let (store, region) = (at.place().await?, &*arguments.place.region);
    let (limit, after) = (arguments.limit.max(1), arguments.after.as_deref());
    let (tags, next) = store.tags(region, after, limit).await?;
    if at.json {
        say!("{:#}", json!({ "region": region, "tags": tags, "next": next }));
        return Ok(Exit::Done);
    }
    if tags.is_empty() {
        return say_nothing_there(&store, region, "tags").await;
    }
    let row = |tag: &Value| {
        let (entries, reads) = (number(tag, "entries"), number(tag, "reads"));
        let size = shown::size(number(tag, "bytes"));
        [text(tag, "tag"), entries.to_string(), size, reads.to_string()]
    };
    let rows: Vec<_> = tags.iter().map(row).collect();
    shown::columns(["tag", "entries", "size", "reads"], &rows);
    say_more(next.as_deref());
    Ok(Exit::Done)
}

pub(super) async fn stats(at: &AtStore) -> Result<Exit> {
    let store = at.place().await?;
    let stats = store.stats().await?;
    if at.json {
        say!("{stats:#}");
        return Ok(Exit::Done);
    }
    say!("entries          {}", number(&stats, "entries"));
    say!("keys and values  {}", shown::size(number(&stats, "bytes")));
    say!("file             {}", shown::size(number(&stats, "file_bytes")));
    if let Some(files) = stats.get("value_files").filter(|files| 0 < number(files, "count")) {
        let (count, size) = (number(files, "count"), shown::size(number(files, "bytes")));
        say!("value files      {count}, {size} of the keys and values");
    }
    let regions = stats.get("regions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match &store {
        Place::Here(_) => {
            say!();
            contents(regions);
            say!();
            say!(
                "reads and evictions are counted by the process that serves it: ask with --server"
            );
        }
        Place::There(_) => {
            for (name, counter) in
                [("expired", "expired"), ("evicted", "evicted"), ("removed", "removed")]
            {
                say!("{name:15}  {}", number(&stats, counter));
            }
            say!("hit rate         {}", rate(&stats, "hit_rate", ["hits", "misses"]));
            let recent = rate(&stats, "hit_rate_recent", ["hits_recent", "misses_recent"]);
            say!("last 5 minutes   {recent}");
            say!();
            activity(regions);
        }
    }
    let left_out = number(&stats, "regions_left_out");
    if 0 < left_out {
        say!("{left_out} more regions are left out");
    }
    Ok(Exit::Done)
}

/// What is in each region.
fn contents(regions: &[Value]) {
    let row = |region: &Value| {
        let (own, of_caches) = (number(region, "entries"), number(region, "entries_of_caches"));
        let size = shown::size(number(region, "bytes"));
        [text(region, "region"), own.to_string(), of_caches.to_string(), size]
    };
    let rows: Vec<_> = regions.iter().map(row).collect();
    shown::columns(["region", "entries", "entries of caches", "size"], &rows);
}

/// The same, with what was done there.
fn activity(regions: &[Value]) {
    let row = |region: &Value| {
        [
            text(region, "region"),
            number(region, "entries").to_string(),
            number(region, "entries_of_caches").to_string(),
            shown::size(number(region, "bytes")),
            rate(region, "hit_rate", ["hits", "misses"]),
            rate(region, "hit_rate_recent", ["hits_recent", "misses_recent"]),
            number(region, "expired").to_string(),
            number(region, "evicted").to_string(),
        ]
    };
    let rows: Vec<_> = regions.iter().map(row).collect();
    let head = [
        "region",
        "entries",
        "of caches",
        "size",
        "hit rate",
        "last 5 minutes",
        "expired",
        "evicted",
    ];
    shown::columns(head, &rows);
}

/// `75 % of 4`, or that nothing was read.
fn rate(of: &Value, name: &str, [hits, misses]: [&str; 2]) -> String {
    match number(of, hits) + number(of, misses) {
        0 => "no reads".to_owned(),
        reads => {
            let rate = of.get(name).and_then(Value::as_f64).unwrap_or(0.0) * 100.0;
            format!("{rate:.0} % of {reads}")
        }
    }
}

pub(super) async fn top(at: &AtStore, arguments: &Top) -> Result<Exit> {
    let store = at.place().await?;
    let regions = match &arguments.region {
        Some(region) => vec![region.clone()],
        None => store.regions().await?,
    };
    let mut best: Vec<Value> = Vec::new();
    for region in &regions {
        let everything = Selection::default();
        let mut pages = Pages::new(&store, region, &everything);
        while let Some(page) = pages.next().await? {
            best.extend(page);
            sort(&mut best, arguments.by);
            best.truncate(arguments.limit);
        }
    }
    if at.json {
        say!("{:#}", json!({ "entries": best }));
        return Ok(Exit::Done);
    }
    let now = Clock::system().wall();
    let row = |entry: &Value| {
        [
            number(entry, "access_count").to_string(),
            shown::size(number(entry, "size_bytes")),
            shown::span(now.since(moment(entry, "created_ms"))),
            shown::span(now.since(moment(entry, "accessed_ms"))),
            text(entry, "region"),
            text(entry, "key"),
        ]
    };
    let rows: Vec<_> = best.iter().map(row).collect();
    shown::columns(["reads", "size", "age", "idle", "region", "key"], &rows);
    Ok(Exit::Done)
}

fn sort(best: &mut [Value], by: TopBy) {
    match by {
        TopBy::Reads => best.sort_by_key(|entry| Reverse(number(entry, "access_count"))),
        TopBy::Size => best.sort_by_key(|entry| Reverse(number(entry, "size_bytes"))),
        TopBy::Age => best.sort_by_key(|entry| number(entry, "created_ms")),
        TopBy::Idle => best.sort_by_key(|entry| number(entry, "accessed_ms")),
    }
}

/// All entries that a selection names, a page at a time.
pub(super) struct Pages<'a> {
    store: &'a Place,
    region: &'a str,
    which: &'a Selection,
    after: Option<String>,
    is_end: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(store: &'a Place, region: &'a str, which: &'a Selection) -> Self {
        Self { store, region, which, after: None, is_end: false }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>> {
        if self.is_end {
            return Ok(None);
        }
        let page = self.store.page(self.region, self.which, self.after.as_deref(), PAGE);
        let (page, next) = page.await?;
        (self.is_end, self.after) = (next.is_none(), next);
        Ok(Some(page))
    }
}
