//! The bounded memory against a memory that keeps every change and compares rows one by one.
//!
//! **Invariant** tested: what the full memory calls touched, the bounded one never calls untouched;
//! and within its capacity it calls nothing touched that is not, but for what its docs name.

use std::{ops::Bound, sync::Arc};

use larder_core::{
    After, Change, Dependency, DependencySet, Epoch, History, Position, RowChange, Span, Stamp,
    Value, Watch, dependency::Atom, history::Verdict, timeline::APP,
};
use proptest::prelude::*;

use crate::generate::{SHOP, change, dependency};

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    /// Begins to notice the scopes of this dependency.
    Register(Dependency),
    /// One batch, this far beyond the last position.
    Apply(u64, Vec<Change>),
    /// A batch at a position that does not grow.
    Repeat(Vec<Change>),
    /// Marks as visible up to this far before the last position.
    Confirm(u64),
    /// A new life, at this position.
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || proptest::collection::vec(change(), 0..4);
    prop_oneof![
        3 => dependency().prop_map(Step::Register),
        8 => (1u64..3, changes()).prop_map(|(gap, changes)| Step::Apply(gap, changes)),
        1 => changes().prop_map(Step::Repeat),
        2 => (0u64..3).prop_map(Step::Confirm),
        1 => (0u64..9).prop_map(Step::Restart),
    ]
}

/// The memory that forgets nothing.
struct Reference {
    epoch: Epoch,
    start: Position,
    applied: Position,
    confirmed: Position,
    /// In order; `None` stands for "everything, by a fault of the feed".
    log: Vec<(Position, Option<Change>)>,
    /// Schemes with the position from which they are noticed.
    registered: Vec<(Dependency, Position)>,
}

impl Reference {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Register(dependency) => {
                self.registered.push((dependency.clone(), self.applied));
            }
            Step::Apply(gap, changes) => {
                self.applied = Position(self.applied.0 + gap);
                self.log.extend(changes.iter().map(|change| (self.applied, Some(change.clone()))));
            }
            Step::Repeat(_) => {
                self.applied = self.applied.next();
                self.log.push((self.applied, None));
            }
            Step::Confirm(lag) => {
                let position = Position(self.applied.0.saturating_sub(*lag));
                self.confirmed = self.confirmed.max(position);
            }
            Step::Restart(start) => {
                let registered = self.registered.drain(..);
                let registered = registered.map(|(dep, _)| (dep, Position(*start))).collect();
                let (epoch, start) = (Epoch(self.epoch.0 + 1), Position(*start));
                *self = Self { registered, ..Self::new(epoch, start) };
            }
        }
    }

    fn new(epoch: Epoch, start: Position) -> Self {
        let (log, registered) = (Vec::new(), Vec::new());
        Self { epoch, start, applied: start, confirmed: start, log, registered }
    }

    /// Whether anything after `as_of` and up to `upto` touched `dependency`.
    fn touched(&self, dependency: &Dependency, as_of: Position, upto: Position) -> bool {
        self.log.iter().any(|(position, change)| {
            as_of < *position && *position <= upto && hits(change.as_ref(), dependency)
        })
    }

    /// Whether a row of the dependency's table changed at all after `as_of`.
    fn table_touched(&self, dependency: &Dependency, as_of: Position) -> bool {
        let Some(table) = dependency.about_table() else { return false };
        self.touched(&Dependency::table(SHOP, table.clone()), as_of, self.applied)
    }

    fn is_noticed(&self, dependency: &Dependency, as_of: Position) -> bool {
        let Atom::Scope { .. } = dependency.atom() else { return true };
        let scheme = scheme(dependency);
        self.registered.iter().any(|(own, since)| scheme == self::scheme(own) && *since <= as_of)
    }
}

fn scheme(dependency: &Dependency) -> Option<(String, Vec<String>, Option<String>, String)> {
    let Atom::Scope { table, terms, span, watch } = dependency.atom() else { return None };
    let columns = terms.iter().map(|(column, _)| column.to_string()).collect();
    // Equalities are noticed for all values at once, a span only where it is registered itself.
    let span = span.as_ref().map(|_| dependency.to_string());
    Some((table.to_string(), columns, span, format!("{watch:?}")))
}

/// What the words "this change touches that dependency" mean, without digests.
fn hits(change: Option<&Change>, dependency: &Dependency) -> bool {
    match change {
        None => true,
        Some(Change::Row(row) | Change::Perhaps(row)) => row_hits(row, dependency),
        Some(Change::After(after)) => after_hits(after, dependency),
        Some(Change::Touch(named)) => {
            let same_table = || named.about_table() == dependency.about_table();
            let is_everything =
                |dependency: &Dependency| matches!(dependency.atom(), Atom::Everything);
            let is_own = **named.timeline() == *SHOP;
            // What is touched at once on its own timeline takes along all that is checked there.
            named == dependency
                || (is_own && is_everything(named))
                || (named.timeline() == dependency.timeline()
                    && (is_everything(named)
                        || is_everything(dependency)
                        || (matches!(named.atom(), Atom::Table(_)) && same_table())
                        || (may_share_rows(named, dependency) && same_table())
                        || (matches!(dependency.atom(), Atom::Table(_)) && same_table())))
        }
    }
}

