//! Whole rows: records that are rows of one table as they are, made of what the log tells of them.
//!
//! Apart from `follow`, which says what a changed row means where it is not the record itself.
//! **Invariant**: a record that is made of a changed row is the one that the query would give.

use std::sync::{Arc, OnceLock};

use larder_sqlite::{ResultShape, SqlRow};

use super::definition::MakesRecord;
use crate::follow::Image;

/// How rows of a table are rows of the result.
pub(super) struct WholeRows {
    /// Their names in the result, in its order.
    shown: Arc<[Arc<str>]>,
    /// Their names in the table, in the same order.
    stored: Vec<Arc<str>>,
    /// Where they stand in an image: the log tells the same columns of each row.
    told: OnceLock<Told>,
}

/// The columns of an image, and where those of the result stand among them, if all do.
struct Told {
    columns: Arc<[Arc<str>]>,
    places: Option<Vec<usize>>,
}

impl WholeRows {
    /// `None` where the result is not the rows of one table.
    pub(super) fn of(shape: &ResultShape) -> Option<Self> {
        shape.rows_of.as_ref()?;
        let stored =
            shape.columns.iter().map(|column| Some(column.source.as_ref()?.1.name.clone()));
        let stored = stored.collect::<Option<Vec<_>>>()?;
        let shown = shape.columns.iter().map(|column| column.name.clone()).collect();
        Some(Self { shown, stored, told: OnceLock::new() })
    }

    /// The record; `None` where the log does not tell all of it, or none can be made of it.
    pub(super) fn record<R>(&self, row: &Image<'_>, record: &MakesRecord<R>) -> Option<R> {
        let columns = row.columns();
        let told = self.told.get_or_init(|| self.find(columns));
        let other;
        let told = match told.columns == *columns {
            true => told,
            // The log was installed anew and tells other columns now.
            false => {
                other = self.find(columns);
                &other
            }
        };
        record(&SqlRow::of(row.values(), told.places.as_deref()?, &self.shown)).ok()
    }

    fn find(&self, columns: &Arc<[Arc<str>]>) -> Told {
        let place = |name: &Arc<str>| columns.binary_search(name).ok();
        Told { columns: columns.clone(), places: self.stored.iter().map(place).collect() }
    }
}
