//! Tracked: what the application's own row types say about themselves.
//!
//! The mirror of what a feed reads from a log: which table, which columns, which key. Usually
//! derived. **Invariant**: the dependencies an object names when it is read and the changes it
//! makes when it is written are built from one description, so that they always meet.

use std::sync::Arc;

use crate::{
    change::{After, Change, RowChange},
    dependency::Dependency,
    error::Error,
    value::Value,
};

/// The columns of a kind of row by which it is found: its key and what scopes ask for.
#[derive(Clone, Debug)]
pub struct Description {
    /// Sorted, each once.
    pub columns: Arc<[Arc<str>]>,
    /// For each part of the primary key, in declared order, its index in `columns`.
    pub key: Arc<[usize]>,
}

/// A row type that can say what it is.
///
/// # Implementations must
/// give the same values for the same columns wherever they name them, and one value for each
/// column of the description.
pub trait Tracked {
    /// The timeline on which changes to it are known: an origin's name, or `app`.
    const TIMELINE: &'static str;
    /// The table or kind.
    const TABLE: &'static str;

    /// The columns that [`Tracked::image`] gives.
    fn description() -> &'static Description;

    /// The values of those columns, in their order.
    fn image(&self) -> Vec<Value>;

    /// Names each object nested in this one, and what is nested in those, each as often as it
    /// occurs.
    fn related(&self, _each: &mut dyn FnMut(Dependency)) {}

    /// The row itself, by its key.
    fn dependency(&self) -> Dependency {
        let image = self.image();
        let key = Self::description().key.iter();
        let key = key.filter_map(|&place| image.get(place).cloned());
        Dependency::id(Self::TIMELINE, Self::TABLE, key)
    }
}

/// What can be named as a dependency: a [`Dependency`], a scope, a row with all that is nested in
/// it, or each of several.
pub trait DependsOn {
    /// Calls `add` with each dependency.
    ///
    /// # Errors
    /// `Config` for what can be written and has no meaning, such as a list of no values.
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error>;
}

impl DependsOn for Dependency {
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error> {
        add(self);
        Ok(())
    }
}

impl DependsOn for &Dependency {
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error> {
        add(self.clone());
        Ok(())
    }
}

/// The row and what is nested in it.
impl<T: Tracked> DependsOn for &T {
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error> {
        add(self.dependency());
        self.related(add);
        Ok(())
    }
}

impl<T: DependsOn> DependsOn for Option<T> {
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error> {
        self.map_or(Ok(()), |one| one.each(add))
    }
}

/// A change to a tracked row, with the timeline its kind belongs to.
#[derive(Clone, Debug)]
pub struct TrackedChange {
    timeline: &'static str,
    change: Change,
}

impl TrackedChange {
    fn new<T: Tracked>(old: Option<&T>, new: Option<&T>) -> Self {
        Self { timeline: T::TIMELINE, change: Change::Row(row::<T>(old, new)) }
    }

    /// The timeline of the kind of row.
    pub fn timeline(&self) -> &'static str {
        self.timeline
    }

    /// What happened.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Names the columns that were changed, where only the row after an update is known: then only
    /// scopes that choose by one of them may have lost it. Known rows need no names.
    #[must_use]
    pub fn modified<C: Into<Arc<str>>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        if let Change::After(after) = &mut self.change {
            after.modified = Some(columns.into_iter().map(Into::into).collect());
        }
        self
    }
}

impl Change {
    /// `new` was inserted.
    pub fn created<T: Tracked>(new: &T) -> TrackedChange {
        TrackedChange::new(None, Some(new))
    }

    /// `old` became `new`.
    pub fn updated<T: Tracked>(old: &T, new: &T) -> TrackedChange {
        TrackedChange::new(Some(old), Some(new))
    }

    /// `old` was deleted.
    pub fn deleted<T: Tracked>(old: &T) -> TrackedChange {
        TrackedChange::new(Some(old), None)
    }

    /// Something became `new`, and nobody knows any more how it was: every scope that the row may
    /// have left falls too. Say [`TrackedChange::modified`] where it is known.
    pub fn updated_to<T: Tracked>(new: &T) -> TrackedChange {
        let after = After { row: row::<T>(None, Some(new)), modified: None };
        TrackedChange { timeline: T::TIMELINE, change: Change::After(after) }
    }
}

fn row<T: Tracked>(old: Option<&T>, new: Option<&T>) -> RowChange {
    let Description { columns, key } = T::description().clone();
    let (old, new) = (old.map(T::image), new.map(T::image));
    RowChange { table: T::TABLE.into(), columns, key, old, new }
}
