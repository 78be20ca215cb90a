//! Who depends on something: counted, limited, and shown in pages.
//!
//! **Invariant** under test: looking changes nothing, and an entry reached in several ways counts
//! once.

use std::collections::BTreeSet;

use larder_core::{Dependency, Digest};
use larder_memory::{Amount, Cursor, MemoryTier, Reach};

use crate::support::{cause, put, row, tier, value};

fn reach(dependencies: &[Dependency]) -> Reach {
    Reach::of(dependencies.iter().map(|dependency| vec![dependency.digest()]))
}

/// All entries, page by page, in order.
fn pages(tier: &MemoryTier, reach: &Reach, size: usize) -> Vec<u64> {
    let (mut shown, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let before = shown.len();
        cursor = tier.page(reach, from, size, |dependent| shown.push(number(&dependent)));
        assert!(shown.len() - before <= size);
        assert_eq!(cursor.map(|cursor| Cursor::from_parts(cursor.to_parts())), cursor);
    }
    shown
}

fn number(dependent: &larder_memory::Dependent<'_>) -> u64 {
    u64::from_le_bytes(dependent.key().as_slice().try_into().unwrap())
}

#[test]
fn an_entry_reached_by_two_dependencies_counts_once_in_all_and_for_each() {
    let (tier, _) = tier();
    put(&tier, 1, 0, [row(1)]);
    put(&tier, 2, 0, [row(2)]);
    put(&tier, 3, 0, [row(1), row(2)]);
    put(&tier, 4, 0, [row(4)]);
    let reach = reach(&[row(1), row(2), row(1), row(9)]);
    let tally = tier.tally(&reach);
    let entries: Vec<u64> = tally.by_dependency.iter().map(|amount| amount.entries).collect();
    assert_eq!((tally.total.entries, &*entries), (3, &[2, 2, 2, 0][..]));
    let all: Amount = [1, 2, 3].iter().fold(Amount::default(), |sum, region| {
        let amount = tally.by_region[region];
        Amount { entries: sum.entries + amount.entries, bytes: sum.bytes + amount.bytes }
    });
    assert_eq!(all, tally.total, "the regions are the first bytes of the keys");
    assert_eq!(pages(&tier, &reach, 1), [1, 3, 2]);
    assert_eq!(tier.invalidate(&[row(1).digest(), row(2).digest()], &cause()), 3);
    assert_eq!(tier.tally(&reach).total, Amount::default());
}

#[test]
fn the_limit_is_met_by_entries_and_not_by_links() {
    let (tier, _) = tier();
    for number in 0..10 {
        put(&tier, number, 0, [row(100), row(101)]);
    }
    let both = reach(&[row(100), row(101)]);
    assert!(!tier.exceeds(&both, 10), "twenty links, ten entries");
    assert!(tier.exceeds(&both, 9));
    assert!(!tier.exceeds(&reach(&[row(5)]), 0));
    assert_eq!(value(&tier, 3), Some(0));
}

#[test]
fn what_has_ended_in_any_way_is_not_counted() {
    let (tier, clock) = tier();
    let all = Dependency::tag("all");
    for number in 0..1_000 {
        put(&tier, number, 0, [all.clone(), row(number % 4)]);
    }
    tier.invalidate(&[row(0).digest()], &cause());
    tier.remove(crate::support::key(1).as_slice());
    assert_eq!(tier.tally(&reach(std::slice::from_ref(&all))).total.entries, 749);
    clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(tier.tally(&reach(std::slice::from_ref(&all))).total.entries, 0);
}

#[test]
fn pages_show_every_entry_once_while_others_come_and_go() {
    let (tier, _) = tier();
    let all = Dependency::tag("all");
    for number in 0..3_000 {
        put(&tier, number, 0, [all.clone(), row(number % 3)]);
    }
    let reach = reach(std::slice::from_ref(&all));
    let (mut shown, mut cursor, mut page) = (Vec::new(), Some(Cursor::default()), 0);
    while let Some(from) = cursor {
        // Each page ends with one that stays; otherwise some would be shown again.
        cursor = tier.page(&reach, from, 102, |dependent| shown.push(number(&dependent)));
        page += 1;
        match page {
            // A third goes, then another: the list is packed in between.
            5 => drop(tier.invalidate(&[row(0).digest()], &cause())),
            9 => drop(tier.invalidate(&[row(1).digest()], &cause())),
            _ => {}
        }
        tier.settle();
        put(&tier, 10_000 + page, 0, [all.clone()]);
    }
    let distinct: BTreeSet<u64> = shown.iter().copied().collect();
    assert!((0..3_000).filter(|number| number % 3 == 2).all(|number| distinct.contains(&number)));
    let stayed = shown.iter().filter(|number| **number % 3 == 2 && **number < 3_000).count();
    assert_eq!(stayed, 1_000, "none of them twice");
}

#[test]
fn a_page_ends_short_when_everything_was_shown_before() {
    let (tier, _) = tier();
    let twice = [Dependency::tag("a"), Dependency::tag("b")];
    for number in 0..20_000 {
        put(&tier, number, 0, twice.clone());
    }
    let reach = reach(&twice);
    let (mut cursor, mut empty, mut shown) = (Some(Cursor::default()), 0, 0);
    while let Some(from) = cursor {
        let before = shown;
        cursor = tier.page(&reach, from, 10, |_| shown += 1);
        empty += usize::from(shown == before);
    }
    assert_eq!(shown, 20_000);
    assert!((1..=10).contains(&empty), "{empty} empty pages");
}

#[test]
fn a_foreign_cursor_begins_anew() {
    let (tier, _) = tier();
    put(&tier, 1, 0, [row(1)]);
    let reach = Reach::of([vec![row(1).digest(), Digest(7)]]);
    let foreign = Cursor::from_parts([0, 99, 98, 97]);
    let mut shown = 0;
    assert_eq!(tier.page(&reach, foreign, 10, |_| shown += 1), None);
    assert_eq!(shown, 1);
    assert_eq!(tier.page(&reach, Cursor::from_parts([9, 0, 0, 0]), 10, |_| shown += 1), None);
    assert_eq!(shown, 1);
}
