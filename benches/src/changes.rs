//! How many changes a second one thread applies, by the number of scopes that are registered.
//!
//! Each change is an update of one row with both images, alone in its batch: the most work that a
//! feed can make of it. The scopes differ in their values (equality, in three schemes) or are short
//! stretches of a number (ranges), and an entry is linked to each. The sizes take turns, so that
//! growth is a ratio of one run. **Invariant**: every change that matches makes exactly one entry
//! fall, and no other does; the entry is put back outside the measured time.

use std::{ops::Bound, slice, sync::Arc};

use anyhow::{Result, ensure};
use larder_core::{
    Change, Clock, Dependency, Digest, Epoch, History, Key, KeyEncoder, Moment, Name, Position,
    RowChange, Span, Stamps, Value, freshness::Policy, history::DEFAULT_CAPACITY,
};
use larder_memory::{Cause, Inserted, MemoryLimit, MemoryTier, NewEntry};

use crate::{
    measure::{self, Random, median, nanos},
    report::Row,
};

const SCOPES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many of a hundred changes match.
const SHARES: [u64; 3] = [0, 1, 50];
const ROUNDS: usize = 9;
/// Changes between two refills: fewer match than the fewest scopes.
const CHUNK: u64 = 500;
/// Chunks in one round: some hundred milliseconds at the rate that is wanted.
const CHUNKS: u64 = 40;

/// How the scopes choose their rows.
#[derive(Clone, Copy)]
enum Kind {
    Equality,
    Ranges,
}

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in [Kind::Equality, Kind::Ranges] {
        rows.extend(case(kind)?);
    }
    Ok(rows)
}

fn case(kind: Kind) -> Result<Vec<Row>> {
    let mut worlds = SCOPES.map(|scopes| World::new(kind, scopes));
    let mut samples = SHARES.map(|_| SCOPES.map(|_| Rates::default()));
    for round in 0..=ROUNDS {
        for (share, samples) in SHARES.iter().zip(&mut samples) {
            for (world, samples) in worlds.iter_mut().zip(samples) {
                let (applied, swept) = world.round(*share)?;
                // The first round warms up.
                if round != 0 {
                    samples.applied.push(applied);
                    samples.swept.push(swept);
                }
            }
        }
    }
    let mut rows = Vec::new();
    for (share, samples) in SHARES.iter().zip(samples) {
        let mut smallest = None;
        for (scopes, Rates { applied, swept }) in SCOPES.iter().zip(samples) {
            let name = format!("changes/{}/{scopes} scopes/{share} % match", kind.name());
            let rate = median(applied);
            let row = Row::alone(name.clone(), rate, "k/s", ROUNDS);
            rows.push(row.against("1000 scopes", *smallest.get_or_insert(rate)));
            if *share == 50 {
                let name = format!("{name}, and swept");
                rows.push(Row::alone(name, median(swept), "k/s", ROUNDS));
            }
        }
    }
    Ok(rows)
}

/// Thousands of changes a second, of each round.
#[derive(Default)]
struct Rates {
    applied: Vec<f64>,
    /// Until the last entry that fell is cleared away.
    swept: Vec<f64>,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Ranges => "ranges",
        }
    }
}

/// One node's knowledge: its history, its entries, and the scopes they depend on.
struct World {
    kind: Kind,
    scopes: u64,
    timeline: Name,
    table: Name,
    columns: Arc<[Name]>,
    tier: MemoryTier,
    history: History,
    random: Random,
    next: u64,
}

impl World {
    fn new(kind: Kind, scopes: u64) -> Self {
        let timeline = Name::from("shop");
        let start = Position::START;
        let mut world = Self {
            kind,
            scopes,
            table: "Book".into(),
            columns: ["author", "id", "price", "shelf"].map(Name::from).into(),
            tier: MemoryTier::new(MemoryLimit::bytes(8 << 30), Clock::system()),
            history: History::new(timeline.clone(), Epoch(1), start, DEFAULT_CAPACITY),
            random: Random::new(scopes),
            next: 0,
            timeline,
        };
        for number in 0..scopes {
            let scope = world.scope(number);
            world.history.register(&scope);
            world.fill(number);
        }
        // Full, so that from here on each touch that is remembered drops another.
        while world.history.len() < world.history.capacity() {
            let change = world.change(None);
            assert_eq!(world.apply(&change), 0, "nothing matches");
        }
        world
    }

    fn column(&self, index: usize) -> Name {
        self.columns.get(index).expect("there are four columns").clone()
    }