/// Whether a thing of an origin that is named without its rows may have rows in common with the
/// dependency, which is not the same thing.
fn may_share_rows(named: &Dependency, dependency: &Dependency) -> bool {
    let is_scope = |dependency: &Dependency| matches!(dependency.atom(), Atom::Scope { .. });
    **named.timeline() != *APP && (is_scope(named) || is_scope(dependency))
}

/// A row whose state before is unknown: it may have been in any scope that chooses by a column
/// which may have changed, and any other scope that it is in has seen a change.
fn after_hits(after: &After, dependency: &Dependency) -> bool {
    let row = &after.row;
    if row_hits(row, dependency) {
        return true;
    }
    if dependency.about_table() != Some(&row.table) || **dependency.timeline() != *SHOP {
        return false;
    }
    let modified = |column: &str| {
        after.modified.as_ref().is_none_or(|columns| columns.iter().any(|own| **own == *column))
    };
    match dependency.atom() {
        Atom::Id { .. } => after.modified.is_some() && modified("id"),
        Atom::Scope { terms, span, .. } => {
            let own = terms.iter().map(|(column, _)| column);
            own.chain(span.as_ref().map(|(column, _)| column)).any(|column| modified(column))
        }
        Atom::Table(_) | Atom::Tag { .. } | Atom::Everything => false,
    }
}

fn row_hits(row: &RowChange, dependency: &Dependency) -> bool {
    if **dependency.timeline() != *SHOP {
        return false;
    }
    if matches!(dependency.atom(), Atom::Everything) {
        return true;
    }
    if dependency.about_table() != Some(&row.table) {
        return false;
    }
    let images: Vec<&Vec<Value>> = [&row.old, &row.new].into_iter().flatten().collect();
    let is_whole = images.iter().all(|image| image.len() == row.columns.len());
    if row.key.is_empty() || images.is_empty() || !is_whole {
        return true;
    }
    let place = |name: &str| row.columns.iter().position(|column| **column == *name);
    match dependency.atom() {
        Atom::Id { key, .. } => images.iter().any(|image| image[row.key[0]] == key[0]),
        Atom::Scope { terms, span, watch, .. } => {
            let holds = |image: &&Vec<Value>| {
                let equal = |(column, value): &(Arc<str>, Value)| {
                    place(column).is_none_or(|index| image[index] == *value)
                };
                terms.iter().all(equal)
                    && span.as_ref().is_none_or(|(column, span)| {
                        place(column).is_none_or(|index| span.holds(&image[index]))
                    })
            };
            let matters = match (&row.old, &row.new, watch) {
                (Some(old), Some(new), Watch::Columns(columns)) => {
                    let own = terms.iter().map(|(column, _)| column);
                    let own = own.chain(span.as_ref().map(|(column, _)| column));
                    let has_other_key = old[row.key[0]] != new[row.key[0]];
                    own.chain(columns.iter())
                        .any(|column| place(column).is_none_or(|index| old[index] != new[index]))
                        || has_other_key
                }
                _ => true,
            };
            matters && images.iter().any(holds)
        }
        Atom::Table(_) | Atom::Tag { .. } | Atom::Everything => true,
    }
}

/// Whether any change lacks a column, or the row before it, so that scopes are widened.
fn is_partial(reference: &Reference) -> bool {
    reference.log.iter().any(|(_, change)| match change {
        Some(Change::Row(row) | Change::Perhaps(row)) => row.columns.len() < 3,
        Some(Change::After(_)) => true,
        Some(Change::Touch(_)) | None => false,
    })
}

