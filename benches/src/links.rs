//! What a link costs in memory: by the tier's own count, and by what the process really takes.
//!
//! Each case is measured in two processes of their own, this program again. One keeps entries that
//! are linked; the other the same entries unlinked and their lists of dependencies beside them. So
//! what differs is the links alone. **Invariant**: when the entries are gone no link is left, and
//! no byte of them; the run fails otherwise.

use std::{fs, io::Read as _, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use larder_core::{
    Clock, Dependency, DependencySet, Key, KeyEncoder, Moment, Name, Position, Stamps,
    freshness::Policy,
};
use larder_memory::{Cause, Inserted, MemoryLimit, MemoryTier, NewEntry};
use serde::{Deserialize, Serialize};

use crate::{report::Row, writer};

/// The first argument of a process that holds entries.
pub(crate) const HOLDER: &str = "links";

/// Dependencies in all: just above where the tables of 64 shards double, which is their worst.
const DEPENDENCIES: u64 = 1_000_000;

/// What the entries of a case depend on.
struct Case {
    name: &'static str,
    /// Dependencies of one entry.
    each: u64,
    dependency: fn(&Names, u64) -> Dependency,
}

struct Names {
    timeline: Name,
    table: Name,
}

const CASES: [Case; 4] = [
    Case {
        name: "a tag of its own",
        each: 1,
        dependency: |_, number| Dependency::tag(format!("tag {number}")),
    },
    Case { name: "a row of its own", each: 1, dependency: Names::row },
    Case { name: "100 rows of its own", each: 100, dependency: Names::row },
    Case {
        name: "10 rows of 1000 that are shared",
        each: 10,
        // A step that has no factor in common with the thousand: ten neighbours differ.
        dependency: |names, number| names.row(number * 37 % 1_000),
    },
];

impl Names {
    fn row(&self, number: u64) -> Dependency {
        let key = [number.cast_signed()];
        Dependency::id(self.timeline.clone(), self.table.clone(), key)
    }
}

/// What one process found.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    links: u64,
    link_bytes: u64,
    resident_bytes: u64,
    /// Of `links` and `link_bytes`, once every entry was invalidated or removed.
    left: (u64, u64),
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let linked = held(number as u64, Linked::Yes)?;
        let unlinked = held(number as u64, Linked::No)?;
        ensure!(linked.left == (0, 0), "links and bytes that are left: {:?}", linked.left);
        let links = linked.links as f64;
        let own = linked.resident_bytes.saturating_sub(unlinked.resident_bytes) as f64 / links;
        let counted = linked.link_bytes as f64 / links;
        let name = format!("links/{}", case.name);
        rows.push(Row::alone(name.clone(), own, "B/link", 1).against("counted", counted));
        // Every entry has links to what others have too, which are cheap: this hides nothing.
        let dependency = counted * links / DEPENDENCIES as f64;
        rows.push(Row::alone(format!("{name}/all for a dependency"), dependency, "B", 1));
        rows.push(Row::alone(format!("{name}/left"), linked.left.0 as f64, "links", 1));
    }
    Ok(rows)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Linked {
    Yes,
    No,
}

fn held(case: u64, linked: Linked) -> Result<Held> {
    let mut child = writer::start(&[HOLDER], None, &[case, u64::from(linked == Linked::Yes)])?;
    let mut text = String::new();
    child.output()?.read_to_string(&mut text)?;
    serde_json::from_str(&text).with_context(|| format!("the holder said: {text}"))
}

/// What the process does that holds the entries of `case`.
pub(crate) fn hold(case: usize, linked: u64) -> Result<()> {
    let Some(case) = CASES.get(case) else { bail!("there is no case {case}") };
    let names = Names { timeline: "shop".into(), table: "Article".into() };
    let tier = MemoryTier::new(MemoryLimit::bytes(4 << 30), Clock::system());
    let entries = DEPENDENCIES / case.each;
    let mut beside: Vec<Box<DependencySet>> = Vec::with_capacity(usize::try_from(entries)?);
    let before = resident()? + (beside.capacity() * size_of::<usize>()) as u64;
    for entry in 0..entries {
        let numbers = entry * case.each..(entry + 1) * case.each;
        let set: DependencySet = numbers.map(|n| (case.dependency)(&names, n)).collect();
        if linked == 1 {
            put(&tier, entry, set)?;
        } else {
            // A box, as the tier keeps it; and touched, as what was reserved for it.
            beside.push(Box::new(set));
            put(&tier, entry, DependencySet::new())?;
        }
    }
    tier.settle();
    let reserved = if linked == 1 { beside.capacity() * size_of::<usize>() } else { 0 } as u64;
    let resident_bytes = (resident()? + reserved).saturating_sub(before);
    let stats = tier.stats();
    let left = empty(&tier, case, &names, entries);
    let (links, link_bytes) = (stats.links, stats.link_bytes);
    let held = Held { links, link_bytes, resident_bytes, left };
    drop(beside);
    println!("{}", serde_json::to_string(&held)?);
    Ok(())
}

/// Lets half of the entries fall by what they depend on and removes the others: what is left.
fn empty(tier: &MemoryTier, case: &Case, names: &Names, entries: u64) -> (u64, u64) {
    let cause = Cause { timeline: "shop".into(), position: Position(1), what: "the bench".into() };
    for entry in (0..entries).step_by(2) {
        let dependency = (case.dependency)(names, entry * case.each);
        tier.invalidate(&[dependency.digest()], &cause);
    }
    for entry in 0..entries {
        tier.remove(key(entry).as_slice());
    }
    tier.settle();
    let stats = tier.stats();
    (stats.links, stats.link_bytes)
}

fn key(number: u64) -> larder_core::KeyBytes {
    let mut encoder = KeyEncoder::new(1);
    number.encode(&mut encoder);
    encoder.finish()
}

fn put(tier: &MemoryTier, number: u64, dependencies: DependencySet) -> Result<()> {
    let policy = Policy::new(None).context("to never expire is fine")?;
    let entry = NewEntry {
        key: key(number),
        value: Arc::new(number),
        value_bytes: size_of::<u64>(),
        deadlines: policy.deadlines(Clock::system().now(), Moment::NEVER),
        dependencies,
        stamps: Stamps::new(),
        pass: tier.pass(["app", "shop"]),
    };
    let inserted = tier.insert(entry, || true);
    ensure!(inserted == Inserted::Stored, "entry {number} was not stored: {inserted:?}");
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("the kernel tells the resident memory")?.parse::<u64>()? * 1024)
}
