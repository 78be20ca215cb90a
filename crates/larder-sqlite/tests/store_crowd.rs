//! Sixteen threads in each of two processes on one store: no error, no long wait, limits exact.
//!
//! The test starts itself again as both processes. `LARDER_SOAK_SEED` and `LARDER_SOAK_BUDGET`
//! (`small`: 2 s, `full`: ten minutes) say how; `LARDER_STORE_CROWD_SECONDS` says how long, where
//! neither fits. **Invariant**: the limits are looked at while everybody writes, and a wait is
//! measured from the call to its answer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is unexpected ends it")]

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use larder_sqlite::store::{
    Depth, Lifetime, NewEntry, OnCorruption, Select, SqliteStore, StoreOptions, Stored,
};
use larder_testkit::{random::Random, temp::TempDir, wait::block_on};

const PATH: &str = "LARDER_STORE_CROWD_PATH";
const NUMBER: &str = "LARDER_STORE_CROWD_NUMBER";

const PROCESSES: u64 = 2;
const THREADS: u64 = 16;

/// Small enough that both limits are reached within a second and evicted at ever after.
const ENTRIES_MAX: u64 = 500;
const BYTES_MAX: u64 = 1 << 20;

/// The longest that anybody may wait for an answer. In the gate a machine may be doing something
/// else as well.
const STALL: Duration = Duration::from_secs(1);
const STALL_IN_GATE: Duration = Duration::from_secs(3);

/// Keys that all threads of both processes write over each other.
const KEYS: u64 = 800;

#[test]
fn a_crowd_of_two_processes_sees_no_error_no_stall_and_no_limit_passed() {
    // S15, SC3, SD2, SD3, SD15.
    let (seed, time) = budget();
    println!("store-crowd: seed {seed}, {} s", time.as_secs());
    let directory = TempDir::new("store-crowd").unwrap();
    let path = directory.join("cache.db");
    let store = open(&path);
    let sum = NewEntry::new(Stored::json("0"), Lifetime::Forever).pinned();
    block_on(store.entries("r").insert("sum", sum)).unwrap();
    let processes: Vec<Child> = (0..PROCESSES).map(|number| start(&path, number)).collect();
    let mut counted = 0;
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}");
        assert!(output.status.success(), "{}", output.status);
        let line = said.lines().find_map(|line| line.strip_prefix("counted ")).unwrap();
        counted += line.parse::<i64>().unwrap();
    }
    // Every step of the sum was taken once, whoever took it.
    let sum = block_on(store.entries("r").get("sum")).unwrap().unwrap();
    assert_eq!(String::from_utf8(sum.bytes).unwrap(), counted.to_string());
    let report = block_on(store.check(Depth::Full)).unwrap();
    assert!(report.is_sound(), "{report:?}");
    block_on(store.keep()).unwrap();
    let stats = block_on(store.stats()).unwrap();
    let page = block_on(store.entries("r").page(&Select::everything(), None, 10_000)).unwrap();
    let bytes: u64 = page.iter().map(|(key, meta)| key.len() as u64 + meta.size_bytes).sum();
    assert_eq!((stats.entries, stats.bytes), (page.len() as u64, bytes), "totals are exact");
    println!("store-crowd: {} entries with {bytes} bytes are left", page.len());
}

/// One of the processes. Does nothing unless it was started by the test above.
#[test]
fn a_process_is_a_part_of_a_crowd() {
    let Ok(path) = env::var(PATH) else { return };
    let number: u64 = env::var(NUMBER).unwrap().parse().unwrap();
    let (seed, time) = budget();
    let store = open(Path::new(&path));
    let end = now() + time;
    let seen: Vec<Seen> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                let random = Random::new(seed ^ (number << 32) ^ thread);
                scope.spawn(move || work(store, random, thread, end))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let slowest = seen.iter().map(|seen| (seen.slowest, seen.what)).max().unwrap();
    let calls: u64 = seen.iter().map(|seen| seen.calls).sum();
    println!("process {number}: {calls} calls, the slowest {:?} ({})", slowest.0, slowest.1);
    println!("counted {}", seen.iter().map(|seen| seen.counted).sum::<i64>());
    let stall = if is_full() { STALL } else { STALL_IN_GATE };
    assert!(slowest.0 < stall, "somebody waited for {:?} ({})", slowest.0, slowest.1);
    let queues = store.queues();
    assert_eq!((queues.reads_late, queues.writes_late), (0, 0), "{queues:?}");
}

