//! From a row: types that say of which columns they are made.
//!
//! Apart from the closures that make records by hand: here the columns are known before the first
//! row comes, and are looked up once. **Invariant**: cells are taken in the order of the columns.

use larder_core::Error;
use larder_sqlite::{FromCell, SqlRow};

/// A record that is made of the columns of a row. Usually derived.
pub trait FromRow: Sized {
    /// The columns, in the order in which [`FromRow::from_row`] takes them.
    const COLUMNS: &'static [&'static str];

    /// Those of the primary key, in its order.
    const KEY: &'static [&'static str];

    /// The record: it takes one cell for each of the columns.
    ///
    /// # Errors
    /// Those of [`Cells::take`].
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, Error>;
}

/// The cells of a row, in the order of some columns.
#[derive(Debug)]
pub struct Cells<'a> {
    row: &'a SqlRow<'a>,
    places: std::slice::Iter<'a, usize>,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(row: &'a SqlRow<'a>, places: &'a [usize]) -> Self {
        Self { row, places: places.iter() }
    }

    /// The value of the next column.
    ///
    /// # Errors
    /// `Origin` when it is of another type, `NotFound` after the last one.
    pub fn take<T: FromCell>(&mut self) -> Result<T, Error> {
        self.row.at(self.places.next().copied().unwrap_or(usize::MAX))
    }
}
