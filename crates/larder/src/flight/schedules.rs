//! The flights of one key under schedules that shuttle chooses.
//!
//! They stand apart from the tests of the library because those see whole reads on tokio, and these
//! every order in which readers join, leave and are answered. What `region.rs` does around the map
//! is told again here in its order: look at the map, look at the memory, begin; store, take off,
//! answer. tokio's `watch` and `Notify` are taken as single steps, since shuttle cannot look into
//! them. `cargo xtask soak schedules` runs this beside the schedules of the memory tier.
//!
//! **Invariant**: whoever joined is answered (shuttle reports a reader that waits for ever), and a
//! crowd costs one load.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use shuttle::{
    Config, Runner,
    future::{self, block_on},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

use super::{Flight, Flights, Waiter};
use crate::{error::LoadError, landing::Landed, waits::Waits};

const KEY: &[u8] = b"key";

/// How often a schedule by priorities lets a task overtake another.
const OVERTAKINGS: usize = 3;

/// What the flight does differently, to see that it is noticed.
#[derive(Clone, Copy, PartialEq)]
enum Slip {
    None,
    /// It leaves the map before its value is stored.
    LeavesEarly,
    /// It gives up without asking whether somebody came.
    GivesUpBlindly,
}

/// Whether a flight that everybody left goes on.
#[derive(Clone, Copy, PartialEq)]
enum Abandoned {
    Finishes,
    IsGivenUp,
}

struct World {
    flights: Flights<(), ()>,
    /// Stands for the memory tier: whether the value is there.
    stored: AtomicBool,
    loads: AtomicUsize,
    abandoned: Abandoned,
    slip: Slip,
}

impl World {
    fn new(abandoned: Abandoned, slip: Slip) -> Arc<Self> {
        let (stored, loads) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { flights: Flights::default(), stored, loads, abandoned, slip })
    }

    /// `None` when the value is there.
    fn join(self: &Arc<Self>) -> Option<Waiter<(), ()>> {
        let mut shard = self.flights.shard(KEY);
        if let Some(flight) = shard.flying.get(KEY) {
            return Some(Waiter::new(flight.clone(), false));
        }
        if self.stored.load(SeqCst) {
            return None;
        }
        let flight = Flight::new(Waits::default().run(&"region".into()));
        let waiter = Waiter::new(flight.clone(), true);
        shard.flying.insert(KEY.into(), flight.clone());
        future::spawn(self.clone().fly(flight));
        Some(waiter)
    }

    async fn fly(self: Arc<Self>, flight: Arc<Flight<(), ()>>) {
        let load = async {
            self.loads.fetch_add(1, SeqCst);
            future::yield_now().await;
            if self.slip == Slip::LeavesEarly {
                self.flights.shard(KEY).take_off(KEY, &flight);
            }
            self.stored.store(true, SeqCst);
        };
        let give_up = || match (self.abandoned, self.slip) {
            (Abandoned::Finishes, _) => false,
            (Abandoned::IsGivenUp, Slip::GivesUpBlindly) => {
                self.flights.shard(KEY).take_off(KEY, &flight);
                true
            }
            (Abandoned::IsGivenUp, _) => self.flights.give_up(KEY, &flight),
        };
        if flight.unless_abandoned(load, give_up).await.is_some() {
            self.flights.shard(KEY).take_off(KEY, &flight);
            flight.land(Arc::new(Landed::failed(LoadError::Panicked)));
        }
    }

    fn read(self: &Arc<Self>) {
        if let Some(waiter) = self.join() {
            block_on(waiter.landed());
        }
    }

    fn leave_at_once(self: &Arc<Self>) {
        drop(self.join());
    }

    /// Lets each of `readers` run on a thread of its own.
    fn with(self: &Arc<Self>, readers: &[fn(&Arc<Self>)]) {
        let spawn = |reader: &fn(&Arc<Self>)| {
            let (world, reader) = (self.clone(), *reader);
            thread::spawn(move || reader(&world))
        };
        let readers: Vec<_> = readers.iter().map(spawn).collect();
        readers.into_iter().for_each(|reader| reader.join().expect("a reader does not panic"));
    }
}

fn a_crowd(slip: Slip) {
    let world = World::new(Abandoned::Finishes, slip);
    world.with(&[World::read, World::read, World::read, World::leave_at_once]);
    assert_eq!(world.loads.load(SeqCst), 1, "a crowd costs one load");
    assert!(world.flights.shard(KEY).flying.is_empty(), "the flight has left the map");
}

fn some_leave(slip: Slip) {
    let world = World::new(Abandoned::IsGivenUp, slip);
    world.with(&[World::leave_at_once, World::read, World::leave_at_once, World::read]);
    assert!(world.stored.load(SeqCst), "somebody waited, so the value is there");
    assert!(world.flights.shard(KEY).flying.is_empty(), "the flight has left the map");
}

/// Runs `scenario` under many schedules of both kinds.
fn explore(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let seed = env::var("LARDER_SOAK_SEED").ok();
    let seed = seed.map_or(1, |seed| seed.parse().expect("LARDER_SOAK_SEED is a number"));
    // As for the memory tier: a second or less in the gate.
    let count =
        if env::var("LARDER_SOAK_BUDGET").as_deref() == Ok("full") { 150_000 } else { 1_000 };
    println!("seed {seed}, {count} schedules by priorities and {count} by chance");
    let by_priorities = PctScheduler::new_from_seed(seed, OVERTAKINGS, count);
    run(by_priorities, scenario.clone());
    run(RandomScheduler::new_from_seed(seed, count), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // Futures and the formatting of a failure take more than the 32 KiB of the default.
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

/// Some schedule must end in `complaint`.
fn breaks(scenario: impl Fn() + Clone + Send + Sync + 'static, complaint: &str) {
    let found = panic::catch_unwind(AssertUnwindSafe(|| explore(scenario)));
    let payload = found.expect_err("no schedule noticed the slip");
    let words = payload.downcast_ref::<String>().cloned();
    let words = words.or_else(|| payload.downcast_ref::<&str>().map(|words| (*words).to_owned()));
    let words = words.expect("the complaint has words");
    assert!(words.contains(complaint), "wanted `{complaint}`, found `{words}`");
}

#[test]
fn a_crowd_costs_one_load_whoever_leaves() {
    explore(|| a_crowd(Slip::None));
}

#[test]
fn whoever_joins_a_flight_that_others_leave_is_answered() {
    explore(|| some_leave(Slip::None));
}

#[test]
fn a_gap_between_the_map_and_the_memory_is_noticed() {
    breaks(|| a_crowd(Slip::LeavesEarly), "a crowd costs one load");
}

#[test]
fn giving_up_without_looking_is_noticed() {
    breaks(|| some_leave(Slip::GivesUpBlindly), "deadlock");
}
