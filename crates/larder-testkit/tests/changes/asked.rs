//! What a list asks for: once as a scope of larder, once as a filter over rows.
//!
//! **Invariant**: the filter compares values of Rust and knows nothing of larder's values, their
//! order or their digests.

use std::{cmp::Ordering, ops::Bound, sync::Arc};

use larder_core::{Asks, Condition, DependsOn, Error, Order, Scope, Tracked, Value, any_of, null};
use larder_testkit::random::Random;

use crate::row::{self, Row};

/// A condition on a column with values of type `T`.
#[derive(Clone, Debug)]
pub enum Test<T> {
    OneOf(Vec<T>),
    Null,
    Between(Bound<T>, Bound<T>),
}

impl<T: PartialOrd + Clone> Test<T> {
    fn holds(&self, cell: Option<&T>) -> bool {
        match (self, cell) {
            (Self::OneOf(values), Some(cell)) => values.contains(cell),
            (Self::Null, cell) => cell.is_none(),
            (Self::Between(low, high), Some(cell)) => (low.as_ref(), high.as_ref()).contains(cell),
            (Self::OneOf(_) | Self::Between(..), None) => false,
        }
    }
}

trait Holds<T> {
    fn contains(&self, cell: &T) -> bool;
}

impl<T: PartialOrd> Holds<T> for (Bound<&T>, Bound<&T>) {
    fn contains(&self, cell: &T) -> bool {
        std::ops::RangeBounds::contains(self, cell)
    }
}

#[derive(Clone, Debug)]
pub enum Where {
    Group(Test<i64>),
    Name(Test<String>),
    Price(Test<i64>),
    Rating(Test<f64>),
}

/// The columns that sort pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Group,
    Price,
    Rating,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub by: By,
    pub order: Order,
    pub limit: usize,
    /// Where rows without a value stand, and which of two equal rows is first: databases differ.
    pub nulls_first: bool,
    pub newest_first: bool,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub wheres: Vec<Where>,
    pub page: Option<Page>,
    /// Columns besides those it chooses by; `None` for whole rows.
    pub watch: Option<Vec<&'static str>>,
}

impl Asked {
    pub fn random(random: &mut Random) -> Self {
        let mut wheres = Vec::new();
        if random.once_in(2) {
            wheres.push(Where::Group(nullable(random, |random| random.below(3).cast_signed())));
        }
        if random.once_in(2) {
            let values = (0..=random.below(3)).map(|_| row::name(random).to_owned()).collect();
            wheres.push(Where::Name(Test::OneOf(values)));
        }
        if random.once_in(2) {
            wheres.push(Where::Price(test(random, row::price)));
        }
        if random.once_in(4) {
            let (low, high) = (bound(random, row::rating), bound(random, row::rating));
            let test = if random.once_in(4) { Test::Null } else { Test::Between(low, high) };
            wheres.push(Where::Rating(test));
        }
        let page = random.once_in(4).then(|| Page {
            by: *random.pick(&[By::Group, By::Price, By::Rating]),
            order: *random.pick(&[Order::Ascending, Order::Descending]),
            limit: usize::try_from(random.below(5)).unwrap(),
            nulls_first: random.once_in(2),
            newest_first: random.once_in(2),
        });
        let watch = random.once_in(3).then(|| {
            let columns = ["group", "name", "price", "rating", "stock"];
            columns.into_iter().filter(|_| random.once_in(4)).collect()
        });
        Self { wheres, page, watch }
    }

    /// What kind of condition it is, for counting.
    pub fn kind(&self) -> &'static str {
        let ranges = self.wheres.iter().filter(|own| own.is_range()).count();
        match (&self.page, ranges) {
            (Some(_), _) => "page",
            (None, 0) if self.wheres.is_empty() => "table",
            (None, 0) if self.wheres.iter().any(Where::is_list) => "list",
            (None, 0) => "equality",
            (None, 1) => "range",
            (None, _) => "two ranges",
        }
    }

    /// The rows as the list shows them: filtered, sorted, cut, and only the columns it watches.
    pub fn shown(&self, rows: &[Row]) -> Vec<Vec<String>> {
        self.found(rows).into_iter().map(|row| self.projected(row)).collect()
    }

    fn found<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let mut found: Vec<&Row> =
            rows.iter().filter(|row| self.wheres.iter().all(|own| own.holds(row))).collect();
        found.sort_by_key(|row| row.id);
        if let Some(page) = &self.page {
            found.sort_by(|a, b| page.compare(a, b));
            found.truncate(page.limit);
        }
        found
    }

    fn projected(&self, row: &Row) -> Vec<String> {
        let Some(watch) = &self.watch else { return vec![format!("{row:?}")] };
        let own = self.wheres.iter().map(Where::column);
        let own = own.chain(self.page.iter().map(|page| page.by.column()));
        let cells = own.chain(watch.iter().copied()).map(|column| row.cell(column));
        [row.id.to_string()].into_iter().chain(cells).collect()
    }

    /// The scope, as an application with these rows before it would ask for it.
    pub fn scope(&self, rows: &[Row]) -> Scope {
        let mut scope = Row::description().scope();
        for own in &self.wheres {
            scope = scope.with(own.column(), own.condition());
        }
        if let Some(watch) = &self.watch {
            scope = scope.watching(watch.iter().copied());
        }
        if let Some(Page { by, order, limit, .. }) = &self.page {
            let found = self.found(rows);
            let last = found.last().map(|row| by.value(row));
            scope = scope.page(by.column(), *order, *limit, found.len(), last);
        }
        scope
    }

    pub fn each(
        &self,
        rows: &[Row],
        add: &mut dyn FnMut(larder_core::Dependency),
    ) -> Result<(), Error> {
        self.scope(rows).each(add)
    }
}

