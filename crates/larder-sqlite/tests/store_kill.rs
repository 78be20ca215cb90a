//! `kill -9` of processes that write to a store: what was acknowledged is there, nothing is half.
//!
//! The test starts itself again as the processes that are killed; what they acknowledge they print.
//! `LARDER_SOAK_SEED` and `LARDER_SOAK_BUDGET` (`small`, `full`) say how. **Invariant**: a line is
//! printed only after the store answered, so that every line is a claim.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is unexpected ends it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use larder_core::Epoch;
use larder_sqlite::store::{
    Condition, Depth, Lifetime, NewEntry, OnCorruption, Pattern, Select, SqliteStore, StoreOptions,
    Stored, backups_in,
};
use larder_testkit::temp::TempDir;

const PATH: &str = "LARDER_STORE_KILL_PATH";
const WORK: &str = "LARDER_STORE_KILL_WORK";
const NUMBER: &str = "LARDER_STORE_KILL_NUMBER";

/// Entries in one bulk write.
const BULK: u64 = 50;

/// Rounds on one file: with more of them most of the time goes into looking at all that is there.
const ROUNDS: u64 = 20;

/// Lines after which a process is killed, at most.
const LINES_MAX: u64 = 300;

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    // SC3, S15, S16, X17, SD15, SD16.
    let (seed, rounds) = budget();
    println!("store-kill: seed {seed}, {rounds} rounds");
    let (directory, mut random) = (TempDir::new("store-kill").unwrap(), Random(seed));
    let mut path = PathBuf::new();
    let mut seen = Seen::default();
    let (mut lines, mut bulks) = (0, 0);
    for round in 0..rounds {
        if round.is_multiple_of(ROUNDS) {
            let place = directory.join(&format!("{round}"));
            std::fs::create_dir(&place).unwrap();
            path = place.join("cache.db");
            bulks += std::mem::take(&mut seen).bulks.len();
        }
        // Two at once: when one is killed, the other goes on.
        let mut one = Killed::start(&path, "write", 2 * round);
        let mut other = Killed::start(&path, "write", 2 * round + 1);
        one.read(random.below(LINES_MAX));
        let acknowledged = one.kill();
        other.read(random.below(LINES_MAX / 4) + 1);
        for claims in [acknowledged, other.kill()] {
            lines += claims.len();
            seen.claimed(&claims);
        }
        run(seen.verify(&path));
    }
    bulks += seen.bulks.len();
    println!("store-kill: {lines} acknowledged writes, {bulks} of them bulk writes");
}

#[test]
fn a_restore_that_is_killed_happened_or_did_not() {
    // S16, SD13.
    let (seed, rounds) = budget();
    let directory = TempDir::new("store-kill").unwrap();
    let (path, mut random) = (directory.join("cache.db"), Random(seed));
    let mut shown = BTreeSet::new();
    for round in 0..rounds.div_ceil(2) {
        let mut restoring = Killed::start(&path, "restore", round);
        restoring.read(random.below(12) + 1);
        restoring.kill();
        run(async {
            let store = open(&path).await;
            assert!(store.check(Depth::Full).await.unwrap().is_sound());
            let page = store.entries("r").page(&Select::everything(), None, 1000).await.unwrap();
            assert_eq!(page.len(), 100);
            let mut values = BTreeSet::new();
            for (key, _) in page {
                values.insert(store.entries("r").get(&key).await.unwrap().unwrap().bytes[0]);
            }
            assert_eq!(values.len(), 1, "round {round}: half of a restore");
            shown.extend(values);
        });
    }
    println!("store-kill: restores showed {shown:?}");
}

#[test]
fn a_corrupt_store_is_replaced_by_one_process_and_opened_by_the_others() {
    // S17: two processes that find it at the same time.
    let directory = TempDir::new("store-turn").unwrap();
    for round in 0..4 {
        let place = directory.join(&format!("{round}"));
        std::fs::create_dir(&place).unwrap();
        let path = place.join("cache.db");
        run(async {
            let store = open_to_replace(&path).await;
            let kept = (0..2000).map(|number| (format!("{number}"), entry("kept")));
            store.entries("r").insert_many(kept).await.unwrap();
            store.keep().await.unwrap();
            assert_eq!(store.backups().await.unwrap().len(), 1);
        });
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        drop(file);
        let mut all: Vec<_> =
            (0..4).map(|number| Killed::start(&path, "replace", number)).collect();
        std::fs::write(place.join("go"), "").unwrap();
        all.iter_mut().for_each(|one| one.read(2));
        let claims: Vec<String> = all.into_iter().flat_map(Killed::kill).collect();
        let replaced = claims.iter().filter(|claim| *claim == "replaced").count();
        assert_eq!(replaced, 1, "round {round}: {claims:?}");
        let names = std::fs::read_dir(&place).unwrap().map(|file| file.unwrap().file_name());
        let aside = names.filter(|name| name.to_str().unwrap().ends_with(".corrupt")).count();
        assert_eq!(aside, 1, "round {round}");
        run(async {
            let store = open(&path).await;
            // What was kept, and what each of them wrote after it.
            let count = store.entries("r").count(&Select::everything()).await.unwrap();
            assert_eq!(count, 2004, "round {round}: {claims:?}");
        });
    }
}

