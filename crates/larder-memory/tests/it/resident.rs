//! The process takes the memory that the limit says: six shapes, each in a process of its own.
//!
//! The test runs its own binary again, once for each shape, with the shape in the environment;
//! the child fills a tier until it evicts and prints how much its resident memory has grown.

use std::{
    any::Any,
    collections::BTreeMap,
    env, fs,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use larder_core::{Clock, Dependency, DependencySet, Key, KeyEncoder, Name, Stamps, Weigh};
use larder_memory::{MemoryLimit, MemoryTier, NewEntry};

use crate::support::for_an_hour;

const LIMIT: u64 = 256 << 20;
const SHAPE: &str = "LARDER_RESIDENT_SHAPE";
const SHAPES: [&str; 6] =
    ["small integers", "long strings", "nested maps", "empty", "null", "1000 dependencies"];

#[test]
fn resident_memory_stays_near_the_limit() {
    if let Ok(shape) = env::var(SHAPE) {
        return fill(&shape);
    }
    // Two at a time: one for each core of a small machine.
    for pair in SHAPES.chunks(2) {
        let children: Vec<_> = pair.iter().map(|shape| (shape, start(shape))).collect();
        for (shape, child) in children {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let line = text.lines().find_map(|line| line.split_once("RESIDENT "));
            let (_, number) = line.unwrap_or_else(|| panic!("{shape}: {text}"));
            let ratio = number.trim().parse::<f64>().unwrap() / LIMIT as f64;
            println!("{shape}: {ratio:.3} of the limit");
            assert!((0.8..=1.3).contains(&ratio), "{shape}: {ratio:.3} of the limit");
        }
    }
}

fn start(shape: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "resident::resident_memory_stays_near_the_limit", "--nocapture"])
        .env(SHAPE, shape)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn fill(shape: &str) {
    let clock = Clock::system();
    let tier = MemoryTier::new(MemoryLimit::bytes(LIMIT), clock.clone());
    let before = resident();
    let mut number = 0u64;
    loop {
        put(&tier, &clock, shape, number);
        number += 1;
        // Until a quarter had to leave again: then the tier is as full as it gets.
        if number.is_multiple_of(256) && number < tier.stats().evictions * 4 {
            break;
        }
    }
    tier.settle();
    println!("RESIDENT {}", resident() - before);
}

fn put(tier: &MemoryTier, clock: &Clock, shape: &str, number: u64) {
    let (value, value_bytes, dependencies) = shaped(shape, number);
    let mut key = KeyEncoder::new(1);
    number.encode(&mut key);
    let entry = NewEntry {
        key: key.finish(),
        value,
        value_bytes,
        deadlines: for_an_hour(clock),
        dependencies,
        stamps: Stamps::new(),
        pass: tier.pass(["app"]),
    };
    tier.insert(entry, || true);
}

type Shaped = (Arc<dyn Any + Send + Sync>, usize, DependencySet);

fn shaped(shape: &str, number: u64) -> Shaped {
    match shape {
        "small integers" => weighed(number, []),
        "long strings" => weighed("x".repeat(3_000 + number as usize % 2_000), []),
        "nested maps" => weighed(nested(number), []),
        "empty" => weighed(String::new(), []),
        "null" => weighed(None::<String>, []),
        _ => {
            let timeline: Name = "shop".into();
            let table: Name = "Artist".into();
            let rows = (0..1_000).map(|n| i64::try_from(number * 1_000 + n).unwrap());
            let id = |row| Dependency::id(timeline.clone(), table.clone(), [row]);
            weighed(number, rows.map(id))
        }
    }
}

fn weighed<V: Weigh + Send + Sync + 'static>(
    value: V,
    dependencies: impl IntoIterator<Item = Dependency>,
) -> Shaped {
    let bytes = size_of::<V>() + value.heap_bytes();
    (Arc::new(value), bytes, dependencies.into_iter().collect())
}

fn nested(number: u64) -> BTreeMap<String, BTreeMap<String, Vec<i64>>> {
    let inner = |n: u64| {
        (0..3).map(|k| (format!("field-{k}"), vec![n.cast_signed(); 4])).collect::<BTreeMap<_, _>>()
    };
    (0..4).map(|n| (format!("section-{n}"), inner(number + n))).collect()
}
