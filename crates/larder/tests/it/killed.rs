//! `kill -9` of processes that read and invalidate on one store.
//!
//! **Invariant** under test: what a process said that it had invalidated is in nobody's answer
//! afterwards, wherever in its work it was killed; and what was not touched is served from the
//! store, in whatever file it lies.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder::{
    Cache, Dependency, Error, Load, Region, Source,
    sqlite::store::{Depth, SqliteStore},
};
use larder_testkit::{
    random::{Random, seeds},
    temp::TempDir,
};

use crate::peer::{self, Peer};

/// Values, each of which is built from a file of its own.
const KEYS: u64 = 24;

/// Processes at once. Each changes the files that it has to itself.
const PROCESSES: u64 = 2;

/// Times that they are killed, for each seed.
const ROUNDS: u64 = 12;

/// Lines after which they are.
const LINES_MAX: u64 = 60;

fn source_of(directory: &Path, key: u64) -> PathBuf {
    directory.join(format!("source-{key}"))
}

/// The number in a file that others put another one in the place of.
fn number_in(path: &Path) -> u64 {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn write(path: &Path, number: u64) {
    let aside = path.with_extension("aside");
    fs::write(&aside, number.to_string()).unwrap();
    fs::rename(aside, path).unwrap();
}

async fn node(directory: &Path) -> (Cache, Region<u64, u64>, SqliteStore) {
    let options = crate::options();
    let store = SqliteStore::open_with(directory.join("cache.db"), options).await.unwrap();
    let cache = Cache::builder().store(store.clone()).build().unwrap();
    let directory: Arc<Path> = directory.into();
    let region = cache.region::<u64, u64>("numbers").ttl(Duration::from_secs(600)).stored();
    let region = region.loader(move |key, load: Load| {
        let directory = directory.clone();
        async move {
            load.tag(key.to_string());
            Ok::<_, Error>(number_in(&source_of(&directory, key)))
        }
    });
    (cache, region.build().unwrap(), store)
}

/// Run in a process of its own by the test below, which says its number and its seed.
#[test]
fn life_of_a_process_that_invalidates() {
    let Some(place) = peer::place() else { return };
    let told: Vec<u64> = peer::told().take(2).map(|line| line.parse::<u64>().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (cache, region, _store) = node(&place).await;
        let (own, mut random) = (told[0], Random::new(told[1]));
        loop {
            let key = random.below(KEYS);
            if key % PROCESSES == own && random.once_in(2) {
                let source = source_of(&place, key);
                let next = number_in(&source) + 1;
                write(&source, next);
                drop(cache.invalidate([Dependency::tag(key.to_string())]).await.unwrap());
                peer::say(format_args!("{key} {next}"));
            } else {
                region.get_or_load(&key).await.unwrap();
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_invalidated_before_kill_9_is_in_no_answer() {
    // SC3.
    let mut from_store = 0;
    for seed in seeds() {
        let mut random = Random::new(seed);
        let directory = TempDir::new("invalidates").unwrap();
        (0..KEYS).for_each(|key| write(&source_of(directory.path(), key), 0));
        drop(node(directory.path()).await);
        for round in 0..ROUNDS {
            let mut least: Vec<u64> = vec![0; (0..KEYS).count()];
            let mut processes: Vec<_> = (0..PROCESSES)
                .map(|number| {
                    let life = "killed::life_of_a_process_that_invalidates";
                    let mut peer = Peer::start(life, directory.path());
                    peer.tell(number);
                    peer.tell(random.next());
                    peer
                })
                .collect();
            for process in &mut processes {
                let lines = 1 + random.below(LINES_MAX);
                let mut said: Vec<String> = (0..lines).map(|_| process.says()).collect();
                process.kill();
                said.extend(process.rest());
                // The last one may have been cut off.
                for line in said {
                    let Some((key, number)) = line.split_once(' ') else { continue };
                    let (Ok(key), Ok(number)) = (key.parse::<usize>(), number.parse()) else {
                        continue;
                    };
                    // A number that was cut off is a smaller one.
                    least[key] = u64::max(least[key], number);
                }
            }
            let (_cache, region, store) = node(directory.path()).await;
            for (key, least) in (0..).zip(least) {
                let found = region.fetch(&key).await.unwrap();
                assert!(least <= *found.value, "seed {seed}, round {round}: {key}");
                from_store += u64::from(found.source == Source::Store);
            }
            assert!(store.check(Depth::Full).await.unwrap().is_sound());
        }
    }
    println!("{from_store} values were served from the store");
    assert_ne!(from_store, 0);
}
