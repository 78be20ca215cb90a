//! The regions of a cache: which name stands for the number in a key.
//!
//! It stands apart from `region.rs`, which is typed: here regions are looked at from their entries'
//! bytes. **Invariant**: a number is never given to a second region, so a key always names the
//! region it was made in.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;

use crate::{
    rewarm::Reload,
    stats::{Counters, Stats},
};

/// All regions built so far, each at the place of its number.
#[derive(Default)]
pub(crate) struct Regions(Mutex<Vec<Registered>>);

struct Registered {
    name: Arc<str>,
    counters: Arc<Counters>,
    /// The region itself, once it is built and as long as somebody holds it.
    region: Option<Weak<dyn Reload>>,
}

impl Regions {
    /// Takes the name and gives the number under which a region's keys are encoded.
    pub(crate) fn add(&self, name: &Arc<str>) -> Result<(u32, Arc<Counters>), Error> {
        let mut regions = self.0.lock();
        let refused = |why: &'static str| {
            let error = Error::new(ErrorKind::Config, "build region");
            error.subject(format!("`{name}`")).detail(why)
        };
        let id = u32::try_from(regions.len()).map_err(|_| refused("there are too many"))?;
        if regions.iter().any(|region| region.name == *name) {
            return Err(refused("the cache has a region of this name; give it another"));
        }
        let counters = Arc::new(Counters::default());
        regions.push(Registered { name: name.clone(), counters: counters.clone(), region: None });
        Ok((id, counters))
    }

    /// Makes the region with this number known, now that it is built.
    pub(crate) fn attach(&self, id: u32, region: Weak<dyn Reload>) {
        if let Some(registered) = self.0.lock().get_mut(id as usize) {
            registered.region = Some(region);
        }
    }

    /// The region with this number, if somebody holds it.
    pub(crate) fn reloader(&self, id: u32) -> Option<Arc<dyn Reload>> {
        self.0.lock().get(id as usize)?.region.as_ref()?.upgrade()
    }

    /// Whether the region with this number is held by somebody and has a loader.
    pub(crate) fn can_reload(&self, id: u32) -> bool {
        self.reloader(id).is_some_and(|region| region.can_reload())
    }

    /// The name of the region with this number, and the mean time of its loads so far.
    pub(crate) fn describe(&self, id: u32) -> (Arc<str>, Option<Duration>) {
        let regions = self.0.lock();
        let Some(region) = regions.get(id as usize) else { return ("".into(), None) };
        let stats = region.counters.read();
        let mean = stats.load_micros.checked_div(stats.loads);
        (region.name.clone(), mean.map(Duration::from_micros))
    }

    /// What happened in all regions together.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for region in &*self.0.lock() {
            stats += region.counters.read();
        }
        stats
    }
}
