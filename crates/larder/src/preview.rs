//! Previews: what an invalidation would reach, and who depends on something.
//!
//! It stands apart from `explain.rs`, which starts from one entry; this starts from what entries
//! were built from. **Invariant**: looking changes nothing, and keys are given to the caller only,
//! never logged.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{Dependency, Error, ErrorKind, Key, KeyDecoder, key::KeyBytes};
use larder_memory::{Amount, Reach};

use crate::{cache::CacheInner, node::digests_by_name};

/// What an invalidation would do. Made by [`crate::Invalidating::preview`].
#[non_exhaustive]
#[derive(Clone)]
pub struct Preview {
    /// The entries that would fall, each counted once, and their bytes.
    pub total: Affected,
    /// For each dependency, in the order given: an entry that several reach counts for each.
    pub by_dependency: Vec<Affected>,
    /// For each region of which entries would fall, by name.
    pub by_region: Vec<RegionAffected>,
    cache: Arc<CacheInner>,
    reach: Arc<Reach>,
}

/// A number of entries, and the bytes they count against the limit of the memory.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// How many.
    pub entries: u64,
    /// Bytes of them together.
    pub bytes: u64,
}

/// What would fall of one region.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionAffected {
    /// Its name.
    pub region: Arc<str>,
    /// The entries and their bytes.
    pub affected: Affected,
    /// What loading them all again would take, one after the other, at the mean time of the loads
    /// so far; `None` where none has been loaded.
    pub reload: Option<Duration>,
}

/// Which part of a long list to show.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    size: usize,
    after: Cursor,
}

/// Where a page ended. Stays good while entries come and go: an entry that is there throughout is
/// shown; and it is shown once, unless the last one shown and half of all others ended between two
/// pages. As text it can be sent away and parsed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(larder_memory::Cursor);

/// A page of entries.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// The entries, in no order that means anything.
    pub entries: Vec<Dependent>,
    /// Where the next page begins. `None` is the only sign that there is none: a page may be
    /// shorter than asked for, even empty, and not the last.
    pub next: Option<Cursor>,
}

/// An entry that depends on what was asked about.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The region it is in.
    pub region: Arc<str>,
    /// Its key in words: `90`, `(90, "abc")`. It may be personal data.
    pub key: String,
    /// Bytes it counts against the limit of the memory.
    pub bytes: u64,
    encoded: KeyBytes,
}

/// Entries on a page at most. A page is made under short locks and held in memory as a whole; who
/// wants more asks for the next.
const SIZE_MAX: usize = 10_000;

impl Page {
    /// The first `size` entries, at least one and at most 10,000.
    pub fn first(size: usize) -> Self {
        Self { size: size.clamp(1, SIZE_MAX), after: Cursor::default() }
    }

    /// As many after `cursor`.
    #[must_use]
    pub fn after(self, cursor: Cursor) -> Self {
        Self { after: cursor, ..self }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_parts().iter().try_for_each(|part| write!(f, "{part:08x}"))
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const DIGITS: usize = 8;
        let refused = || {
            let error = Error::new(ErrorKind::Config, "read the cursor of a page");
            error.detail("it must be 32 hexadecimal digits, as the page before gave them")
        };
        if text.len() != 4 * DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        let part = |place: usize| {
            let digits = text.get(place * DIGITS..(place + 1) * DIGITS).unwrap_or_default();
            u32::from_str_radix(digits, 16).map_err(|_| refused())
        };
        let parts = [part(0)?, part(1)?, part(2)?, part(3)?];
        Ok(Self(larder_memory::Cursor::from_parts(parts)))
    }
}

/// What invalidating `dependencies` by name reaches.
pub(crate) fn reach(dependencies: &[Dependency]) -> Reach {
    Reach::of(dependencies.iter().map(digests_by_name))
}

pub(crate) fn preview(cache: &Arc<CacheInner>, dependencies: &[Dependency]) -> Preview {
    let reach = reach(dependencies);
    let tally = cache.node.tier.tally(&reach);
    let mut by_region: Vec<RegionAffected> = tally
        .by_region
        .iter()
        .map(|(id, amount)| {
            let (region, load_time) = cache.regions.describe(*id);
            let times = u32::try_from(amount.entries).unwrap_or(u32::MAX);
            let reload = load_time.map(|each| each.saturating_mul(times));
            RegionAffected { region, affected: (*amount).into(), reload }
        })
        .collect();
    by_region.sort_by(|a, b| a.region.cmp(&b.region));
    Preview {
        total: tally.total.into(),
        by_dependency: tally.by_dependency.into_iter().map(Affected::from).collect(),
        by_region,
        cache: cache.clone(),
        reach: Arc::new(reach),
    }
}

/// A page of what depends on one of what `reach` means.
pub(crate) fn page(cache: &CacheInner, reach: &Reach, page: Page) -> Dependents {
    let mut found = Vec::new();
    let show = |dependent: larder_memory::Dependent<'_>| {
        found.push((dependent.key(), dependent.region(), dependent.weight()));
    };
    let next = cache.node.tier.page(reach, page.after.0, page.size, show).map(Cursor);
    let entries = found.into_iter().map(|(key, region, bytes)| Dependent {
        region: cache.regions.describe(region).0,
        key: key.words().to_string(),
        bytes,
        encoded: key,
    });
    Dependents { entries: entries.collect(), next }
}

impl Preview {
    /// The entries that would fall, page by page: those that are there when it is called.
    ///
    /// # Cost
    /// Bounded by the size of the page, however many entries would fall.
    pub fn entries(&self, page: Page) -> Dependents {
        self::page(&self.cache, &self.reach, page)
    }

    /// What loading everything again would take, one load after the other; regions that were never
    /// loaded are left out.
    pub fn reload(&self) -> Duration {
        self.by_region.iter().filter_map(|region| region.reload).sum()
    }
}

impl Dependent {
    /// The key itself, for whoever knows the key type of the region; `None` if it is another one.
    pub fn key_as<K: Key>(&self) -> Option<K> {
        let mut decoder = KeyDecoder::new(self.encoded.as_slice())?;
        let key = K::decode(&mut decoder)?;
        decoder.is_at_end().then_some(key)
    }
}

impl From<Amount> for Affected {
    fn from(Amount { entries, bytes }: Amount) -> Self {
        Self { entries, bytes }
    }
}

/// Shows the numbers.
impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preview")
            .field("total", &self.total)
            .field("by_dependency", &self.by_dependency)
            .field("by_region", &self.by_region)
            .finish_non_exhaustive()
    }
}

/// Keeps the key back: what is printed for debugging ends in logs.
impl fmt::Debug for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependent")
            .field("region", &self.region)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
