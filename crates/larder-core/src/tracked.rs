//! Tracked: what the application's own row types say about themselves.
//!
//! The mirror of what a feed reads from a log: which table, which columns, which key. Usually
//! derived. **Invariant**: the dependencies an object names when it is read and the changes it
//! makes when it is written are built from one description, so that they always meet.

use std::{fmt, marker::PhantomData, rc::Rc, sync::Arc};

use crate::{
    change::{After, Change, RowChange},
    dependency::Dependency,
    error::Error,
    scope::Scope,
    timeline::Name,
    value::Value,
};

/// A kind of row: where changes to it are known, and the columns by which it is found.
#[derive(Clone, Debug)]
pub struct Description {
    /// The timeline on which changes to it are known: an origin's name, or `app`.
    pub timeline: Name,
    /// The table or kind.
    pub table: Arc<str>,
    /// Sorted, each once.
    pub columns: Arc<[Arc<str>]>,
    /// For each part of the primary key, in declared order, its index in `columns`.
    pub key: Arc<[usize]>,
    /// The columns that a row has besides, by which no scope of its type asks.
    pub rest: Arc<[Arc<str>]>,
}

impl Description {
    /// The rows of `table` on `timeline`, with no column yet.
    pub fn of(timeline: &str, table: &str) -> Self {
        let none: Arc<[Arc<str>]> = [].into();
        let (columns, rest) = (none.clone(), none);
        Self { timeline: timeline.into(), table: table.into(), columns, key: [].into(), rest }
    }

    /// With these columns, sorted, of which those at `key` are the primary key.
    #[must_use]
    pub fn with_columns(self, columns: &[&str], key: &[usize]) -> Self {
        Self { columns: shared(columns), key: key.into(), ..self }
    }

    /// With these columns besides, by which no scope asks.
    #[must_use]
    pub fn with_rest(self, rest: &[&str]) -> Self {
        Self { rest: shared(rest), ..self }
    }

    /// The row with this key, its values in declared order.
    pub fn id(&self, key: impl IntoIterator<Item = Value>) -> Dependency {
        Dependency::id(self.timeline.clone(), self.table.clone(), key)
    }

    /// Every row.
    pub fn all(&self) -> Dependency {
        Dependency::table(self.timeline.clone(), self.table.clone())
    }

    /// A scope of every row, to be narrowed.
    pub fn scope(&self) -> Scope {
        Scope::of(self.timeline.clone(), self.table.clone())
    }
}

fn shared(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|&name| Arc::from(name)).collect()
}

/// A column of the rows `T` that scopes know: what they may watch, and what a change may be said
/// to be of.
pub struct Column<T: ?Sized> {
    name: &'static str,
    of: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Column<T> {
    /// The column with this name. The derive makes one for each.
    pub const fn named(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    /// As the table calls it.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T: ?Sized> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Column<T> {}

impl<T: ?Sized> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T: ?Sized> From<Column<T>> for Arc<str> {
    fn from(column: Column<T>) -> Self {
        column.name.into()
    }
}

/// A row type that can say what it is. Usually derived.
///
/// # Implementations must
/// give the same values for the same columns wherever they name them, and one value for each
/// column of the description.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tracked row",
    label = "does not implement `Tracked`",
    note = "derive it: `#[derive(Tracked)]` with `#[tracked(table = \"..\")]`"
)]
pub trait Tracked {
    /// What kind of row it is, with the columns that [`Tracked::image`] gives.
    fn description() -> &'static Description;

    /// The values of those columns, in their order.
    fn image(&self) -> Vec<Value>;

    /// Names each object nested in this one, and what is nested in those, each as often as it
    /// occurs.
    fn related(&self, _each: &mut dyn FnMut(Dependency)) {}

    /// The row itself, by its key.
    fn dependency(&self) -> Dependency {
        let (image, description) = (self.image(), Self::description());
        let key = description.key.iter();
        description.id(key.filter_map(|&place| image.get(place).cloned()))
    }
}

macro_rules! through_pointers {
    ($($pointer:ident),*) => {$(
        impl<T: Tracked> Tracked for $pointer<T> {
            fn description() -> &'static Description {
                T::description()
            }

            fn image(&self) -> Vec<Value> {
                T::image(self)
            }

            fn related(&self, each: &mut dyn FnMut(Dependency)) {
                T::related(self, each);
            }

            fn dependency(&self) -> Dependency {
                T::dependency(self)
            }
        }
    )*};
}

