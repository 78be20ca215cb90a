//! Where a command finds the entries: in a file, or behind a running server.
//!
//! Both give the same JSON, so that a command prints the same for both. **Invariant**: what can be
//! asked of one only is not here: it says so, and how it can be done.

use anyhow::{Context as _, Result, anyhow, bail};
use larder::Clock;
use larder_core::{Error, ErrorKind};
use larder_sqlite::store::{Finished, Lifetime, Meta, NewEntry, SqliteStore, Stored};
use serde_json::Value;

use crate::{
    batch::Batch,
    cli::{AtStore, Selection},
    config::Span,
    entry,
    fence::Fences,
    problem::Problem,
    stats,
};

use super::remote::{Put, Remote};

/// Entries of a file that are read with their values at a time: few, because each may be large.
const WHOLE: usize = 100;

/// Bytes of values in one answer about a file.
const ANSWER_BYTES: u64 = 8 << 20;

/// The word for what was not written because it was removed since it was begun.
pub(super) const OVERTAKEN: &str = "overtaken";

/// Where the entries are.
#[derive(Debug)]
pub(super) enum Place {
    /// In a file of this machine.
    Here(SqliteStore),
    /// Behind a server.
    There(Remote),
}

/// An entry that is to be written.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) region: &'a str,
    pub(super) key: &'a str,
    pub(super) value: Stored,
    pub(super) lifetime: Lifetime,
    pub(super) tags: &'a [String],
    pub(super) is_pinned: bool,
    pub(super) is_add: bool,
    /// What `begin` gave.
    pub(super) begun: Option<&'a str>,
}

impl AtStore {
    /// What there is to be looked at.
    pub(super) async fn place(&self) -> Result<Place> {
        match self.remote()? {
            Some(remote) => Ok(Place::There(remote)),
            None => Ok(Place::Here(self.open().await.inspect_err(say_what_helps)?)),
        }
    }

    /// The same, made if there is none.
    pub(super) async fn place_or_make(&self) -> Result<Place> {
        match self.remote()? {
            Some(remote) => Ok(Place::There(remote)),
            None => Ok(Place::Here(self.open_or_make().await?)),
        }
    }

    /// The server that was named.
    pub(super) fn remote(&self) -> Result<Option<Remote>> {
        let url = self.server.as_deref();
        // clap looks at what must not stand together before it knows of options left of a command.
        if url.is_some() && self.store.is_some() {
            bail!("name a file with --store or a server with --server, not both");
        }
        if url.is_none() && self.token_file.is_some() {
            bail!("--token-file is for a server: name it with --server");
        }
        url.map(|url| Remote::at(url, self.token_file.as_deref())).transpose()
    }
}

/// Whoever meets a broken store here may not know the commands that mend it.
fn say_what_helps(error: &anyhow::Error) {
    if error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Corrupt) {
        eprintln!(
            "the store is corrupt: `larder cache check` says how, `larder cache backups` lists \
             backups, and `larder cache restore` puts one in its place"
        );
    }
}

impl Place {
    /// At most `limit` entries as `known` shows them, and the key after which the next are.
    pub(super) async fn page(
        &self,
        region: &str,
        which: &Selection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let store = match self {
            Self::There(remote) => return remote.page(region, which, after, limit),
            Self::Here(store) => store,
        };
        let mut page = store.entries(region).page(&which.select(), after, limit + 1).await?;
        let is_more = limit < page.len();
        page.truncate(limit);
        let next = page.last().map(|(key, _)| key.clone()).filter(|_| is_more);
        let known = |(key, meta): &(String, Meta)| entry::known(region, key, meta);
        Ok((page.iter().map(known).collect(), next))
    }

    /// Some entries with their values, and the key after which the next are.
    pub(super) async fn whole(
        &self,
        region: &str,
        which: &Selection,
        after: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let store = match self {
            Self::There(remote) => return remote.whole(region, which, after),
            Self::Here(store) => store,
        };
        let (page, next) = self.page(region, which, after, WHOLE).await?;
        let mut entries = Vec::with_capacity(page.len());
        for key in page.iter().filter_map(|known| known.get("key")?.as_str()) {
            // It may have gone since it was listed.
            let found = store.entries(region).entry(key).await?;
            entries.extend(found.map(|found| entry::whole(region, &found)));
        }
        Ok((entries, next))
    }