fn judge(history: &History, reference: &Reference, dependency: &Dependency, ample: bool) {
    let set: DependencySet = [dependency.clone()].into_iter().collect();
    for as_of in reference.start.0.saturating_sub(2)..=reference.applied.0 + 1 {
        let as_of = Position(as_of);
        let stamp = Stamp { timeline: SHOP.into(), epoch: reference.epoch, as_of };
        for upto in as_of.0..=reference.applied.0 {
            let verdict = history.verdict(&stamp, &set, Position(upto));
            let said_right = verdict == Verdict::Untouched;
            let missed = as_of < reference.start && as_of.0 < upto;
            let touched = reference.touched(dependency, as_of, Position(upto));
            assert!(!(said_right && (missed || touched)), "{dependency} {as_of:?} {upto}");
        }
        let verdict = history.verdict(&stamp, &set, reference.applied);
        match verdict {
            Verdict::Beyond => assert!(reference.applied < as_of),
            Verdict::OtherEpoch => panic!("the epoch is the current one"),
            Verdict::Forgotten => assert!(as_of < reference.start || !ample),
            // A scope nobody looked for is answered by its table; a change that lacks a column
            // widens; all else is exact.
            Verdict::Touched if reference.is_noticed(dependency, as_of) => assert!(
                is_partial(reference) || reference.touched(dependency, as_of, reference.applied),
                "{dependency} was not touched after {as_of:?}"
            ),
            Verdict::Touched => assert!(reference.table_touched(dependency, as_of)),
            Verdict::Untouched => {}
        }
        let old = Stamp { epoch: Epoch(0), ..stamp };
        assert_eq!(history.verdict(&old, &set, reference.applied), Verdict::OtherEpoch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_touch_that_happened_is_never_denied(
        steps in proptest::collection::vec(step(), 0..14),
        asked in proptest::collection::vec(dependency(), 1..6),
        capacity in prop_oneof![Just(0usize), 1usize..6, Just(10_000)],
        start in 0u64..3,
    ) {
        let mut reference = Reference::new(Epoch(1), Position(start));
        let mut history = History::new(SHOP.into(), Epoch(1), Position(start), capacity);
        for step in &steps {
            reference.take(step);
            match step {
                Step::Register(dependency) => history.register(dependency),
                Step::Apply(_, changes) => {
                    history.apply(reference.applied, changes);
                }
                Step::Repeat(changes) => {
                    let touched = history.apply(history.applied(), changes);
                    prop_assert!(touched.everything);
                }
                Step::Confirm(lag) => {
                    history.confirm(Position(reference.applied.0.saturating_sub(*lag)));
                }
                Step::Restart(start) => history.restart(reference.epoch, Position(*start)),
            }
            prop_assert_eq!(history.applied(), reference.applied);
            prop_assert_eq!(history.confirmed(), reference.confirmed);
            prop_assert_eq!(history.stamp().as_of, reference.confirmed);
            prop_assert!(history.len() <= capacity);
            for dependency in &asked {
                judge(&history, &reference, dependency, capacity == 10_000);
            }
        }
    }
}

#[test]
fn a_position_is_never_confirmed_before_it_was_received() {
    let mut history = History::new(SHOP.into(), Epoch(1), Position(3), 10);
    history.confirm(Position(9));
    assert_eq!(history.confirmed(), Position(3));
    history.apply(Position(9), &[]);
    assert_eq!(history.stamp().as_of, Position(3));
    history.confirm(Position(9));
    history.confirm(Position(4));
    assert_eq!(history.stamp().as_of, Position(9));
}

#[test]
fn what_is_beyond_the_memory_is_forgotten_and_nothing_else() {
    let mut history = History::new(SHOP.into(), Epoch(1), Position(0), 4);
    let row = |id: i64| Change::Touch(Dependency::tag(id.to_string()));
    for position in 1..=10 {
        history.apply(Position(position), &[row(position.cast_signed())]);
    }
    let set: DependencySet = [Dependency::tag("other")].into_iter().collect();
    let verdict = |as_of| {
        let stamp = Stamp { timeline: SHOP.into(), epoch: Epoch(1), as_of: Position(as_of) };
        history.verdict(&stamp, &set, Position(10))
    };
    // Each change touches two digests: its own and that of whoever depends on everything.
    assert_eq!(verdict(7), Verdict::Forgotten);
    assert_eq!(verdict(8), Verdict::Untouched);
}

/// A row of `Book` with its columns in order.
fn book(category: &str, id: i64, price: i64) -> Vec<Value> {
    vec![category.into(), id.into(), price.into()]
}

fn of_book(old: Option<Vec<Value>>, new: Option<Vec<Value>>) -> RowChange {
    let columns = ["category", "id", "price"].map(Arc::from);
    RowChange { table: "Book".into(), columns: columns.into(), key: [1].into(), old, new }
}

/// Whether `change` touches each of `dependencies`, all of them registered before.
fn touches(change: Change, dependencies: &[Dependency]) -> Vec<bool> {
    let mut history = History::new(SHOP.into(), Epoch(1), Position(0), 100);
    dependencies.iter().for_each(|dependency| history.register(dependency));
    let stamp = history.stamp();
    history.apply(Position(1), &[change]);
    let touched = |dependency: &Dependency| {
        let set = [dependency.clone()].into_iter().collect();
        history.verdict(&stamp, &set, Position(1)) == Verdict::Touched
    };
    dependencies.iter().map(touched).collect()
}

fn scope(category: &str) -> Dependency {
    Dependency::scope(SHOP, "Book", [("category", category)])
}

fn prices(low: Bound<Value>, high: Bound<Value>) -> Span {
    Span::between(low, high)
}

#[test]
fn a_row_that_moves_touches_what_it_leaves_and_what_it_enters() {
    let cheap = prices(Bound::Unbounded, Bound::Excluded(10.into()));
    let dependencies = [
        scope("sci-fi"),
        scope("fantasy"),
        scope("crime"),
        scope("sci-fi").within("price", cheap.clone()),
        scope("fantasy").within("price", cheap.clone()),
        Dependency::table(SHOP, "Book").within("price", cheap),
    ];
    let (old, new) = (book("sci-fi", 1, 5), book("fantasy", 1, 20));
    let change = Change::Row(of_book(Some(old), Some(new)));
    assert_eq!(touches(change, &dependencies), [true, true, false, true, false, true]);
}

#[test]
fn what_is_not_watched_is_no_change_of_a_row_that_stays() {
    let none: [&str; 0] = [];
    let dependencies = [
        scope("sci-fi"),
        scope("sci-fi").watching(none),
        scope("sci-fi").watching(["price"]),
        Dependency::table(SHOP, "Book").watching(none),
    ];
    let dearer = of_book(Some(book("sci-fi", 1, 5)), Some(book("sci-fi", 1, 6)));
    assert_eq!(touches(Change::Row(dearer), &dependencies), [true, false, true, false]);
    let moved = of_book(Some(book("sci-fi", 1, 5)), Some(book("crime", 1, 5)));
    assert_eq!(touches(Change::Row(moved), &dependencies), [true, true, true, false]);
    let sold = of_book(Some(book("sci-fi", 1, 5)), None);
    assert_eq!(touches(Change::Row(sold), &dependencies), [true; 4]);
}

#[test]
fn without_the_row_before_only_scopes_it_may_have_left_are_widened() {
    let dependencies = [scope("sci-fi"), scope("crime"), Dependency::id(SHOP, "Book", [2])];
    let row = of_book(None, Some(book("sci-fi", 1, 5)));
    let after = |modified: Option<&[&str]>| {
        let modified = modified.map(|columns| columns.iter().map(|c| Arc::from(*c)).collect());
        Change::After(After { row: row.clone(), modified })
    };
    assert_eq!(touches(after(None), &dependencies), [true, true, false]);
    assert_eq!(touches(after(Some(&["category"])), &dependencies), [true, true, false]);
    assert_eq!(touches(after(Some(&["price"])), &dependencies), [true, false, false]);
    assert_eq!(touches(after(Some(&[])), &dependencies), [true, false, false]);
    assert_eq!(touches(after(Some(&["id"])), &dependencies), [true, true, true]);
}

#[test]
fn a_span_is_noticed_while_it_is_held_and_answered_by_its_table_after() {
    let mut history = History::new(SHOP.into(), Epoch(1), Position(0), 100);
    let cheap = prices(Bound::Unbounded, Bound::Excluded(10.into()));
    let dependency = Dependency::table(SHOP, "Book").within("price", cheap);
    let set: DependencySet = [dependency.clone()].into_iter().collect();
    history.register(&dependency);
    history.register(&dependency);
    let stamp = history.stamp();
    let dear = || Change::Row(of_book(None, Some(book("sci-fi", 1, 50))));
    history.apply(Position(1), &[dear()]);
    history.release(&dependency);
    assert_eq!(history.held(), 1);
    assert_eq!(history.verdict(&stamp, &set, Position(1)), Verdict::Untouched);
    history.release(&dependency);
    assert_eq!(history.held(), 0);
    assert_eq!(history.verdict(&stamp, &set, Position(1)), Verdict::Touched);
}

proptest! {
    #[test]
    fn what_is_touched_by_name_is_remembered_as_the_same_changes(
        named in proptest::collection::vec(dependency(), 0..6),
        gap in 0u64..2,
        asked in dependency(),
    ) {
        for timeline in [SHOP, APP] {
            let new = || History::new(timeline.into(), Epoch(1), Position(5), 1_000);
            let (mut touched, mut applied) = (new(), new());
            let stamp = touched.stamp();
            let each = touched.touch(Position(5 + gap), &named);
            let changes: Vec<Change> = named.iter().cloned().map(Change::Touch).collect();
            let batch = applied.apply(Position(5 + gap), &changes);
            prop_assert_eq!(each.len(), named.len());
            prop_assert!(each.iter().all(|digests| digests.is_sorted()));
            let mut all = each.concat();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all, batch.digests);
            prop_assert_eq!(touched.applied(), applied.applied());
            prop_assert_eq!(touched.everything(), applied.everything());
            let set: DependencySet = [asked.clone()].into_iter().collect();
            let verdict = |history: &History| history.verdict(&stamp, &set, history.applied());
            prop_assert_eq!(verdict(&touched), verdict(&applied));
        }
    }
}
