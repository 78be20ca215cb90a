//! A row while it is read: cells that borrow from SQLite, and how types are made of them.
//!
//! Apart from `stream`, which hands rows over, because what a cell may become is a table of its
//! own. **Invariant**: a cell that does not fit is an error that names the column, never a default.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, Value};
use rusqlite::types::ValueRef;

/// A row of a result, for as long as it is the current one.
#[derive(Debug)]
pub struct SqlRow<'a> {
    from: From<'a>,
    columns: &'a Arc<[Arc<str>]>,
}

/// Where the cells of a row are.
#[derive(Debug)]
enum From<'a> {
    Statement(&'a rusqlite::Row<'a>),
    Image(&'a [Value], &'a [usize]),
}

/// What stands in one column of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A float.
    Real(f64),
    /// Text: UTF-8, unless somebody stored what is not.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Cell<'_> {
    /// The name of its type, as [`Value::type_name`] spells it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }
}

impl<'a> SqlRow<'a> {
    pub(crate) fn new(row: &'a rusqlite::Row<'a>, columns: &'a Arc<[Arc<str>]>) -> Self {
        Self { from: From::Statement(row), columns }
    }

    /// A row of `columns` that is known without a statement: the value of each of them is the one
    /// at its place in `values`, and nothing where there is none.
    pub fn of(values: &'a [Value], places: &'a [usize], columns: &'a Arc<[Arc<str>]>) -> Self {
        Self { from: From::Image(values, places), columns }
    }

    /// The names of the columns, each once.
    pub fn columns(&self) -> &Arc<[Arc<str>]> {
        self.columns
    }

    /// What stands in the column with this number, the first of which is 0; nothing where there is
    /// no such column.
    pub fn cell(&self, place: usize) -> Cell<'_> {
        if self.columns.len() <= place {
            return Cell::Null;
        }
        match self.from {
            From::Statement(row) => match row.get_ref(place) {
                Ok(ValueRef::Integer(number)) => Cell::Integer(number),
                Ok(ValueRef::Real(number)) => Cell::Real(number),
                Ok(ValueRef::Text(bytes)) => Cell::Text(bytes),
                Ok(ValueRef::Blob(bytes)) => Cell::Blob(bytes),
                Ok(ValueRef::Null) | Err(_) => Cell::Null,
            },
            From::Image(values, places) => {
                match places.get(place).and_then(|place| values.get(*place)) {
                    Some(Value::Integer(number)) => Cell::Integer(*number),
                    Some(Value::Real(number)) => Cell::Real(*number),
                    Some(Value::Text(text)) => Cell::Text(text.as_bytes()),
                    Some(Value::Blob(bytes)) => Cell::Blob(bytes),
                    Some(Value::Null) | None => Cell::Null,
                }
            }
        }
    }

    /// The value of a column by its name.
    ///
    /// # Errors
    /// `NotFound` when the result has no such column, `Origin` when its value is of another type.
    ///
    /// # Cost
    /// A comparison with each name before it; [`SqlRow::at`] has none.
    pub fn get<T: FromCell>(&self, column: &str) -> Result<T, Error> {
        match self.columns.iter().position(|own| **own == *column) {
            Some(place) => self.at(place),
            None => Err(self.absent(column)),
        }
    }

    /// The value of the column with this number, the first of which is 0.
    ///
    /// # Errors
    /// As [`SqlRow::get`].
    pub fn at<T: FromCell>(&self, place: usize) -> Result<T, Error> {
        let cell = self.cell(place);
        match T::from_cell(cell) {
            Some(value) => Ok(value),
            None => Err(self.unfit::<T>(place, cell)),
        }
    }

    #[cold]
    fn absent(&self, column: &str) -> Error {
        let known: Vec<&str> = self.columns.iter().map(|name| &**name).collect();
        Error::new(ErrorKind::NotFound, "read a column of the result")
            .subject(format!("`{column}`"))
            .detail(format!("it has {}", known.join(", ")))
    }

    #[cold]
    fn unfit<T: FromCell>(&self, place: usize, cell: Cell<'_>) -> Error {
        let Some(column) = self.columns.get(place) else {
            return self.absent(&format!("number {place}"));
        };
        Error::new(ErrorKind::Origin, "read a column of the result")
            .subject(format!("`{column}`"))
            .detail(format!("it should be {}, and is {} here", T::WANTED, cell.type_name()))
    }
}

/// A type that is made of what stands in a column.
pub trait FromCell: Sized {
    /// What it is made of, as an error names it.
    const WANTED: &'static str;

    /// The value; `None` when the cell does not fit.
    fn from_cell(cell: Cell<'_>) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromCell for $number {
            const WANTED: &'static str = concat!("an integer that fits ", stringify!($number));

            fn from_cell(cell: Cell<'_>) -> Option<Self> {
                match cell {
                    Cell::Integer(number) => number.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

whole_numbers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

impl FromCell for f64 {
    const WANTED: &'static str = "a number";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Real(number) => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "as SQLite rounds into a real column")]
            Cell::Integer(number) => Some(number as f64),
            _ => None,
        }
    }
}

impl FromCell for bool {
    const WANTED: &'static str = "0 or 1";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Integer(0) => Some(false),
            Cell::Integer(1) => Some(true),
            _ => None,
        }
    }
}

macro_rules! texts {
    ($($text:ty),*) => {$(
        impl FromCell for $text {
            const WANTED: &'static str = "text in UTF-8";

            fn from_cell(cell: Cell<'_>) -> Option<Self> {
                match cell {
                    Cell::Text(bytes) => std::str::from_utf8(bytes).ok().map(Into::into),
                    _ => None,
                }
            }
        }
    )*};
}

texts!(String, Box<str>, Arc<str>);

macro_rules! bytes {
    ($($bytes:ty),*) => {$(
        impl FromCell for $bytes {
            const WANTED: &'static str = "a blob";

            fn from_cell(cell: Cell<'_>) -> Option<Self> {
                match cell {
                    Cell::Blob(bytes) => Some(bytes.into()),
                    _ => None,
                }
            }
        }
    )*};
}

bytes!(Vec<u8>, Box<[u8]>, Arc<[u8]>);

impl<T: FromCell> FromCell for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

/// Any value. Text that is not UTF-8 keeps what can be kept of it.
impl FromCell for Value {
    const WANTED: &'static str = "anything";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Some(match cell {
            Cell::Null => Self::Null,
            Cell::Integer(number) => Self::Integer(number),
            Cell::Real(number) => Self::Real(number),
            Cell::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into()),
            Cell::Blob(bytes) => Self::Blob(bytes.into()),
        })
    }
}