    /// At most `limit` tags, and the one after which the next are.
    pub(super) async fn tags(
        &self,
        region: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let store = match self {
            Self::There(remote) => return remote.tags(region, after, limit),
            Self::Here(store) => store,
        };
        let mut tags = store.entries(region).tag_stats(after, limit + 1).await?;
        let is_more = limit < tags.len();
        tags.truncate(limit);
        let next = tags.last().map(|tag| tag.name.clone()).filter(|_| is_more);
        Ok((tags.iter().map(entry::tag).collect(), next))
    }

    /// The whole entry under `key`.
    pub(super) async fn entry(&self, region: &str, key: &str) -> Result<Option<Value>> {
        match self {
            Self::There(remote) => remote.entry(region, key),
            Self::Here(store) => {
                let found = store.entries(region).entry(key).await?;
                Ok(found.map(|found| entry::whole(region, &found)))
            }
        }
    }

    pub(super) async fn contains(&self, region: &str, key: &str) -> Result<bool> {
        match self {
            Self::There(remote) => remote.contains(region, key),
            Self::Here(store) => Ok(store.entries(region).contains(key).await?),
        }
    }

    /// Writes an entry; whether it was inserted, replaced or left alone.
    pub(super) async fn put(&self, new: New<'_>) -> Result<String> {
        let New { region, key, value, lifetime, tags, is_pinned, is_add, begun } = new;
        let store = match self {
            Self::There(remote) => {
                let (ttl, kind, bytes) = (written(lifetime), value.kind, &*value.bytes);
                let ttl = &ttl;
                let put = Put { region, key, kind, bytes, ttl, tags, is_pinned, is_add, begun };
                return remote.put(&put);
            }
            Self::Here(store) => store,
        };
        let mut entry = NewEntry::new(value, lifetime).tags(tags.to_vec());
        if is_pinned {
            entry = entry.pinned();
        }
        let entries = store.entries(region).durable();
        let placed = match (begun, is_add) {
            (None, true) => entries.add(key, entry).await?,
            (None, false) => entries.insert(key, entry).await?,
            (Some(text), _) => {
                let fence = of_files().read(text, region, key).context(
                    "this is not what `larder cache begin` gave for this key and region of a file",
                )?;
                let begun = entries.begun(key, fence);
                let finished = match is_add {
                    true => begun.finish_if_absent(entry).await?,
                    false => begun.finish(entry).await?,
                };
                match finished {
                    Finished::Placed(placed) => placed,
                    _ => return Ok(OVERTAKEN.to_owned()),
                }
            }
        };
        Ok(entry::placed(placed).to_owned())
    }

    /// What the value that is computed from now on is to be written with.
    pub(super) async fn begin(&self, region: &str, key: &str) -> Result<String> {
        match self {
            Self::There(remote) => remote.begin(region, key),
            Self::Here(store) => {
                let begun = store.entries(region).begin(key).await?;
                Ok(of_files().seal(begun.fence(), region, key))
            }
        }
    }

    /// What became of each item of a batch, which is what a server takes.
    pub(super) async fn batch(&self, body: &Value) -> Result<Vec<Value>> {
        let mut answer = match self {
            Self::There(remote) => remote.batch(body)?,
            Self::Here(store) => {
                let text = body.to_string();
                let batch = Batch::read(serde_json::from_str(&text)?)
                    .map_err(|problem| in_words(&problem))?;
                let entries = store.entries(batch.region()).durable();
                let now = Clock::system().wall();
                batch.run(entries, now, ANSWER_BYTES).await.map_err(|problem| in_words(&problem))?
            }
        };
        match answer.get_mut("results") {
            Some(Value::Array(results)) => Ok(std::mem::take(results)),
            _ => bail!("the answer is not larder's"),
        }
    }

    pub(super) async fn remove(&self, region: &str, keys: &[String]) -> Result<u64> {
        match self {
            Self::There(remote) => remote.remove(region, keys),
            Self::Here(store) => {
                let removed = store.entries(region).durable().remove_many(keys).await?;
                Ok(removed.into_iter().filter(|was_there| *was_there).count() as u64)
            }
        }
    }

