//! The tier under schedules that shuttle chooses: which thread goes on is decided before every lock
//! and every atomic access.
//!
//! They stand apart from the other tests because those see the interleavings that happen, and these
//! the ones that could. `schedules/world.rs` has the promise in a form that each read checks,
//! `schedules/scenarios.rs` who meets whom, `schedules/mutants.rs` shows that a scenario notices
//! when its safeguard is out. `cargo xtask soak schedules` runs them, with the feature `mutants`,
//! which they need. Not seen here: what a weak memory model allows (shuttle takes every access as
//! sequentially consistent), and locks inside the engine other than as quick_cache hands them to
//! shuttle.
//!
//! **Invariant**: an execution does the same whenever it is given the same schedule, so a seed
//! repeats what it found. Safeguards are switches of the whole process, so nothing else runs while
//! one is out.

use std::{
    any::Any,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder_core::safeguard::Safeguard;
use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

mod world;

mod scenarios;

mod mutants;

/// Held shared by whoever needs every safeguard, and alone by whoever takes one out.
static SAFEGUARDS: RwLock<()> = RwLock::new(());

/// Schedules of each kind for a scenario in the gate: half a second. What a mutant opens is found
/// within a few hundred; ten times fewer would miss some of it.
const SMALL: usize = 1_000;
/// The same for a long run.
const FULL: usize = 150_000;
/// Schedules of each kind after which a mutant counts as unnoticed.
const FOR_MUTANTS: usize = 20_000;
/// How often a schedule by priorities lets a thread overtake another. All that is written beside
/// the code takes two; each more dilutes the search.
const OVERTAKINGS: usize = 3;
/// Formatting a failure takes more than the 32 KiB that shuttle gives a thread.
const STACK_BYTES: usize = 256 << 10;

fn seed() -> u64 {
    let seed = env::var("LARDER_SOAK_SEED").ok();
    seed.map_or(1, |seed| seed.parse().expect("LARDER_SOAK_SEED is a number"))
}

fn count() -> usize {
    match env::var("LARDER_SOAK_BUDGET").as_deref() {
        Ok("full") => FULL,
        _ => SMALL,
    }
}

/// What runs under each schedule.
trait Scenario: Fn() + Clone + Send + Sync + 'static {}

impl<F: Fn() + Clone + Send + Sync + 'static> Scenario for F {}

/// Runs `scenario` under `count` schedules by priorities and as many by chance.
fn run(scenario: impl Scenario, count: usize, on_failure: &FailurePersistence) {
    // The finer search first: it finds what takes one thread to stand still for long.
    let by_priorities = PctScheduler::new_from_seed(seed(), OVERTAKINGS, count);
    run_by(by_priorities, scenario.clone(), on_failure);
    let by_chance = RandomScheduler::new_from_seed(seed(), count);
    run_by(by_chance, scenario, on_failure);
}

fn run_by<S>(scheduler: S, scenario: impl Scenario, on_failure: &FailurePersistence)
where
    S: Scheduler + 'static,
{
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = on_failure.clone();
    // The warning that all orderings are taken as the strongest; said above.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

/// The scenario must hold under every schedule tried.
fn holds(scenario: fn()) {
    let _in_place = SAFEGUARDS.read().unwrap_or_else(PoisonError::into_inner);
    let (seed, count) = (seed(), count());
    println!("seed {seed}, {count} schedules by priorities and {count} by chance");
    run(scenario, count, &FailurePersistence::Print);
}

/// The scenario must fail with `complaint` under some schedule, once the safeguard is out.
fn notices(safeguard: Safeguard, scenario: fn(), complaint: &str) {
    let _alone = SAFEGUARDS.write().unwrap_or_else(PoisonError::into_inner);
    safeguard.take_out();
    let found = complaint_of(scenario);
    Safeguard::restore_all();
    expect_complaint(found, complaint);
}

/// The same for a scenario that leaves the step out itself.
fn breaks(scenario: fn(), complaint: &str) {
    let _in_place = SAFEGUARDS.read().unwrap_or_else(PoisonError::into_inner);
    expect_complaint(complaint_of(scenario), complaint);
}

fn expect_complaint((found, count): (Option<String>, usize), complaint: &str) {
    println!("seed {}, after {count} schedules: {found:?}", seed());
    let found = found.expect("no schedule noticed that the step is out");
    assert!(found.contains(complaint), "wanted `{complaint}`, found `{found}`");
}

/// The complaint of the first schedule that has one, and how many it took.
fn complaint_of(scenario: fn()) -> (Option<String>, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = {
        let count = Arc::clone(&count);
        move || {
            count.fetch_add(1, Ordering::Relaxed);
            scenario();
        }
    };
    let run = || run(counted, FOR_MUTANTS, &FailurePersistence::None);
    let found = panic::catch_unwind(AssertUnwindSafe(run)).err().map(|payload| words(&*payload));
    (found, count.load(Ordering::Relaxed))
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
