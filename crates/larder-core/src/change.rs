//! Changes: what a feed or an application reports, and which dependencies they touch.
//!
//! The mirror of [`crate::dependency`]. **Invariant**: whatever a change cannot say precisely is
//! widened (row, then scope, then table, then everything), never narrowed.

use std::sync::Arc;

use crate::{
    dependency::{Atom, Dependency, Digest},
    timeline::APP,
    value::Value,
};

/// One thing that happened on a timeline.
#[derive(Clone, Debug)]
pub enum Change {
    /// A row was inserted, updated or deleted: from `new` on it is as that says, to the last bit,
    /// until something is told of it after this.
    Row(RowChange),
    /// A row may have changed so, or otherwise, or not at all: what hangs on either image is
    /// touched as by [`Change::Row`], and how the row is can only be asked.
    Perhaps(RowChange),
    /// A row was updated, and only how it is since is known.
    After(After),
    /// A dependency was invalidated by name.
    Touch(Dependency),
}

/// A row before and after, as far as the feed knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// The table.
    pub table: Arc<str>,
    /// The columns the feed reports, sorted by name.
    pub columns: Arc<[Arc<str>]>,
    /// For each column of the primary key, in declared order, its index in `columns`.
    ///
    /// Empty when the feed does not report the whole key: then no row can be told from another.
    pub key: Arc<[usize]>,
    /// The values before the change, one for each column; `None` for an insert.
    pub old: Option<Vec<Value>>,
    /// The values after the change, one for each column; `None` for a delete.
    pub new: Option<Vec<Value>>,
}

/// A row after an update by somebody who does not know how it was before.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// The row: `new` is how it is, `old` is `None`.
    pub row: RowChange,
    /// The columns that may have changed; `None` when any of them may have. The fewer, the fewer
    /// scopes can have lost the row; none at all means that only its content elsewhere changed.
    pub modified: Option<Vec<Arc<str>>>,
}

impl RowChange {
    /// The index of a column in the images.
    pub(crate) fn place(&self, column: &Arc<str>) -> Option<usize> {
        self.columns.binary_search(column).ok()
    }

    /// The digest of the row's id as `image` has it.
    pub(crate) fn id(&self, timeline: &str, image: &[Value]) -> Digest {
        let key = self.key.iter().filter_map(|&index| image.get(index));
        Digest::id(timeline, &self.table, key)
    }

    /// Whether the key and every column that is named are reported.
    pub(crate) fn is_whole(&self) -> bool {
        let columns = self.columns.len();
        let whole = |image: &Option<Vec<Value>>| {
            image.as_ref().is_none_or(|values| values.len() == columns)
        };
        !self.key.is_empty()
            && self.key.iter().all(|&index| index < columns)
            && whole(&self.old)
            && whole(&self.new)
    }
}

/// What a touch by name reaches: the thing itself, for a table everything within it, and always
/// whoever depends on everything there is.
///
/// On `app` the application names ids and scopes itself and means what it names. On an origin's
/// timeline they are rows of a table: a row that is said to have changed may be in any scope, and a
/// scope may hold any row, so those fall as well (widened, never narrowed).
pub fn touched_by_name(dependency: &Dependency, touch: &mut dyn FnMut(Digest)) {
    let timeline = dependency.timeline();
    let is_origin = **timeline != *APP;
    touch(Digest::anything(timeline));
    match dependency.atom() {
        Atom::Table(table) => touch(Digest::within(timeline, table)),
        Atom::Scope { table, .. } if is_origin => touch(Digest::within(timeline, table)),
        // An explicit id says that a row changed, not how: whoever reads the whole table reads it.
        Atom::Id { table, .. } | Atom::Scope { table, .. } => {
            touch(dependency.digest());
            touch(Digest::table(timeline, table));
            if is_origin {
                touch(Digest::scopes(timeline, table));
            }
        }
        Atom::Tag { .. } => touch(dependency.digest()),
        Atom::Everything => touch(Digest::everything(timeline)),
    }
}