    pub(super) async fn count(&self, region: &str, which: &Selection) -> Result<u64> {
        match self {
            Self::There(remote) => remote.count(region, which),
            Self::Here(store) => Ok(store.entries(region).count(&which.select()).await?),
        }
    }

    pub(super) async fn remove_matching(&self, region: &str, which: &Selection) -> Result<u64> {
        match self {
            Self::There(remote) => remote.remove_matching(region, which),
            Self::Here(store) => {
                let entries = store.entries(region).durable();
                Ok(entries.remove_matching(&which.select()).await?)
            }
        }
    }

    /// Adds to a number; the sum.
    pub(super) async fn incr(
        &self,
        region: &str,
        key: &str,
        by: i64,
        lifetime: Lifetime,
    ) -> Result<i64> {
        match self {
            Self::There(remote) => remote.incr(region, key, by, &written(lifetime)),
            Self::Here(store) => {
                Ok(store.entries(region).durable().incr(key, by, lifetime).await?)
            }
        }
    }

    /// Prolongs a life; whether there was one.
    pub(super) async fn touch(&self, region: &str, key: &str, lifetime: Lifetime) -> Result<bool> {
        match self {
            Self::There(remote) => remote.touch(region, key, &written(lifetime)),
            Self::Here(store) => Ok(store.entries(region).durable().touch(key, lifetime).await?),
        }
    }

    /// How it is doing, as `GET /v1/stats` says it.
    pub(super) async fn stats(&self) -> Result<Value> {
        match self {
            Self::There(remote) => remote.stats(),
            Self::Here(store) => Ok(stats::of(store).await?),
        }
    }

    /// The names of all regions.
    pub(super) async fn regions(&self) -> Result<Vec<String>> {
        match self {
            Self::Here(store) => Ok(store.regions().await?),
            Self::There(remote) => {
                let stats = remote.stats()?;
                let regions = stats.get("regions").and_then(Value::as_array).into_iter().flatten();
                let name = |region: &Value| Some(region.get("region")?.as_str()?.to_owned());
                Ok(regions.filter_map(name).collect())
            }
        }
    }

    /// How many entries a list shows, and how many it cannot show, because a cache keeps them under
    /// keys of its own.
    pub(super) async fn keyed(&self, region: &str, which: &Selection) -> Result<(u64, u64)> {
        let all = self.count(region, which).await?;
        if which.pattern.is_some() || which.glob.is_some() {
            return Ok((all, 0));
        }
        let keyed = Selection { glob: Some("*".to_owned()), ..which.clone() };
        let keyed = self.count(region, &keyed).await?;
        Ok((keyed, all.saturating_sub(keyed)))
    }

    /// The file, for what is done with it as a whole.
    pub(super) fn file(self, done_by: &str) -> Result<SqliteStore> {
        match self {
            Self::Here(store) => Ok(store),
            Self::There(remote) => bail!(
                "{} does not do that for others: {done_by} (with --store FILE on its machine, \
                 also while it runs)",
                remote.url()
            ),
        }
    }
}

/// What signs the beginnings of a file. Nobody has to be kept out who can write the file: it only
/// tells the beginning of one entry from that of another.
fn of_files() -> Fences {
    Fences::new(&[0; 32])
}

/// What a server would have answered, as an error.
fn in_words(problem: &Problem) -> anyhow::Error {
    let items = problem.items();
    let detail = problem.detail();
    match items.is_empty() {
        true => anyhow!("{detail}"),
        false => anyhow!("{detail}: {}", items.join("; ")),
    }
}

/// A lifetime as a request says it.
pub(super) fn written(lifetime: Lifetime) -> String {
    match lifetime {
        Lifetime::For(span) => Span(span).to_string(),
        Lifetime::Until(_) | Lifetime::Forever => "never".to_owned(),
    }
}

/// A lifetime in words.
pub(super) fn spoken(lifetime: Lifetime) -> String {
    match lifetime {
        Lifetime::For(span) => format!("for {} from now", Span(span)),
        Lifetime::Until(_) | Lifetime::Forever => "until it is removed".to_owned(),
    }
}