/// The processes that are killed. Does nothing unless it was started by the tests above.
#[test]
fn a_process_works_until_it_is_killed() {
    let Ok(path) = env::var(PATH) else { return };
    let number: u64 = env::var(NUMBER).unwrap().parse().unwrap();
    match env::var(WORK).unwrap().as_str() {
        "write" => write(Path::new(&path), number),
        "replace" => run(replace(Path::new(&path), number)),
        _ => restore(Path::new(&path)),
    }
}

/// Writes from three threads, for ever, and takes backups.
fn write(path: &Path, number: u64) {
    let mut store = None;
    run(async { store = Some(open(path).await) });
    let store = store.unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            run(async {
                for count in 0_u64.. {
                    let key = format!("single {number} {count}");
                    store.entries("r").durable().insert(&*key, entry(&key)).await.unwrap();
                    claim(&key);
                }
            });
        });
        scope.spawn(|| {
            run(async {
                for count in 0_u64.. {
                    let name = format!("bulk {number} {count}");
                    let keys = (0..BULK).map(|index| format!("{name} {index}"));
                    let entries = keys.map(|key| (key.clone(), entry(&key).tags([&*name])));
                    store.entries("r").insert_many(entries).await.unwrap();
                    claim(&name);
                    if count % 3 == 2 {
                        let tagged = Select::everything().any_of([&*name]);
                        store.entries("r").remove_matching(&tagged).await.unwrap();
                        claim(&format!("removed {number} {count}"));
                    }
                }
            });
        });
        scope.spawn(|| {
            run(async {
                for count in 0_u64.. {
                    let (key, entries) = (format!("file {number}"), store.entries("r").durable());
                    entries.insert(&*key, in_a_file(number, count)).await.unwrap();
                    claim(&format!("{key} {count}"));
                }
            });
        });
        scope.spawn(|| {
            run(async {
                for count in 0_u64.. {
                    let name = format!("sum {number}");
                    let sum = store.entries("r").incr(&*name, 1, Lifetime::Forever).await.unwrap();
                    assert_eq!(sum, i64::try_from(count + 1).unwrap());
                    claim(&format!("{name} {sum}"));
                    if count.is_multiple_of(50) {
                        store.keep().await.unwrap();
                    }
                }
            });
        });
    });
}

/// Opens a store together with others, says whether it replaced it, and writes to it.
async fn replace(path: &Path, number: u64) {
    while !path.with_file_name("go").exists() {
        thread::yield_now();
    }
    let store = open_to_replace(path).await;
    let was_replaced = matches!(store.condition(), Condition::Replaced { .. });
    claim(if was_replaced { "replaced" } else { "opened" });
    store.entries("r").durable().insert(format!("by {number}"), entry("x")).await.unwrap();
    claim("written");
    // Until it is killed.
    loop {
        thread::park();
    }
}

async fn open_to_replace(path: &Path) -> SqliteStore {
    let day = std::time::Duration::from_secs(86_400);
    let options = StoreOptions::new().backups(path.with_file_name("backups"), day, 2);
    SqliteStore::open_with(path, options).await.unwrap()
}

/// Restores two backups in turn, for ever.
fn restore(path: &Path) {
    run(async {
        let store = open(path).await;
        let backups = ["a", "b"].map(|name| path.with_file_name(name));
        for (backup, name) in backups.iter().zip(["a", "b"]) {
            let value = name.repeat(5000);
            let new = || NewEntry::new(Stored::text(&*value), Lifetime::Forever);
            let entries = (0..100).map(|index| (format!("{index}"), new()));
            store.entries("r").insert_many(entries).await.unwrap();
            if !backup.exists() {
                store.backup(backup).await.unwrap();
            }
        }
        for backup in backups.iter().cycle() {
            store.restore(backup).await.unwrap();
            claim("restored");
        }
    });
}

fn entry(key: &str) -> NewEntry {
    NewEntry::new(Stored::text(format!("value of {key}")), Lifetime::Forever)
}

/// A value that is too large for a row, and says what it is from its first byte to its last.
fn in_a_file(number: u64, count: u64) -> NewEntry {
    let text = format!("file {number} {count} ").repeat(2000);
    NewEntry::new(Stored::text(text), Lifetime::Forever)
}

/// Every write reaches the kernel before it is answered, and with it the disk for the durable ones.
async fn open(path: &Path) -> SqliteStore {
    let every = std::time::Duration::from_millis(200);
    let options = StoreOptions::new()
        .backups(path.with_file_name("backups"), every, 2)
        .compress_above(u64::MAX)
        .file_above(4000)
        .on_corruption(OnCorruption::Refuse);
    SqliteStore::open_with(path, options).await.unwrap()
}

fn claim(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "claim {what}").unwrap();
    out.flush().unwrap();
}

