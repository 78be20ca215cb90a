//! Loads that wait for loads: circles are found, and nobody waits for a turn that will not come.
//!
//! **Invariant** under test: every reader gets an answer without any time limit having to end it.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Dependency, Error, ErrorKind, Load, LoadError, OnAbandon, Region};
use tokio::{sync::Semaphore, task::yield_now};

use crate::gate::{Gate, cache, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);

/// A region that loaders can name before it is built.
type Later = Arc<OnceLock<Region<u32, i64>>>;

/// How a loader reads another region.
#[derive(Clone, Copy)]
enum Way {
    Load,
    Plain,
    SpawnedClone,
    SpawnedScope,
    ByHand,
}

const WAYS: [Way; 5] = [Way::Load, Way::Plain, Way::SpawnedClone, Way::SpawnedScope, Way::ByHand];

async fn read(way: Way, load: Load, other: &Region<u32, i64>) -> Result<i64, LoadError<Error>> {
    let region = other.clone();
    let value = match way {
        Way::Load => load.get_or_load(&region, &1).await,
        Way::Plain => region.get_or_load(&1).await,
        Way::SpawnedClone => {
            tokio::spawn(async move { load.get_or_load(&region, &1).await }).await.unwrap()
        }
        Way::SpawnedScope => {
            tokio::spawn(load.scope(async move { region.get_or_load(&1).await })).await.unwrap()
        }
        Way::ByHand => {
            let begun = other.begin(&2);
            let value = begun.load().get_or_load(other, &1).await;
            begun.load().tag("by hand");
            begun.finish(0).await.unwrap();
            value
        }
    };
    value.map(|value| *value)
}

/// Where the loaders of a ring stop, and what they were told.
struct Met {
    begun: Semaphore,
    leave: Semaphore,
    cycles: Mutex<Vec<String>>,
}

impl Met {
    fn new() -> Arc<Self> {
        let semaphore = || Semaphore::new(0);
        Arc::new(Self { begun: semaphore(), leave: semaphore(), cycles: Mutex::default() })
    }
}

