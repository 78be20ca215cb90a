//! Patterns over keys: which matcher is meant is named in the call (ruling X9).
//!
//! Both kinds become one, the `GLOB` of SQLite, which is case-sensitive and knows no escapes but
//! its brackets, and the range of keys that begin like the pattern. **Invariant**: the range holds
//! every key that matches, so that looking into it alone finds all; and the matcher, which ends at
//! the character NUL, is asked only where there is none.

use larder_core::{Error, ErrorKind};
use rusqlite::Connection;

/// Which keys are meant.
///
/// What has a wildcard anywhere but at the end matches no key with the character NUL in it, and may
/// have none itself: asking for it is an error of kind `Config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// `None` where the range says it all.
    glob: Option<String>,
    prefix: String,
}

impl Pattern {
    /// `%` stands for any characters, none included. Everything else is itself: `_` too (SD6).
    pub fn percent(pattern: &str) -> Self {
        let mut glob = String::with_capacity(pattern.len());
        for character in pattern.chars() {
            match character {
                '%' => glob.push('*'),
                '*' | '?' | '[' => {
                    glob.push('[');
                    glob.push(character);
                    glob.push(']');
                }
                other => glob.push(other),
            }
        }
        let prefix = pattern.split('%').next().unwrap_or_default().to_owned();
        Self::new(pattern, "%", glob, prefix)
    }

    /// `*` stands for any characters, `?` for one, `[a-z]` and `[^a-z]` for one of a set.
    pub fn glob(pattern: &str) -> Self {
        let prefix = pattern.split(['*', '?', '[']).next().unwrap_or_default().to_owned();
        Self::new(pattern, "*", pattern.to_owned(), prefix)
    }

    /// Keys that begin with `prefix`, whatever is in it.
    pub fn prefix(prefix: &str) -> Self {
        Self { glob: None, prefix: prefix.to_owned() }
    }

    fn new(pattern: &str, anything: &str, glob: String, prefix: String) -> Self {
        let is_prefix = pattern.strip_suffix(anything) == Some(&*prefix);
        Self { glob: (!is_prefix).then_some(glob), prefix }
    }

    /// What the keys of the range are compared with; `None` where all of them match.
    ///
    /// # Errors
    /// `Config` for a pattern that the matcher would not read to its end.
    pub(crate) fn as_glob(&self) -> Result<Option<&str>, Error> {
        match &self.glob {
            Some(glob) if glob.contains('\u{0}') => {
                Err(Error::new(ErrorKind::Config, "find entries").detail(
                    "the pattern has the character NUL in it, which no wildcard can stand beside; \
                     name the keys, or what they begin with",
                ))
            }
            glob => Ok(glob.as_deref()),
        }
    }

    /// Whether `key` matches, as a query with it would say.
    pub(crate) fn matches(&self, connection: &Connection, key: &str) -> rusqlite::Result<bool> {
        let (from, to) = self.range();
        if key < from || to.is_some_and(|to| *to <= *key) {
            return Ok(false);
        }
        match &self.glob {
            None => Ok(true),
            Some(_) if key.contains('\u{0}') => Ok(false),
            Some(glob) => connection
                .prepare_cached("SELECT ?1 GLOB ?2")?
                .query_row((key, glob), |row| row.get(0)),
        }
    }

    /// Bytes that it takes to remember it.
    pub(crate) fn bytes(&self) -> usize {
        self.prefix.len() + self.glob.as_ref().map_or(0, String::len)
    }

    /// The first key that can match, and the first after all that can; `None` where there is none
    /// after.
    pub(crate) fn range(&self) -> (&str, Option<String>) {
        (&self.prefix, successor(&self.prefix))
    }
}

/// The least text greater than every text that begins with `prefix`. SQLite compares text byte by
/// byte, and UTF-8 sorts as its characters do.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            // What is between is no character.
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_prefix_follows_all_that_begin_with_it() {
        let table = [
            ("a", Some("b")),
            ("az", Some("a{")),
            ("", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ];
        for (prefix, after) in table {
            assert_eq!(successor(prefix).as_deref(), after, "{prefix:?}");
        }
    }

    #[test]
    fn each_kind_becomes_the_same_matcher() {
        let glob = |pattern: Pattern| pattern.as_glob().unwrap().map(str::to_owned);
        assert_eq!(glob(Pattern::percent("a_%[*?")).unwrap(), "a_*[[][*][?]");
        assert_eq!(glob(Pattern::glob("a?c*")).unwrap(), "a?c*");
        // What is a range needs no matcher.
        for range in [Pattern::prefix("50%*"), Pattern::percent("a*%"), Pattern::glob("*")] {
            assert_eq!(glob(range.clone()), None, "{range:?}");
        }
    }

    #[test]
    fn the_range_begins_where_the_first_wildcard_stands() {
        assert_eq!(Pattern::percent("stock_%").range(), ("stock_", Some("stock`".to_owned())));
        assert_eq!(Pattern::glob("a[bc]*").range(), ("a", Some("b".to_owned())));
        assert_eq!(Pattern::percent("%x").range(), ("", None));
        assert_eq!(Pattern::prefix("50%").range(), ("50%", Some("50&".to_owned())));
    }
}
