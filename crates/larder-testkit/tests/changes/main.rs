//! The soak of changes: when what a scope shows changed, the scope must have been touched.
//!
//! Random rows, a random scope, a random change. The judge is a list: the rows before and after,
//! filtered, sorted and cut as the scope says, by plain comparisons of Rust. If it differs, the
//! history must answer "touched"; if the history says so for nothing, it is counted, by kind of
//! condition.
//!
//! - `row`: rows and what may happen to them;
//! - `asked`: what a scope asks for, as a dependency and as a filter;
//! - `trial`: one change against many scopes, as the history sees it and as the lists show it;
//! - `tally`: what was seen, how often a scope fell for nothing, and how often it may.
//!
//! `LARDER_SOAK_SEED` repeats a run, `LARDER_SOAK_BUDGET=full` makes it long: ten million changes
//! checked or more. Mutants show that each kind of mistake would be found.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use larder_core::{Clock, Dependency, Nulls, Watch, dependency::Atom};
use larder_testkit::random::Random;

use crate::{
    tally::Tally,
    trial::{Lens, Trial},
};

mod row;

mod asked;

mod tally;

mod trial;

/// Pairs of a change and a scope that are checked: some seconds where nothing is optimised.
const SMALL: u64 = 300_000;

/// What is claimed.
const FULL: u64 = 10_000_000;

#[test]
fn changed_lists_are_touched() {
    let (seed, budget) = (seed(), if is_full() { FULL } else { SMALL });
    println!("soak changes: seed {seed}, {budget} checks");
    let (mut random, mut tally) = (Random::new(seed), Tally::default());
    let clock = Clock::system();
    let begin = clock.now();
    while tally.checks() < budget {
        let trial = Trial::random(&mut Random::new(random.next()));
        if let Err(missed) = trial.run(&Lens::clear(), &mut tally) {
            panic!("seed {seed}: {missed}");
        }
    }
    let seconds = clock.now().since(begin).as_secs_f64();
    tally.print(seconds);
    let above = tally.above_ceilings();
    assert!(above.is_empty(), "seed {seed}: {}", above.join("; "));
    assert!(tally.is_enough(), "seed {seed}: some kind of condition was hardly tried");
}

/// Runs until the mutant is caught.
#[track_caller]
fn catch(name: &str, lens: &Lens) {
    let (mut random, mut tally) = (Random::new(seed()), Tally::default());
    while tally.checks() < SMALL / 4 {
        if Trial::random(&mut Random::new(random.next())).run(lens, &mut tally).is_err() {
            println!("{name}: caught after {} checks", tally.checks());
            return;
        }
    }
    panic!("{name} was not caught in {} checks", tally.checks());
}

/// MD7: what a row leaves is told by its old values only.
#[test]
fn an_old_image_that_is_dropped_is_caught() {
    catch("old image", &Lens { forgets_old: true, ..Lens::clear() });
}

/// M9: with the old row unknown, no column may be taken for unmodified.
#[test]
fn modified_columns_that_are_left_out_are_caught() {
    catch("modified columns", &Lens { forgets_modified: true, ..Lens::clear() });
}

fn narrowed(dependency: &Dependency, span: impl Fn(&mut larder_core::Span)) -> Dependency {
    let Atom::Scope { table, terms, span: Some((column, own)), watch } = dependency.atom() else {
        return dependency.clone();
    };
    let mut own = own.clone();
    span(&mut own);
    let scope = Dependency::scope(dependency.timeline().clone(), table.clone(), terms.clone());
    let scope = scope.within(column.clone(), own);
    match watch {
        Watch::Row => scope,
        Watch::Columns(columns) => scope.watching(columns.iter().cloned()),
    }
}

/// A tie with the last row of a page may be on it.
#[test]
fn a_page_without_its_ties_is_caught() {
    let asks = |dependency: Dependency| {
        narrowed(&dependency, |span| {
            for bound in [&mut span.low, &mut span.high] {
                if let (std::ops::Bound::Included(value), Nulls::Inside) = (&*bound, span.nulls) {
                    *bound = std::ops::Bound::Excluded(value.clone());
                }
            }
        })
    };
    catch("ties", &Lens { asks, ..Lens::clear() });
}

/// Rows without a value may stand at the beginning of a page.
#[test]
fn a_page_without_its_nulls_is_caught() {
    let asks = |dependency| narrowed(&dependency, |span| span.nulls = Nulls::Outside);
    catch("nulls", &Lens { asks, ..Lens::clear() });
}

#[test]
fn a_list_that_shows_more_than_it_watches_is_caught() {
    let asks = |dependency: Dependency| dependency.watching(Vec::<String>::new());
    catch("watch", &Lens { asks, ..Lens::clear() });
}

fn seed() -> u64 {
    std::env::var("LARDER_SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn is_full() -> bool {
    std::env::var("LARDER_SOAK_BUDGET").is_ok_and(|budget| budget == "full")
}