fn test<T>(random: &mut Random, value: fn(&mut Random) -> T) -> Test<T> {
    match random.below(3) {
        0 => Test::OneOf(vec![value(random)]),
        1 => Test::OneOf((0..=random.below(3)).map(|_| value(random)).collect()),
        _ => Test::Between(bound(random, value), bound(random, value)),
    }
}

fn nullable<T>(random: &mut Random, value: fn(&mut Random) -> T) -> Test<T> {
    if random.once_in(5) { Test::Null } else { test(random, value) }
}

fn bound<T>(random: &mut Random, value: fn(&mut Random) -> T) -> Bound<T> {
    match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(value(random)),
        _ => Bound::Excluded(value(random)),
    }
}

/// The condition as the typed face of larder makes it; one value is not written as a list.
macro_rules! condition {
    ($test:expr, $column:ty) => {
        match $test {
            Test::OneOf(values) if values.len() == 1 => Asks::<$column>::condition(&values[0]),
            Test::OneOf(values) => Asks::<$column>::condition(any_of(values)),
            Test::Between(low, high) => Asks::<$column>::condition((low.as_ref(), high.as_ref())),
            Test::Null => Asks::<Option<$column>>::condition(null()),
        }
    };
}

impl Where {
    fn condition(&self) -> Condition {
        match self {
            Self::Group(test) | Self::Price(test) => condition!(test, i64),
            Self::Name(test) => condition!(test, String),
            Self::Rating(Test::Between(low, high)) => {
                Asks::<Option<f64>>::condition((low.as_ref(), high.as_ref()))
            }
            Self::Rating(_) => Asks::<Option<f64>>::condition(null()),
        }
    }

    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::Group(test) => test.holds(row.group.as_ref()),
            Self::Name(test) => test.holds(Some(&row.name.to_owned())),
            Self::Price(test) => test.holds(Some(&row.price)),
            Self::Rating(test) => test.holds(row.rating.as_ref()),
        }
    }

    fn column(&self) -> &'static str {
        match self {
            Self::Group(_) => "group",
            Self::Name(_) => "name",
            Self::Price(_) => "price",
            Self::Rating(_) => "rating",
        }
    }

    fn is_range(&self) -> bool {
        matches!(
            self,
            Self::Group(Test::Between(..))
                | Self::Price(Test::Between(..))
                | Self::Rating(Test::Between(..))
        )
    }

    fn is_list(&self) -> bool {
        match self {
            Self::Group(Test::OneOf(values)) | Self::Price(Test::OneOf(values)) => 1 < values.len(),
            Self::Name(Test::OneOf(values)) => 1 < values.len(),
            _ => false,
        }
    }
}

impl By {
    fn column(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Price => "price",
            Self::Rating => "rating",
        }
    }

    fn value(self, row: &Row) -> Value {
        match self {
            Self::Group => row.group.into(),
            Self::Price => row.price.into(),
            Self::Rating => row.rating.into(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "they are below ten")]
    fn number(self, row: &Row) -> Option<f64> {
        match self {
            Self::Group => row.group.map(|group| group as f64),
            Self::Price => Some(row.price as f64),
            Self::Rating => row.rating,
        }
    }
}

impl Page {
    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let nulls = |is_null: bool| is_null != self.nulls_first;
        let by = match (self.by.number(a), self.by.number(b)) {
            (Some(a), Some(b)) => match self.order {
                Order::Ascending => a.partial_cmp(&b).unwrap(),
                Order::Descending => b.partial_cmp(&a).unwrap(),
            },
            (a, b) => nulls(a.is_none()).cmp(&nulls(b.is_none())),
        };
        by.then(if self.newest_first { b.id.cmp(&a.id) } else { a.id.cmp(&b.id) })
    }
}

impl Row {
    fn cell(&self, column: &str) -> String {
        let columns: &[Arc<str>] = &Self::description().columns;
        let place = columns.iter().position(|own| **own == *column).unwrap();
        format!("{:?}", self.image()[place])
    }
}