through_pointers!(Box, Rc, Arc);

/// What a row may hold as related: a tracked row, or an `Option`, a `Vec` or a slice of them; boxed
/// or shared as one likes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a tracked row nor a collection of them",
    label = "cannot be marked as `#[related]`",
    note = "it is for types with `#[derive(Tracked)]`, and for `Option`, `Vec`, `Box` and `Arc` of \
            them"
)]
pub trait Related {
    /// Calls `each` with every row in it and, after each, with what is nested in that.
    fn name_each(&self, each: &mut dyn FnMut(Dependency));
}

impl<T: Tracked> Related for T {
    fn name_each(&self, each: &mut dyn FnMut(Dependency)) {
        each(self.dependency());
        self.related(each);
    }
}

impl<T: Related> Related for Option<T> {
    fn name_each(&self, each: &mut dyn FnMut(Dependency)) {
        self.iter().for_each(|row| row.name_each(each));
    }
}

impl<T: Related> Related for Vec<T> {
    fn name_each(&self, each: &mut dyn FnMut(Dependency)) {
        self.as_slice().name_each(each);
    }
}

impl<T: Related> Related for [T] {
    fn name_each(&self, each: &mut dyn FnMut(Dependency)) {
        self.iter().for_each(|row| row.name_each(each));
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
        self.name_each(add);
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
    timeline: Name,
    /// The columns of the kind besides those of the row.
    rest: Arc<[Arc<str>]>,
    change: Change,
}

impl TrackedChange {
    fn new<T: Tracked>(change: Change) -> Self {
        let Description { timeline, rest, .. } = T::description().clone();
        Self { timeline, rest, change }
    }

    /// A change to something on `timeline` for which there is no row type: what a program that
    /// learns its tables while it runs has to tell.
    ///
    /// # Callers must
    /// give each value in the one form in which the loads of the table name it.
    pub fn untyped(timeline: impl Into<Name>, change: Change) -> Self {
        Self { timeline: timeline.into(), rest: [].into(), change }
    }

    /// The timeline of the kind of row.
    pub fn timeline(&self) -> &Name {
        &self.timeline
    }

    /// What happened.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Names the columns that were changed, where only the row after an update is known: then only
    /// scopes that choose by one of them may have lost it. Known rows need no names.
    ///
    /// Columns are named as their table does, or by the constants of the row type. A name that the
    /// row type does not have may be a slip, so then any column may have changed, the key included,
    /// which is every row of the table. No name at all means that only what scopes never ask for
    /// was changed.
    #[must_use]
    pub fn modified<C: Into<Arc<str>>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        if let Change::After(after) = &mut self.change {
            let (own, rest) = (&after.row.columns, &self.rest);
            let is_known = |column: &Arc<str>| own.contains(column) || rest.contains(column);
            let named: Vec<Arc<str>> = columns.into_iter().map(Into::into).collect();
            let is_certain = named.iter().all(is_known);
            after.modified = Some(if is_certain { named } else { own.to_vec() });
        }
        self
    }
}

/// One change, where several can be told.
impl IntoIterator for TrackedChange {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

impl Change {
    /// `new` was inserted.
    pub fn created<T: Tracked>(new: &T) -> TrackedChange {
        TrackedChange::new::<T>(Self::Row(row::<T>(None, Some(new))))
    }

    /// `old` became `new`.
    pub fn updated<T: Tracked>(old: &T, new: &T) -> TrackedChange {
        TrackedChange::new::<T>(Self::Row(row::<T>(Some(old), Some(new))))
    }

    /// `old` was deleted.
    pub fn deleted<T: Tracked>(old: &T) -> TrackedChange {
        TrackedChange::new::<T>(Self::Row(row::<T>(Some(old), None)))
    }

    /// Something became `new`, and nobody knows any more how it was: every scope that the row may
    /// have left falls too. Its key is taken to be the same, unless it is named as modified. Say
    /// [`TrackedChange::modified`] where it is known.
    pub fn updated_to<T: Tracked>(new: &T) -> TrackedChange {
        let after = After { row: row::<T>(None, Some(new)), modified: None };
        TrackedChange::new::<T>(Self::After(after))
    }
}

fn row<T: Tracked>(old: Option<&T>, new: Option<&T>) -> RowChange {
    let Description { table, columns, key, .. } = T::description().clone();
    let (old, new) = (old.map(T::image), new.map(T::image));
    RowChange { table, columns, key, old, new }
}
