//! MD6: links die with their entries, however those go.

use larder_core::{Clock, Dependency};
use larder_memory::{MemoryLimit, MemoryTier};

use crate::support::{cause, key, links, put, row, tier};

fn fill(tier: &MemoryTier, numbers: std::ops::Range<u64>) {
    for number in numbers {
        put(tier, number, number, (0..20).map(|n| row(number * 7 % 500 + n)));
    }
}

fn nothing_is_left(tier: &MemoryTier) {
    tier.settle();
    let stats = tier.stats();
    assert_eq!((stats.entries, stats.weight, stats.links, stats.link_bytes), (0, 0, 0, 0));
}

#[test]
fn no_link_is_left_when_every_entry_was_removed() {
    let (tier, _) = tier();
    fill(&tier, 0..2_000);
    (0..2_000).for_each(|number| assert!(tier.remove(key(number).as_slice())));
    nothing_is_left(&tier);
}

#[test]
fn no_link_is_left_when_every_entry_was_invalidated() {
    let (tier, _) = tier();
    fill(&tier, 0..2_000);
    for number in 0..600 {
        tier.invalidate(&[row(number).digest()], &cause());
    }
    nothing_is_left(&tier);
}

#[test]
fn no_link_is_left_when_the_timeline_was_shut() {
    let (tier, _) = tier();
    fill(&tier, 0..2_000);
    tier.shut("shop", &cause());
    nothing_is_left(&tier);
}

/// MD6.
#[test]
fn links_do_not_pile_up_under_refills_and_evictions() {
    let tier = MemoryTier::new(MemoryLimit::bytes(1 << 20), Clock::manual());
    let tag = Dependency::tag("all");
    let mut most = 0;
    for round in 0..20 {
        for number in 0..1_000 {
            put(&tier, number, round, [tag.clone(), row(number)]);
        }
        let stats = tier.stats();
        assert_eq!(stats.links, stats.entries * links([tag.clone(), row(0)]));
        assert_eq!(tier.dependents(tag.digest()) as u64, stats.entries);
        if round == 1 {
            most = stats.link_bytes * 2;
        }
        assert!(round < 2 || stats.link_bytes <= most, "{round}: {stats:?}");
    }
}
