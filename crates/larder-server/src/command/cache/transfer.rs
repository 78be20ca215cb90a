//! `larder cache export` and `import`: entries as lines of JSON.
//!
//! **Invariant**: what was exported is imported as it was: value, kind, tags, deadline and pin. A
//! line that cannot be read ends the import, and says its number and what was imported before it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _, Write},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use indicatif::ProgressBar;
use larder::Clock;
use larder_sqlite::store::{Lifetime, NewEntry};
use serde_json::{Value, json};

use crate::{
    cli::{AtStore, Export, Import},
    entry::Line,
    exit::Exit,
    say,
};

use super::{
    super::shown,
    here,
    listing::PAGE,
    outlet::Outlet,
    place::{self, Place},
};

/// A line that is longer is no entry: values may have 64 MiB, and escapes make six bytes of one.
pub(super) const LINE_BYTES_MAX: u64 = 512 << 20;

/// Bytes of lines that become one commit.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes of lines in one request: a server takes no larger ones than values, and its limit is not
/// known here. A line that is longer goes alone.
pub(super) const REQUEST_BYTES: usize = 1 << 20;

pub(super) async fn export(at: &AtStore, arguments: &Export) -> Result<Exit> {
    let store = at.place().await?;
    let regions = match &arguments.region {
        Some(region) => vec![region.clone()],
        None => store.regions().await?,
    };
    let (mut total, mut keyless) = (0, 0);
    for region in &regions {
        let (keyed, others) = store.keyed(region, &arguments.which).await?;
        (total, keyless) = (total + keyed, keyless + others);
    }
    let bar = here::bar(total, "entries");
    let count = match &arguments.to {
        None => lines(&store, &regions, arguments, &bar, &mut std::io::stdout().lock()).await?,
        Some(path) => {
            let own = match &store {
                Place::Here(store) => store.paths(),
                Place::There(_) => Vec::new(),
            };
            let mut outlet = Outlet::at(path, &own)?;
            let count = lines(&store, &regions, arguments, &bar, outlet.writer()).await?;
            outlet.publish()?;
            count
        }
    };
    eprintln!("{} exported", shown::entries(count));
    if 0 < keyless {
        eprintln!("{} of caches left out: a backup holds them", shown::entries(keyless));
    }
    Ok(Exit::Done)
}

async fn lines(
    store: &Place,
    regions: &[String],
    arguments: &Export,
    bar: &ProgressBar,
    to: &mut dyn Write,
) -> Result<u64> {
    let mut count = 0;
    for region in regions {
        let mut after: Option<String> = None;
        loop {
            let (page, next) = store.whole(region, &arguments.which, after.as_deref()).await?;
            for entry in page {
                writeln!(to, "{entry}").context("cannot write a line")?;
                count += 1;
                bar.inc(1);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    to.flush().context("cannot write the lines")?;
    bar.finish_and_clear();
    Ok(count)
}

pub(super) async fn import(at: &AtStore, arguments: &Import) -> Result<Exit> {
    let done = match &arguments.from {
        None => read(at, arguments, &mut std::io::stdin().lock(), 0).await?,
        Some(path) => {
            let (mut file, length) = opened(path)?;
            read(at, arguments, &mut file, length).await?
        }
    };
    let Imported { written, expired } = done;
    if at.json {
        say!("{}", json!({ "imported": written, "expired": expired }));
        return Ok(Exit::Done);
    }
    say!("{} imported", shown::entries(written));
    if 0 < expired {
        say!("{} left out: their time is over", shown::entries(expired));
    }
    Ok(Exit::Done)
}

fn opened(path: &Path) -> Result<(BufReader<File>, u64)> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let length = file.metadata().with_context(cannot)?.len();
    Ok((BufReader::new(file), length))
}

#[derive(Default)]
struct Imported {
    written: u64,
    expired: u64,
}

async fn read(
    at: &AtStore,
    arguments: &Import,
    from: &mut dyn BufRead,
    length: u64,
) -> Result<Imported> {
    let (clock, otherwise) = (Clock::system(), arguments.living.lifetime());
    let store = at.place_or_make().await?;
    let ttl = otherwise.map(place::written);
    let bar = here::bar(length, "bytes");
    let mut done = Imported::default();
    let mut batch = Batch::default();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).context("cannot read a line")?;
        let is_end = line.is_empty();
        let parsed = match line.trim_ascii() {
            [] => None,
            text => Some(parse(text, &arguments.place.region, &clock, otherwise)),
        };
        match parsed {
            None => {}
            Some(Ok(Parsed { entry: None, .. })) => done.expired += 1,
            Some(Ok(Parsed { region, key, entry: Some(entry) })) => {
                if batch.region != region || !batch.has_room(&store, line.len()) {
                    done.written += batch.write(&store, ttl.as_deref()).await?;
                    batch.region = region;
                }
                batch.push(&store, key, entry, &line)?;
            }
            Some(Err(problem)) => {
                done.written += batch.write(&store, ttl.as_deref()).await?;
                let before = shown::entries(done.written);
                bail!("line {number} {problem}; {before} before it imported");
            }
        }
        if is_end || PAGE <= batch.count() || BATCH_BYTES <= batch.bytes {
            done.written += batch.write(&store, ttl.as_deref()).await?;
        }
        bar.inc(line.len() as u64);
        if is_end {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(done)
}

/// Where an entry belongs, its key, and what is to be written if its time is not over.
struct Parsed {
    region: String,
    key: String,
    entry: Option<NewEntry>,
}

fn parse(text: &[u8], region: &str, clock: &Clock, otherwise: Option<Lifetime>) -> Result<Parsed> {
    let mut line: Line =
        serde_json::from_slice(text).map_err(|error| anyhow!("is no entry: {error}"))?;
    let region = line.region.take().unwrap_or_else(|| region.to_owned());
    let key = std::mem::take(&mut line.key);
    let entry = line.entry(clock.wall(), otherwise).map_err(anyhow::Error::msg)?;
    Ok(Parsed { region, key, entry })
}

/// Entries of one region that become one commit.
#[derive(Default)]
struct Batch {
    region: String,
    bytes: usize,
    entries: Vec<(String, NewEntry)>,
    /// The lines, where a server reads them again.
    lines: Vec<Value>,
}

impl Batch {
    fn count(&self) -> usize {
        self.entries.len() + self.lines.len()
    }

    /// Whether a line of so many bytes can be part of it.
    fn has_room(&self, store: &Place, bytes: usize) -> bool {
        match store {
            Place::Here(_) => true,
            Place::There(_) => self.bytes + bytes <= REQUEST_BYTES,
        }
    }

    fn push(&mut self, store: &Place, key: String, entry: NewEntry, line: &[u8]) -> Result<()> {
        self.bytes += line.len();
        match store {
            Place::Here(_) => self.entries.push((key, entry)),
            Place::There(_) => {
                let mut line: Value = serde_json::from_slice(line).context("cannot read a line")?;
                if let Value::Object(members) = &mut line {
                    members.remove("region");
                }
                self.lines.push(line);
            }
        }
        Ok(())
    }

    async fn write(&mut self, store: &Place, ttl: Option<&str>) -> Result<u64> {
        self.bytes = 0;
        let (entries, lines) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.lines));
        match store {
            _ if entries.is_empty() && lines.is_empty() => Ok(0),
            Place::There(remote) => remote.import(&self.region, ttl, &lines),
            Place::Here(store) => {
                let written = store.entries(&*self.region).durable().insert_many(entries).await?;
                Ok(written.len() as u64)
            }
        }
    }
}
