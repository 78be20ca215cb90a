//! A selection of entries: by key, by tags, or both.
//!
//! One noun for listing, counting and deleting, so that what a dry run counts is what a deletion
//! takes. **Invariant**: an empty list of tags matches nothing (ruling X8); only a list that was
//! not given matches everything.

use larder_core::Error;
use rusqlite::Connection;

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

    /// Whether it can be asked for.
    ///
    /// # Errors
    /// `Config` for a pattern that cannot; whether there is anything to compare with it or not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.pattern.as_ref().map_or(Ok(None), Pattern::as_glob).map(drop)
    }

    /// Whether an entry with this key and these tags is one of them, as the queries of `listing`
    /// would say.
    pub(crate) fn names(
        &self,
        connection: &Connection,
        key: &str,
        tags: &[String],
    ) -> rusqlite::Result<bool> {
        let has = |tag: &String| tags.contains(tag);
        let by_tags = self.any.as_ref().is_none_or(|any| any.iter().any(has))
            && self.all.as_ref().is_none_or(|all| !all.is_empty() && all.iter().all(has))
            && !self.none.iter().any(has);
        match &self.pattern {
            Some(pattern) if by_tags => pattern.matches(connection, key),
            _ => Ok(by_tags),
        }
    }

    /// Bytes that it takes to remember it.
    pub(crate) fn bytes(&self) -> usize {
        let tags = [self.any.as_deref(), self.all.as_deref(), Some(&*self.none)];
        let tags = tags.into_iter().flatten().flatten();
        let tags: usize = tags.map(|tag| tag.len() + size_of::<String>()).sum();
        tags + self.pattern.as_ref().map_or(0, Pattern::bytes)
    }

    /// Whether it can match nothing at all, whatever is there.
    pub(crate) fn is_nothing(&self) -> bool {
        let is_empty = |tags: &Option<Vec<String>>| tags.as_ref().is_some_and(Vec::is_empty);
        is_empty(&self.any) || is_empty(&self.all)
    }
}
