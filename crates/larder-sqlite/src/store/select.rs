//! A selection of entries: by key, by tags, or both.
//!
//! One noun for listing, counting and deleting, so that what a dry run counts is what a deletion
//! takes. **Invariant**: an empty list of tags matches nothing (ruling X8); only a list that was
//! not given matches everything.

use super::pattern::Pattern;

/// Which entries of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a selection does nothing by itself"]
pub struct Select {
    pub(crate) pattern: Option<Pattern>,
    pub(crate) any: Option<Vec<String>>,
    pub(crate) all: Option<Vec<String>>,
    pub(crate) none: Vec<String>,
}

impl Select {
    /// All of them.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Those whose key matches.
    pub fn matching(mut self, pattern: Pattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Those that have at least one of these tags. Tags are compared exactly (SD7).
    pub fn any_of<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.any.get_or_insert_default().extend(tags.into_iter().map(Into::into));
        self
    }

    /// Those that have every one of these tags.
    pub fn all_of<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.all.get_or_insert_default().extend(tags.into_iter().map(Into::into));
        self
    }

    /// Those that have not one of these tags.
    pub fn none_of<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.none.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Whether it can match nothing at all, whatever is there.
    pub(crate) fn is_nothing(&self) -> bool {
        let is_empty = |tags: &Option<Vec<String>>| tags.as_ref().is_some_and(Vec::is_empty);
        is_empty(&self.any) || is_empty(&self.all)
    }
}