    fn scope(&self, number: u64) -> Dependency {
        let (table, value) = (Dependency::table(self.timeline.clone(), self.table.clone()), number);
        let value = value.cast_signed();
        let equal = |columns: &[usize]| {
            let terms = columns.iter().map(|column| (self.column(*column), value));
            Dependency::scope(self.timeline.clone(), self.table.clone(), terms)
        };
        match (self.kind, number % 3) {
            (Kind::Equality, 0) => equal(&[AUTHOR]),
            (Kind::Equality, 1) => equal(&[SHELF]),
            (Kind::Equality, _) => equal(&[AUTHOR, SHELF]),
            (Kind::Ranges, _) => {
                let low = Bound::Included(Value::Integer(value * STRIDE));
                let high = Bound::Excluded(Value::Integer(value * STRIDE + STRIDE / 2));
                table.within(self.column(PRICE), Span::between(low, high))
            }
        }
    }

    /// The update of some row which belonged to the scope `matched`, and to no scope since.
    fn change(&mut self, matched: Option<u64>) -> Change {
        let id = self.random.below(1 << 40).cast_signed();
        let (old, new) = (self.image(id, matched), self.image(id, None));
        Change::Row(RowChange {
            table: self.table.clone(),
            columns: self.columns.clone(),
            key: [ID].into(),
            old: Some(old),
            new: Some(new),
        })
    }

    fn image(&mut self, id: i64, matched: Option<u64>) -> Vec<Value> {
        // Below all scopes, and between two spans.
        let mut author = -1 - self.random.below(1 << 40).cast_signed();
        let mut shelf = -1 - self.random.below(1 << 40).cast_signed();
        let mut price = self.random.below(self.scopes).cast_signed() * STRIDE + STRIDE - 1;
        if let Some(number) = matched {
            let value = number.cast_signed();
            match (self.kind, number % 3) {
                (Kind::Equality, 0) => author = value,
                (Kind::Equality, 1) => shelf = value,
                (Kind::Equality, _) => (author, shelf) = (value, value),
                (Kind::Ranges, _) => price = value * STRIDE,
            }
        }
        [author, id, price, shelf].map(Value::Integer).into()
    }

    /// What the cache does with a batch of a feed, and how many entries fell.
    fn apply(&mut self, change: &Change) -> usize {
        let position = self.history.applied().next();
        let touched = self.history.apply(position, slice::from_ref(change));
        self.history.confirm(position);
        let what = "a row changed".into();
        let cause = Cause { timeline: self.timeline.clone(), position, what };
        let everything = Digest::everything(&self.timeline);
        let mut digests = touched.digests;
        digests.retain(|digest| *digest != everything);
        self.tier.invalidate(&digests, &cause)
    }

    /// Thousands of changes a second, of which `share` in a hundred match: applied, and swept too.
    fn round(&mut self, share: u64) -> Result<(f64, f64)> {
        let (mut applied, mut swept) = (0.0, 0.0);
        for _ in 0..CHUNKS {
            let matching = CHUNK * share / 100;
            let first = self.next;
            let mut changes = Vec::new();
            for number in 0..CHUNK {
                // Spread over the chunk, each to a scope of its own.
                let due = number * share / 100 < (number + 1) * share / 100;
                let matched = due.then_some(self.next % self.scopes);
                self.next += u64::from(due);
                changes.push(self.change(matched));
            }
            let (touched, taken) = measure::time(|| {
                changes.iter().map(|change| self.apply(change) as u64).sum::<u64>()
            });
            let (_, rest) = measure::time(|| self.tier.settle());
            ensure!(touched == matching, "{touched} entries fell, not {matching}");
            applied += nanos(taken);
            swept += nanos(taken + rest);
            for number in first..self.next {
                self.fill(number % self.scopes);
            }
        }
        let rate = |nanos: f64| (CHUNK * CHUNKS) as f64 / nanos * 1e6;
        Ok((rate(applied), rate(swept)))
    }

    fn fill(&self, number: u64) {
        let mut encoder = KeyEncoder::new(1);
        number.encode(&mut encoder);
        let policy = Policy::new(None).expect("to never expire is fine");
        let entry = NewEntry {
            key: encoder.finish(),
            value: Arc::new(number),
            value_bytes: size_of::<u64>(),
            deadlines: policy.deadlines(Clock::system().now(), Moment::NEVER),
            dependencies: [self.scope(number)].into_iter().collect(),
            stamps: Stamps::new(),
            pass: self.tier.pass(["app", "shop"]),
        };
        assert_eq!(self.tier.insert(entry, || true), Inserted::Stored);
    }
}

/// The places of the columns, which are sorted by name.
const AUTHOR: usize = 0;
const ID: usize = 1;
const PRICE: usize = 2;
const SHELF: usize = 3;
/// From one span's beginning to the next one's; a span is half as long.
const STRIDE: i64 = 10;
