//! The table under schedules that shuttle chooses: who goes on is decided before every lock, every
//! look at what is published and every wait.
//!
//! They stand apart from `recent/schedules.rs`, which tries every order of the few steps of one
//! part, because here whole reads, adjusts, refreshes and feeds meet, in more orders than can be
//! tried. `schedules/world.rs` has the promise in a form that each read checks, and
//! `schedules/scenarios.rs` who meets whom, and what is noticed when a safeguard is out.
//! `cargo xtask soak schedules` runs them, with the feature `mutants`, which they need. Not seen
//! here: what a weak memory model allows, deadlines, and what lies inside a step of tokio's locks
//! and channels.
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

use self::world::{STALE, TORN};

/// Held shared by whoever needs every safeguard, and alone by whoever takes one out.
static SAFEGUARDS: RwLock<()> = RwLock::new(());

/// Schedules of each kind for a scenario in the gate.
const SMALL: usize = 500;
/// The same for a long run.
const FULL: usize = 50_000;
/// Schedules of each kind after which a mutant counts as unnoticed.
const FOR_MUTANTS: usize = 20_000;
/// How often a schedule by priorities lets a task overtake another. What is written beside the
/// code takes two or three; each more dilutes the search.
const OVERTAKINGS: usize = 3;
/// Futures and the formatting of a failure take more than the 32 KiB that shuttle gives a thread.
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

/// Runs `scenario` under `count` schedules by priorities and as many by chance.
fn run<F>(scenario: F, count: usize, on_failure: &FailurePersistence)
where
    F: Fn() + Clone + Send + Sync + 'static,
{
    let by_priorities = PctScheduler::new_from_seed(seed(), OVERTAKINGS, count);
    run_by(by_priorities, scenario.clone(), on_failure);
    run_by(RandomScheduler::new_from_seed(seed(), count), scenario, on_failure);
}

fn run_by<S, F>(scheduler: S, scenario: F, on_failure: &FailurePersistence)
where
    S: Scheduler + 'static,
    F: Fn() + Send + Sync + 'static,
{
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = on_failure.clone();
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

/// Some read of the scenario must be wrong under some schedule, once the safeguard is out. Which of
/// the two ways of being wrong a seed finds first is chance: where some of what is read is older
/// than what was known, all of it is of no one moment unless the rest is as old.
fn notices(safeguard: Safeguard, scenario: fn()) {
    let _alone = SAFEGUARDS.write().unwrap_or_else(PoisonError::into_inner);
    safeguard.take_out();
    let found = complaint_of(scenario);
    Safeguard::restore_all();
    expect_complaint(found, &[STALE, TORN]);
}

/// The same for a scenario that leaves the step out itself.
fn breaks(scenario: fn(), complaint: &str) {
    let _in_place = SAFEGUARDS.read().unwrap_or_else(PoisonError::into_inner);
    expect_complaint(complaint_of(scenario), &[complaint]);
}

fn expect_complaint((found, count): (Option<String>, usize), complaints: &[&str]) {
    println!("seed {}, after {count} schedules: {found:?}", seed());
    let found = found.expect("no schedule noticed that the step is out");
    let is_one = complaints.iter().any(|complaint| found.contains(complaint));
    assert!(is_one, "wanted one of {complaints:?}, found `{found}`");
}

/// The complaint of the first schedule that has one, and how many it took.
fn complaint_of(scenario: fn()) -> (Option<String>, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = {
        let count = count.clone();
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
