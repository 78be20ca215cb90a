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
use larder::Clock;
use larder_sqlite::store::{NewEntry, Pattern, SqliteStore};
use serde_json::json;

use crate::{
    cli::{AtStore, Export, Import},
    entry::{self, Line},
    exit::Exit,
    say,
};

use super::{
    super::shown,
    here,
    listing::{PAGE, Pages},
    outlet::Outlet,
};

/// A line that is longer is no entry: values may have 64 MiB, and escapes make six bytes of one.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// Bytes of lines that become one commit.
const BATCH_BYTES: usize = 4 << 20;

pub(super) async fn export(at: &AtStore, arguments: &Export) -> Result<Exit> {
    let store = at.open().await?;
    let regions = match &arguments.region {
        Some(region) => vec![region.clone()],
        None => store.regions().await?,
    };
    let count = match &arguments.to {
        None => lines(&store, &regions, arguments, &mut std::io::stdout().lock()).await?,
        Some(path) => {
            let mut outlet = Outlet::at(path, store.path())?;
            let count = lines(&store, &regions, arguments, outlet.writer()).await?;
            outlet.publish()?;
            count
        }
    };
    let mut keyless = 0;
    for region in &regions {
        let entries = store.entries(&**region);
        let all = entries.count(&arguments.which.select()).await?;
        let keyed = arguments.which.select().matching(Pattern::glob("*"));
        if arguments.which.pattern.is_none() && arguments.which.glob.is_none() {
            keyless += all.saturating_sub(entries.count(&keyed).await?);
        }
    }
    eprintln!("{} exported", shown::entries(count));
    if 0 < keyless {
        eprintln!("{} of caches left out: a backup holds them", shown::entries(keyless));
    }
    Ok(Exit::Done)
}

async fn lines(
    store: &SqliteStore,
    regions: &[String],
    arguments: &Export,
    to: &mut dyn Write,
) -> Result<u64> {
    let mut total = 0;
    for region in regions {
        total += store.entries(&**region).count(&arguments.which.select()).await?;
    }
    let (bar, mut count) = (here::bar(total, "entries"), 0);
    for region in regions {
        let entries = store.entries(&**region);
        let mut pages = Pages::new(entries.clone(), arguments.which.select());
        while let Some(page) = pages.next().await? {
            for (key, _) in page {
                // It may have gone since it was listed.
                let Some(found) = entries.entry(&key).await? else { continue };
                writeln!(to, "{}", entry::whole(region, &found)).context("cannot write a line")?;
                count += 1;
                bar.inc(1);
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
    let store = at.open_or_make().await?;
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
            Some(Ok((_, _, None))) => done.expired += 1,
            Some(Ok((region, key, Some(entry)))) => {
                if batch.region != region {
                    done.written += batch.write(&store).await?;
                    batch.region = region;
                }
                batch.bytes += line.len();
                batch.entries.push((key, entry));
            }
            Some(Err(problem)) => {
                done.written += batch.write(&store).await?;
                let before = shown::entries(done.written);
                bail!("line {number} {problem}; {before} before it imported");
            }
        }
        if is_end || PAGE <= batch.entries.len() || BATCH_BYTES <= batch.bytes {
            done.written += batch.write(&store).await?;
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
type Parsed = (String, String, Option<NewEntry>);

fn parse(
    text: &[u8],
    region: &str,
    clock: &Clock,
    otherwise: Option<larder_sqlite::store::Lifetime>,
) -> Result<Parsed> {
    let mut line: Line =
        serde_json::from_slice(text).map_err(|error| anyhow!("is no entry: {error}"))?;
    let region = line.region.take().unwrap_or_else(|| region.to_owned());
    let key = std::mem::take(&mut line.key);
    let entry = line.entry(clock.wall(), otherwise).map_err(anyhow::Error::msg)?;
    Ok((region, key, entry))
}

/// Entries of one region that become one commit.
#[derive(Default)]
struct Batch {
    region: String,
    bytes: usize,
    entries: Vec<(String, NewEntry)>,
}

impl Batch {
    async fn write(&mut self, store: &SqliteStore) -> Result<u64> {
        self.bytes = 0;
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return Ok(0);
        }
        let written = store.entries(&*self.region).durable().insert_many(entries).await?;
        Ok(written.len() as u64)
    }
}
