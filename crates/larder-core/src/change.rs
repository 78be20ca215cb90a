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
    /// A row was inserted, updated or deleted.
    Row(RowChange),
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

/// The columns, sorted, by which some entry chose rows of a table.
pub type Scheme = Arc<[Arc<str>]>;

impl RowChange {
    /// Calls `touch` with the digest of everything this change touches among ids, the table, and
    /// the scopes of `schemes`.
    ///
    /// A scheme with a column that the feed does not report, or a row without its values, touches
    /// everything within the table.
    pub(crate) fn touched(
        &self,
        timeline: &str,
        schemes: &mut dyn Iterator<Item = &Scheme>,
        touch: &mut dyn FnMut(Digest),
    ) {
        touch(Digest::anything(timeline));
        touch(Digest::table(timeline, &self.table));
        let images = [&self.old, &self.new];
        let known = self.key_is_known();
        if !known || images.iter().all(|image| image.is_none()) {
            touch(Digest::within(timeline, &self.table));
            return;
        }
        for image in images.into_iter().flatten() {
            let key = self.key.iter().filter_map(|&index| image.get(index));
            touch(Digest::id(timeline, &self.table, key));
        }
        for scheme in schemes {
            for image in images.into_iter().flatten() {
                match self.terms(scheme, image) {
                    Some(terms) => touch(Digest::scope(timeline, &self.table, terms)),
                    None => return touch(Digest::within(timeline, &self.table)),
                }
            }
        }
    }

    fn key_is_known(&self) -> bool {
        let columns = self.columns.len();
        let whole = |image: &Option<Vec<Value>>| {
            image.as_ref().is_none_or(|values| values.len() == columns)
        };
        !self.key.is_empty()
            && self.key.iter().all(|&index| index < columns)
            && whole(&self.old)
            && whole(&self.new)
    }

    /// The values of the scheme's columns in `image`; `None` when one of them is not reported.
    fn terms<'a>(
        &'a self,
        scheme: &'a Scheme,
        image: &'a [Value],
    ) -> Option<Vec<(&'a str, &'a Value)>> {
        scheme
            .iter()
            .map(|column| {
                let index = self.columns.binary_search(column).ok()?;
                Some((&**column, image.get(index)?))
            })
            .collect()
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
        Atom::Tag(_) => touch(dependency.digest()),
        Atom::Everything => touch(Digest::everything(timeline)),
    }
}
