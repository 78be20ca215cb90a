//! Waits: which flights wait for which, so that none waits for itself.
//!
//! One graph for the process, apart from `flight` because it spans all regions, also those of
//! different caches: a loader may read them all. Two loads can wait for each other without any
//! recursion:
//!
//! 1. A reader begins a flight of A, another one a flight of B.
//! 2. The loader of A reads B and finds B's flight; the loader of B reads A and finds A's.
//!
//! So before a load waits, its edge is drawn, and whoever would close a circle is told instead.
//! **Invariant**: the graph has no circle, because looking for one and drawing the edge is one step
//! under one lock; and an edge is there exactly as long as its [`Wait`].

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_core::{Error, ErrorKind};
use parking_lot::Mutex;

/// A flight or another run of a load, told apart from all others of its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(u64);

/// A run and the region it is for, which is all that may be said about it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) region: Arc<str>,
}

/// The flights that wait for flights.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    next: AtomicU64,
    /// For each run the ones it waits for; one that waits twice for the same is there twice.
    edges: Mutex<HashMap<RunId, Vec<Run>>>,
}

/// Names of a chain that an error shows: more would not be read.
const SHOWN: usize = 16;

impl Waits {
    /// The graph of all caches: counted for each of them alone, the first runs of two caches would
    /// be the same one, and a circle through both be seen by neither.
    pub(crate) fn of_process() -> &'static Self {
        static ALL: LazyLock<Waits> = LazyLock::new(Waits::default);
        &ALL
    }

    /// A run for `region` that nobody waits for yet.
    pub(crate) fn run(&self, region: &Arc<str>) -> Run {
        let id = RunId(self.next.fetch_add(1, Ordering::Relaxed));
        Run { id, region: region.clone() }
    }

    /// Notes that `from` waits for `to` until the answer is dropped.
    ///
    /// # Errors
    /// `Cycle` when `to` waits for `from`, be it through others.
    ///
    /// # Cost
    /// One lock for the process and a walk over what `to` waits for; a flight that has just begun
    /// waits for nothing.
    pub(crate) fn wait(&self, from: &Run, to: &Run) -> Result<Wait<'_>, Error> {
        let mut edges = self.edges.lock();
        if let Some(chain) = path(&edges, to, from.id) {
            return Err(cycle(from, &chain));
        }
        edges.entry(from.id).or_default().push(to.clone());
        Ok(Wait { waits: self, from: from.id, to: to.id })
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.edges.lock().values().map(Vec::len).sum()
    }
}

/// A wait that is noted. Whatever ends the wait (a result, a panic, a reader who leaves) drops this
/// and takes the edge away.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    waits: &'a Waits,
    from: RunId,
    to: RunId,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut edges = self.waits.edges.lock();
        let Some(targets) = edges.get_mut(&self.from) else { return };
        if let Some(place) = targets.iter().position(|target| target.id == self.to) {
            targets.swap_remove(place);
        }
        if targets.is_empty() {
            edges.remove(&self.from);
        }
    }
}

/// The shortest way from `start` to `goal`, both included.
fn path(edges: &HashMap<RunId, Vec<Run>>, start: &Run, goal: RunId) -> Option<Vec<Run>> {
    let mut seen = HashSet::from([start.id]);
    // Each with the place of the one it was reached from.
    let mut reached = vec![(start.clone(), 0)];
    let mut place = 0;
    while let Some((run, _)) = reached.get(place) {
        if run.id == goal {
            return Some(way_back(&reached, place));
        }
        let targets = edges.get(&run.id).into_iter().flatten();
        let new: Vec<Run> = targets.filter(|target| seen.insert(target.id)).cloned().collect();
        reached.extend(new.into_iter().map(|target| (target, place)));
        place += 1;
    }
    None
}

fn way_back(reached: &[(Run, usize)], mut place: usize) -> Vec<Run> {
    let mut way = Vec::new();
    while let Some((run, before)) = reached.get(place) {
        way.push(run.clone());
        if place == 0 {
            break;
        }
        place = *before;
    }
    way.reverse();
    way
}

/// The error of the load that would have closed the circle. It names regions and never keys, which
/// may be private.
#[cold]
fn cycle(from: &Run, chain: &[Run]) -> Error {
    let mut names = format!("`{}`", from.region);
    for run in chain.iter().take(SHOWN) {
        names.push_str(&format!(" -> `{}`", run.region));
    }
    if SHOWN < chain.len() {
        names.push_str(&format!(" and {} more", chain.len() - SHOWN));
    }
    Error::new(ErrorKind::Cycle, "wait for a load of region")
        .subject(chain.first().map_or_else(String::new, |run| format!("`{}`", run.region)))
        .detail(format!("it waits for this very load: {names}; one of these loaders must not read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(waits: &Waits) -> [Run; 4] {
        ["a", "b", "c", "d"].map(|name| waits.run(&name.into()))
    }

    #[test]
    fn whoever_would_close_the_circle_is_told_its_chain() {
        let waits = Waits::default();
        let [a, b, c, d] = runs(&waits);
        let _ab = waits.wait(&a, &b).unwrap();
        let _ad = waits.wait(&a, &d).unwrap();
        let _bc = waits.wait(&b, &c).unwrap();
        let error = waits.wait(&c, &a).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cycle);
        assert!(error.to_string().contains("`c` -> `a` -> `b` -> `c`"), "{error}");
        assert!(waits.wait(&d, &d).unwrap_err().to_string().contains("`d` -> `d`"));
        assert_eq!(waits.count(), 3);
    }

    #[test]
    fn a_diamond_is_no_circle_and_a_wait_that_ended_is_forgotten() {
        let waits = Waits::default();
        let [a, b, c, d] = runs(&waits);
        let edges = [(&a, &b), (&a, &c), (&b, &d), (&c, &d), (&a, &b)];
        let held: Vec<_> = edges.map(|(from, to)| waits.wait(from, to).unwrap()).into();
        assert!(waits.wait(&d, &a).is_err());
        drop(held);
        assert_eq!(waits.count(), 0);
        assert!(waits.edges.lock().is_empty());
        waits.wait(&d, &a).unwrap();
    }

    #[test]
    fn a_wait_noted_twice_lasts_until_both_ended() {
        let waits = Waits::default();
        let [a, b, ..] = runs(&waits);
        let (first, second) = (waits.wait(&a, &b).unwrap(), waits.wait(&a, &b).unwrap());
        drop(first);
        assert!(waits.wait(&b, &a).is_err());
        drop(second);
        waits.wait(&b, &a).unwrap();
    }

    #[test]
    fn a_long_chain_is_cut_and_says_how_much_is_missing() {
        let waits = Waits::default();
        let name = Arc::from("r");
        let runs: Vec<Run> = (0..100).map(|_| waits.run(&name)).collect();
        let pairs = runs.iter().zip(runs.iter().skip(1));
        let _held: Vec<_> = pairs.map(|(a, b)| waits.wait(a, b).unwrap()).collect();
        let error = waits.wait(runs.last().unwrap(), runs.first().unwrap()).unwrap_err();
        assert!(error.to_string().contains("and 84 more"), "{error}");
    }
}