/// What one thread saw.
#[derive(Default)]
struct Seen {
    calls: u64,
    counted: i64,
    slowest: Duration,
    what: &'static str,
}

impl Seen {
    fn call<T>(&mut self, what: &'static str, call: impl Future<Output = T>) -> T {
        let began = now();
        let answer = block_on(call);
        let took = began.elapsed();
        self.calls += 1;
        if self.slowest < took {
            (self.slowest, self.what) = (took, what);
        }
        answer
    }
}

fn work(store: &SqliteStore, mut random: Random, thread: u64, end: Instant) -> Seen {
    let (entries, mut seen) = (store.entries("r"), Seen::default());
    while now() < end {
        let key = format!("{}", random.below(KEYS));
        let text = format!("{key} ").repeat(usize::try_from(random.below(1000)).unwrap() + 1);
        let tag = format!("t{}", random.below(20));
        let entry = NewEntry::new(Stored::text(text), Lifetime::Forever).tags([&*tag]);
        match random.below(100) {
            0..40 => {
                if let Some(found) = seen.call("get", entries.get(&key)).unwrap() {
                    // Whoever wrote it wrote nothing but this key.
                    assert!(found.bytes.starts_with(format!("{key} ").as_bytes()), "{key}");
                }
            }
            40..70 => drop(seen.call("insert", entries.insert(&*key, entry)).unwrap()),
            70..75 => {
                let many = (0..10).map(|number| {
                    let key = format!("{}", (thread * 50 + number) % KEYS);
                    let value = Stored::text(format!("{key} "));
                    (key, NewEntry::new(value, Lifetime::Forever))
                });
                seen.call("insert_many", entries.insert_many(many)).unwrap();
            }
            75..85 => {
                seen.call("incr", entries.incr("sum", 1, Lifetime::Forever)).unwrap();
                seen.counted += 1;
            }
            85..90 => drop(seen.call("remove", entries.remove(&key)).unwrap()),
            90..92 => {
                let tagged = Select::everything().any_of([&*tag]);
                seen.call("remove_matching", entries.remove_matching(&tagged)).unwrap();
            }
            _ => {
                // What is counted is committed, so it holds at every moment and for everybody.
                let stats = seen.call("stats", store.stats()).unwrap();
                assert!(stats.entries <= ENTRIES_MAX && stats.bytes <= BYTES_MAX, "{stats:?}");
            }
        }
    }
    seen
}

fn open(path: &Path) -> SqliteStore {
    let options = StoreOptions::new()
        .max_entries(ENTRIES_MAX)
        .max_bytes(BYTES_MAX)
        .on_corruption(OnCorruption::Refuse);
    block_on(SqliteStore::open_with(path, options)).unwrap()
}

fn start(path: &PathBuf, number: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_process_is_a_part_of_a_crowd", "--nocapture"])
        .env(PATH, path)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn budget() -> (u64, Duration) {
    let seed = env::var("LARDER_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let asked = env::var("LARDER_STORE_CROWD_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = asked.unwrap_or(if is_full() { 600 } else { 2 });
    (seed, Duration::from_secs(seconds))
}

fn is_full() -> bool {
    env::var("LARDER_SOAK_BUDGET").is_ok_and(|budget| budget == "full")
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how long a user waits")]
fn now() -> Instant {
    Instant::now()
}