/// A process, and what it claimed.
struct Killed {
    child: Child,
    out: BufReader<ChildStdout>,
    claims: Vec<String>,
}

impl Killed {
    fn start(path: &Path, work: &str, number: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_process_works_until_it_is_killed", "--nocapture"])
            .env(PATH, path)
            .env(WORK, work)
            .env(NUMBER, number.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, claims: Vec::new() }
    }

    /// Reads so many claims, or all that there are if it has ended.
    fn read(&mut self, count: u64) {
        let (mut line, mut read) = (String::new(), 0);
        while read < count && self.out.read_line(&mut line).unwrap() != 0 {
            // A line that the kill cut off claims nothing.
            if let Some(claim) =
                line.strip_prefix("claim ").and_then(|rest| rest.strip_suffix('\n'))
            {
                self.claims.push(claim.to_owned());
                read += 1;
            }
            line.clear();
        }
    }

    fn kill(mut self) -> Vec<String> {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.read(u64::MAX);
        std::mem::take(&mut self.claims)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What must be there.
#[derive(Default)]
struct Seen {
    singles: BTreeSet<String>,
    bulks: BTreeSet<String>,
    removed: BTreeSet<String>,
    sums: BTreeMap<String, i64>,
    /// The last of those written one over the other.
    files: BTreeMap<String, u64>,
    epoch: Option<Epoch>,
}

impl Seen {
    fn claimed(&mut self, claims: &[String]) {
        for claim in claims {
            let (word, rest) = claim.split_once(' ').unwrap();
            match word {
                "single" => drop(self.singles.insert(claim.clone())),
                "bulk" => drop(self.bulks.insert(claim.clone())),
                "file" => {
                    let (name, count) = claim.rsplit_once(' ').unwrap();
                    self.files.insert(name.to_owned(), count.parse().unwrap());
                }
                "removed" => drop(self.removed.insert(format!("bulk {rest}"))),
                _ => {
                    let (name, sum) = claim.rsplit_once(' ').unwrap();
                    self.sums.insert(name.to_owned(), sum.parse().unwrap());
                }
            }
        }
    }

    async fn verify(&mut self, path: &Path) {
        let store = open(path).await;
        let report = store.check(Depth::Full).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        // Killed, it has forgotten nothing that it acknowledged.
        let epoch = store.epoch().await.unwrap();
        assert_eq!(*self.epoch.get_or_insert(epoch), epoch);
        let entries = store.entries("r");
        for (key, value) in self.singles.iter().zip(entries.get_many(&self.singles).await.unwrap())
        {
            assert_eq!(value, Some(Stored::text(format!("value of {key}"))), "{key}");
        }
        for (name, sum) in &self.sums {
            let value = entries.get(name).await.unwrap().unwrap();
            let is: i64 = String::from_utf8(value.bytes).unwrap().parse().unwrap();
            // One more may have been written and not acknowledged.
            assert!((*sum..=*sum + 1).contains(&is), "{name}: {is}, acknowledged {sum}");
        }
        for (name, count) in &self.files {
            let value = entries.get(name).await.unwrap().unwrap();
            let text = String::from_utf8(value.bytes).unwrap();
            let is: u64 = text.split(' ').nth(2).unwrap().parse().unwrap();
            // One more may have been written and not acknowledged.
            assert!((*count..=*count + 1).contains(&is), "{name}: {is}, acknowledged {count}");
            assert!(text == format!("{name} {is} ").repeat(2000), "{name} {is}: half of it");
        }
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        let bulks = Select::everything().matching(Pattern::percent("bulk %"));
        for (key, _) in entries.page(&bulks, None, usize::MAX).await.unwrap() {
            *found.entry(key.rsplit_once(' ').unwrap().0.to_owned()).or_default() += 1;
        }
        assert!(found.values().all(|count| *count == BULK), "half of a bulk write: {found:?}");
        for name in &self.bulks {
            let number = name.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
            // The third may have been removed without being acknowledged.
            assert!(found.contains_key(name) || number % 3 == 2, "{name}");
        }
        for name in &self.removed {
            assert!(!found.contains_key(name), "{name}");
        }
        // No garbage outlives the one who comes next.
        store.keep().await.unwrap();
        let report = store.check(Depth::Quick).await.unwrap();
        assert_eq!((report.strays, report.findings), (0, Vec::new()));
        // Its keeper takes backups, too, and lets old ones go.
        drop(entries);
        drop(store);
        self.verify_backups(path).await;
    }

    async fn verify_backups(&self, path: &Path) {
        let directory = path.with_file_name("backups");
        for backup in backups_in(&directory, path).unwrap() {
            let other: PathBuf = directory.join("restored.db");
            SqliteStore::restore_file(&other, &backup.path).await.unwrap();
        }
    }
}

fn budget() -> (u64, u64) {
    let seed = env::var("LARDER_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    match env::var("LARDER_SOAK_BUDGET").as_deref() {
        Ok("full") => (seed, 200),
        _ => (seed, 4),
    }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}