/// Regions of which each reads the next one, the last one the first.
fn ring(cache: &Cache, names: &[&'static str], way: Way) -> (Vec<Region<u32, i64>>, Arc<Met>) {
    let met = Met::new();
    let later: Vec<Later> = names.iter().map(|_| Later::default()).collect();
    let regions = names.iter().enumerate().map(|(place, name)| {
        let next = later[(place + 1) % names.len()].clone();
        let met = met.clone();
        let builder = cache.region::<u32, i64>(*name).ttl(MINUTE).loader(move |_, load: Load| {
            let (next, met) = (next.clone(), met.clone());
            async move {
                load.tag("ring");
                met.begun.add_permits(1);
                met.leave.acquire().await.unwrap().forget();
                match read(way, load, next.get().unwrap()).await {
                    Ok(value) => Ok::<_, Error>(value + 1),
                    Err(LoadError::Cache(error)) if error.kind() == ErrorKind::Cycle => {
                        met.cycles.lock().unwrap().push(error.to_string());
                        Ok(100)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        });
        let region = builder.build().unwrap();
        later[place].set(region.clone()).unwrap();
        region
    });
    (regions.collect(), met)
}

#[tokio::test]
async fn two_loads_that_wait_for_each_other_are_a_circle_without_any_recursion() {
    // 1. Two readers begin a flight each. 2. Both loaders are under way. 3. Each reads the other.
    for (number, way) in WAYS.into_iter().enumerate() {
        let (cache, _) = cache();
        let (regions, met) = ring(&cache, &["articles", "authors"], way);
        let readers = [spawn_read(&regions[0]), spawn_read(&regions[1])];
        met.begun.acquire_many(2).await.unwrap().forget();
        met.leave.add_permits(2);
        let mut values = Vec::new();
        for reader in readers {
            values.push(*reader.await.unwrap().unwrap());
        }
        values.sort_unstable();
        assert_eq!(values, [100, 101], "way {number}: one is told, the other goes on");
        let cycles = met.cycles.lock().unwrap().clone();
        let [told] = &cycles[..] else { panic!("way {number}: {cycles:?}") };
        let chains =
            ["`articles` -> `authors` -> `articles`", "`authors` -> `articles` -> `authors`"];
        assert!(chains.iter().any(|chain| told.contains(chain)), "{told}");
        assert_eq!(cache.stats().cycles, 1);
    }
}

#[tokio::test]
async fn a_load_that_reads_its_own_key_is_told_at_once() {
    let (cache, _) = cache();
    let (regions, met) = ring(&cache, &["mirror"], Way::Load);
    met.leave.add_permits(1);
    assert_eq!(*regions[0].get_or_load(&1).await.unwrap(), 100);
    assert!(met.cycles.lock().unwrap()[0].contains("`mirror` -> `mirror`"));
}

#[tokio::test]
async fn a_circle_of_three_is_told_to_the_one_that_closes_it() {
    for way in WAYS {
        let (cache, _) = cache();
        let (regions, met) = ring(&cache, &["a", "b", "c"], way);
        met.leave.add_permits(3);
        assert_eq!(*regions[0].get_or_load(&1).await.unwrap(), 102);
        let cycles = met.cycles.lock().unwrap().clone();
        assert_eq!(cycles.len(), 1);
        assert!(cycles[0].contains("`c` -> `a` -> `b` -> `c`"), "{cycles:?}");
    }
}

#[tokio::test]
async fn a_diamond_and_two_who_wait_for_one_are_no_circle() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let bottom = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let over = |name: &'static str, children: Vec<Region<u32, i64>>| {
        let builder =
            cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |id: u32, load: Load| {
                let children = children.clone();
                async move {
                    let mut sum = 0;
                    for child in &children {
                        sum += *load.get_or_load(child, &id).await?;
                    }
                    Ok::<_, Error>(sum)
                }
            });
        builder.build().unwrap()
    };
    let (left, right) = (over("left", vec![bottom.clone()]), over("right", vec![bottom.clone()]));
    let top = over("top", vec![left.clone(), right.clone(), bottom.clone()]);
    let readers = [&top, &right, &left, &bottom, &top].map(spawn_read);
    gate.begun().await;
    gate.let_one_end();
    let mut values = Vec::new();
    for reader in readers {
        values.push(*reader.await.unwrap().unwrap());
    }
    assert_eq!((values, gate.loads()), (vec![3, 1, 1, 1, 3], 1));
    assert_eq!(cache.stats().cycles, 0);
}

#[tokio::test]
async fn a_wait_that_was_given_up_is_no_part_of_a_circle() {
    // 1. The parent waits for its child. 2. Its readers leave and it is dropped. 3. The child reads
    // the parent: that would be a circle if the parent were still waiting.
    let (cache, _) = cache();
    let (parent_later, leave) = (Later::default(), Arc::new(Semaphore::new(0)));
    let child = cache.region::<u32, i64>("child").ttl(MINUTE).loader({
        let (parent, leave) = (parent_later.clone(), leave.clone());
        move |_: u32, load: Load| {
            let (parent, leave) = (parent.clone(), leave.clone());
            async move {
                load.tag("child");
                leave.acquire().await.unwrap().forget();
                Ok::<_, Error>(*load.get_or_load(parent.get().unwrap(), &1).await?)
            }
        }
    });
    let child = child.build().unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let parent = cache.region::<u32, i64>("parent").ttl(MINUTE).on_abandon(OnAbandon::Cancel);
    let parent = parent.loader({
        let (child, loads) = (child.clone(), loads.clone());
        move |_: u32, load: Load| {
            let (child, number) = (child.clone(), loads.fetch_add(1, Ordering::SeqCst));
            async move {
                load.tag("parent");
                match number {
                    0 => Ok::<_, Error>(*load.get_or_load(&child, &1).await?),
                    _ => Ok(7),
                }
            }
        }
    });
    let parent = parent.build().unwrap();
    parent_later.set(parent.clone()).unwrap();
    let (reader, of_child) = (spawn_read(&parent), spawn_read(&child));
    while cache.stats().loads < 2 {
        yield_now().await;
    }
    yield_now().await;
    reader.abort();
    while cache.status().loads_running != 1 {
        yield_now().await;
    }
    leave.add_permits(1);
    assert_eq!(*of_child.await.unwrap().unwrap(), 7);
    assert_eq!(cache.stats().cycles, 0);
}

/// A region without children whose loads count how many of them run at once.
#[derive(Clone, Default)]
struct Busy {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    fn leaf(&self, cache: &Cache) -> Region<u32, i64> {
        let busy = self.clone();
        let builder =
            cache.region::<u32, i64>("leaf").ttl(MINUTE).loader(move |id: u32, load: Load| {
                let busy = busy.clone();
                async move {
                    load.depends_on(Dependency::id("app", "Row", [id]));
                    busy.work().await;
                    Ok::<_, Error>(1)
                }
            });
        builder.build().unwrap()
    }

    async fn work(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..5 {
            yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A region that reads `fan` keys of `child` at once, and then one more, doing work of its own
/// beside and after.
fn fan(
    cache: &Cache,
    name: &'static str,
    child: &Region<u32, i64>,
    fan: u32,
    busy: &Busy,
) -> Region<u32, i64> {
    let (child, busy) = (child.clone(), busy.clone());
    let builder = cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |id: u32, load: Load| {
        let (child, busy) = (child.clone(), busy.clone());
        async move {
            let mut parts = tokio::task::JoinSet::new();
            for part in 0..fan {
                let (load, child) = (load.clone(), child.clone());
                parts.spawn(async move { load.get_or_load(&child, &(id * fan + part)).await });
            }
            let mut sum = 0;
            while let Some(part) = parts.join_next().await {
                sum += *part.unwrap()?;
            }
            busy.work().await;
            sum += *load.get_or_load(&child, &(1_000_000 + id)).await?;
            busy.work().await;
            Ok::<_, Error>(sum)
        }
    });
    builder.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn parents_that_hold_every_turn_do_not_keep_their_children_from_one() {
    for running in [1, 2, 3] {
        // The clock of the runtime stands still unless everybody waits: a time limit that had to
        // help would show in it.
        let began = tokio::time::Instant::now();
        let cache = Cache::builder().max_loads(running, 100).build().unwrap();
        let busy = Busy::default();
        let leaf = busy.leaf(&cache);
        let middle = fan(&cache, "middle", &leaf, 3, &busy);
        let top = fan(&cache, "top", &middle, 2, &busy);
        let readers: Vec<_> = (0..8)
            .map(|key| {
                let top = top.clone();
                tokio::spawn(async move { *top.get_or_load(&key).await.unwrap() })
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 12);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(cache.status().loads_running, 0);
        assert!(busy.most.load(Ordering::SeqCst) <= running, "{:?} of {running}", busy.most);
        assert_eq!(cache.stats().overloaded, 0);
        // Everything was given back.
        assert_eq!(*leaf.get_or_load(&7_000_000).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn two_reads_of_one_load_that_end_together_want_one_turn() {
    let began = tokio::time::Instant::now();
    let cache = Cache::builder().max_loads(1, 100).build().unwrap();
    let gates = [Gate::closed(), Gate::closed()];
    let children: Vec<Region<u32, i64>> = ["one", "two"]
        .into_iter()
        .zip(&gates)
        .map(|(name, gate)| {
            let gate = gate.clone();
            let builder = cache.region::<u32, i64>(name).ttl(MINUTE);
            builder.loader(move |_: u32, load| gate.clone().load(load)).build().unwrap()
        })
        .collect();
    let parent =
        cache.region::<u32, i64>("parent").ttl(MINUTE).loader(move |id: u32, load: Load| {
            let (one, two) = (children[0].clone(), children[1].clone());
            async move {
                let first = async {
                    let value = load.get_or_load(&one, &id).await;
                    // Waits again while the other one may be asking for the turn.
                    load.get_or_load(&one, &(id + 1)).await.and(value)
                };
                let (first, second) = tokio::join!(first, load.get_or_load(&two, &id));
                Ok::<_, Error>(*first? + *second?)
            }
        });
    let parent = parent.build().unwrap();
    gates.iter().for_each(|gate| (0..3).for_each(|_| gate.let_one_end()));
    let others: Vec<_> = (1..4)
        .map(|key| {
            let parent = parent.clone();
            tokio::spawn(async move { *parent.get_or_load(&(key * 10)).await.unwrap() })
        })
        .collect();
    gates.iter().for_each(|gate| (0..9).for_each(|_| gate.let_one_end()));
    for other in others {
        assert_eq!(other.await.unwrap(), 2);
    }
    assert_eq!((began.elapsed(), cache.status().loads_running), (Duration::ZERO, 0));
}

#[tokio::test]
async fn a_read_that_is_given_up_leaves_no_turn_behind() {
    let cache = Cache::builder().max_loads(1, 100).build().unwrap();
    let gate = Gate::closed();
    let child = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let parent =
        cache.region::<u32, i64>("parent").ttl(MINUTE).loader(move |id: u32, load: Load| {
            let child = child.clone();
            async move {
                load.tag("parent");
                let given_up = tokio::select! {
                    biased;
                    value = load.get_or_load(&child, &id) => *value?,
                    () = async { for _ in 0..10 { yield_now().await } } => -1,
                };
                Ok::<_, Error>(given_up)
            }
        });
    let parent = parent.build().unwrap();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), -1);
    gate.let_one_end();
    while cache.status().loads_running != 0 {
        yield_now().await;
    }
    let open = Gate::open();
    let builder = cache.region::<u32, i64>("after").ttl(MINUTE);
    let after = builder.loader(move |_: u32, load| open.clone().load(load)).build().unwrap();
    assert_eq!(*after.get_or_load(&1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_load_that_wants_its_turn_back_comes_before_those_that_never_had_one() {
    let cache = Cache::builder().max_loads(1, 1000).build().unwrap();
    let gate = Gate::closed();
    let child = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let parent =
        cache.region::<u32, i64>("parent").ttl(MINUTE).loader(move |id: u32, load: Load| {
            let child = child.clone();
            async move { Ok::<_, Error>(*load.get_or_load(&child, &id).await?) }
        });
    let parent = parent.build().unwrap();
    let busy = Busy::default();
    let leaf = busy.leaf(&cache);
    let first = spawn_read(&parent);
    gate.begun().await;
    let others: Vec<_> = (0..100)
        .map(|key| {
            let leaf = leaf.clone();
            tokio::spawn(async move { leaf.get_or_load(&key).await.unwrap() })
        })
        .collect();
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(leaf.stats().loads, 0, "the child has the only turn");
    gate.let_one_end();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    assert!(leaf.stats().loads <= 2, "{} came first", leaf.stats().loads);
    for other in others {
        other.await.unwrap();
    }
}

/// An untracked region of `cache` whose loads read what `next` will be.
fn reads_next(cache: &Cache, name: &'static str, next: &Later) -> Region<u32, i64> {
    let next = next.clone();
    let builder = cache.region::<u32, i64>(name).ttl(MINUTE).loader(move |id: u32, load: Load| {
        let next = next.clone();
        async move {
            let Some(next) = next.get() else { return Ok(1) };
            Ok::<_, Error>(*load.get_or_load(next, &id).await? + 1)
        }
    });
    let region = builder.build_untracked().unwrap();
    Region::clone(&region)
}

#[tokio::test(start_paused = true)]
async fn the_first_loads_of_two_caches_are_told_apart() {
    let caches = [cache().0, cache().0];
    let later = [Later::default(), Later::default()];
    let child = reads_next(&caches[1], "child", &later[1]);
    later[0].set(child).unwrap();
    let parent = reads_next(&caches[0], "parent", &later[0]);
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), 2);
    assert_eq!(caches[0].stats().cycles + caches[1].stats().cycles, 0);
}

#[tokio::test(start_paused = true)]
async fn a_circle_through_two_caches_is_told_as_one() {
    let began = tokio::time::Instant::now();
    let caches = [cache().0, cache().0];
    let later = [Later::default(), Later::default()];
    let here = reads_next(&caches[0], "here", &later[0]);
    let there = reads_next(&caches[1], "there", &later[1]);
    later[0].set(there).unwrap();
    later[1].set(here.clone()).unwrap();
    let error = here.get_or_load(&1).await.unwrap_err();
    assert!(format!("{error:?}").contains("`there` -> `here` -> `there`"), "{error:?}");
    assert_eq!(began.elapsed(), Duration::ZERO, "no time limit had to end it");
}

#[tokio::test]
async fn loads_that_wait_for_another_one_count_against_those_that_may_wait() {
    let cache = Cache::builder().max_loads(2, 3).build().unwrap();
    let gate = Gate::closed();
    let child = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let parent = cache.region::<u32, i64>("parent").ttl(MINUTE).loader({
        let child = child.clone();
        move |_: u32, load: Load| {
            let child = child.clone();
            async move { Ok::<_, Error>(*load.get_or_load(&child, &1).await?) }
        }
    });
    let parent = parent.build().unwrap();
    // Each gives back its turn to the same child, so a turn is free whenever the next one comes.
    let readers: Vec<_> = (0..20)
        .map(|key| {
            let parent = parent.clone();
            tokio::spawn(async move { parent.get_or_load(&key).await })
        })
        .collect();
    gate.begun().await;
    let settled = || parent.stats().loads + parent.stats().overloaded;
    while settled() < 20 {
        yield_now().await;
    }
    let running = cache.status().loads_running;
    assert!(running <= 6, "{running} loads began: 2 may run and 3 wait, and there is the child");
    gate.let_one_end();
    let mut refused = 0;
    for reader in readers {
        match reader.await.unwrap() {
            Ok(value) => assert_eq!(*value, 1),
            Err(LoadError::Cache(error)) => {
                assert_eq!(error.kind(), ErrorKind::Overloaded);
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!((15..20).contains(&refused), "{refused} were refused");
    assert_eq!((*parent.get_or_load(&99).await.unwrap(), cache.status().loads_running), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_load_may_read_more_at_once_than_loads_may_run_and_wait() {
    let cache = Cache::builder().max_loads(4, 0).build().unwrap();
    let busy = Busy::default();
    let leaf = busy.leaf(&cache);
    let parent = fan(&cache, "parent", &leaf, 20, &busy).clone();
    assert_eq!(*parent.get_or_load(&1).await.unwrap(), 21);
    assert!(busy.most.load(Ordering::SeqCst) <= 4, "{:?} ran at once", busy.most);
    assert_eq!(cache.stats().overloaded, 0);
}
