//! Random operations against a map that knows the rules.
//!
//! Nothing is evicted here, so the tier must hit exactly where the model does.

use std::{collections::BTreeMap, time::Duration};

use larder_core::{
    Moment,
    freshness::{Deadlines, Policy, State},
};
use larder_memory::NewEntry;
use proptest::prelude::*;

use crate::support::{cause, entry, find, key, row, tier};

const KEYS: u64 = 12;
const ROWS: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Fill {
        key: u64,
        rows: Vec<u64>,
        ttl: u64,
        stale: u64,
        shop: bool,
    },
    /// As many entries on one row as it takes to go over the list of pending items.
    FillMany {
        row: u64,
    },
    Overtaken {
        key: u64,
        rows: Vec<u64>,
    },
    Remove {
        key: u64,
    },
    Invalidate {
        rows: Vec<u64>,
    },
    Soften {
        rows: Vec<u64>,
    },
    Shut,
    Advance {
        micros: u64,
    },
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = || prop::collection::vec(0..ROWS, 0..4);
    let step = prop_oneof![
        8 => (0..KEYS, rows(), 1..6u64, 0..3u64, any::<bool>())
            .prop_map(|(key, rows, ttl, stale, shop)| Step::Fill { key, rows, ttl, stale, shop }),
        1 => (0..ROWS).prop_map(|row| Step::FillMany { row }),
        1 => (0..KEYS, rows()).prop_map(|(key, rows)| Step::Overtaken { key, rows }),
        2 => (0..KEYS).prop_map(|key| Step::Remove { key }),
        3 => rows().prop_map(|rows| Step::Invalidate { rows }),
        3 => rows().prop_map(|rows| Step::Soften { rows }),
        1 => Just(Step::Shut),
        2 => (1..3_000u64).prop_map(|micros| Step::Advance { micros }),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..60)
}

struct Held {
    value: u64,
    rows: Vec<u64>,
    deadlines: Deadlines,
    shop: bool,
}

impl Held {
    /// Ends the freshness at `now`; whether it may live on.
    fn soften(&mut self, now: Moment) -> bool {
        let softened = self.deadlines.softened(now);
        self.deadlines = softened.unwrap_or(self.deadlines);
        softened.is_some()
    }
}

const MANY: std::ops::Range<u64> = 1_000..1_100;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_tier_hits_exactly_where_the_model_does(steps in steps()) {
        let (tier, clock) = tier();
        let mut model = BTreeMap::<u64, Held>::new();
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64;
            match step {
                Step::Fill { key, rows, ttl, stale, shop } => {
                    let mut new = entry(&tier, key, number, rows.iter().copied().map(row));
                    let policy = Policy {
                        stale_while_revalidate: Duration::from_millis(stale),
                        ..Policy::new(Some(Duration::from_millis(ttl))).unwrap()
                    };
                    let deadlines = policy.deadlines(clock.now(), Moment::NEVER);
                    new.deadlines = deadlines;
                    if !shop {
                        new.pass = tier.pass(["app"]);
                    }
                    tier.insert(new, || true);
                    model.insert(key, Held { value: number, rows, deadlines, shop });
                }
                Step::FillMany { row: only } => for key in MANY {
                    // Every other one may be served as stale.
                    let policy = Policy {
                        stale_while_revalidate: Duration::from_millis(key % 2),
                        ..Policy::new(None).unwrap()
                    };
                    let deadlines = policy.deadlines(clock.now(), Moment::NEVER);
                    let new = entry(&tier, key, number, [row(only)]);
                    tier.insert(NewEntry { deadlines, ..new }, || true);
                    let rows = vec![only];
                    model.insert(key, Held { value: number, rows, deadlines, shop: true });
                },
                Step::Overtaken { key, rows } => {
                    tier.insert(entry(&tier, key, number, rows.into_iter().map(row)), || false);
                }
                Step::Remove { key: gone } => {
                    let held = model.remove(&gone);
                    let valid = tier.remove(key(gone).as_slice());
                    let is_gone = |held: Held| held.deadlines.gone_at() <= clock.now();
                    prop_assert!(held.is_none_or(|held| valid || is_gone(held)));
                }
                Step::Invalidate { rows } => {
                    let digests: Vec<_> = rows.iter().map(|number| row(*number).digest()).collect();
                    tier.invalidate(&digests, &cause());
                    model.retain(|_, held| !held.rows.iter().any(|row| rows.contains(row)));
                }
                Step::Soften { rows } => {
                    let digests: Vec<_> = rows.iter().map(|number| row(*number).digest()).collect();
                    tier.soften(&digests, &cause());
                    model.retain(|_, held| {
                        let is_meant = held.rows.iter().any(|row| rows.contains(row));
                        !is_meant || held.soften(clock.now())
                    });
                }
                Step::Shut => {
                    tier.shut("shop", &cause());
                    model.retain(|_, held| !held.shop);
                }
                Step::Advance { micros } => clock.advance(Duration::from_micros(micros)),
                Step::Settle => tier.settle(),
            }
            for key in (0..KEYS).chain(MANY.step_by(11)) {
                let state = |held: &Held| held.deadlines.state(clock.now());
                let held = model.get(&key).filter(|held| state(held) != State::Expired);
                let found = find(&tier, key).map(|found| (*found.value, found.state));
                let expected = held.map(|held| (held.value, state(held)));
                prop_assert_eq!(found, expected, "key {}", key);
            }
        }
        for gone in (0..KEYS).chain(MANY) {
            tier.remove(key(gone).as_slice());
        }
        tier.settle();
        let stats = tier.stats();
        prop_assert_eq!((stats.entries, stats.links, stats.link_bytes), (0, 0, 0));
    }
}
