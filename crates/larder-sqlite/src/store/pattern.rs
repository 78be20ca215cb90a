//! Patterns over keys: which matcher is meant is named in the call (ruling X9).
//!
//! Both kinds become one, the `GLOB` of SQLite, which is case-sensitive and knows no escapes but
//! its brackets, and the range of keys that begin like the pattern. **Invariant**: the range holds
//! every key that matches, so that looking into it alone finds all.

/// Which keys are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    glob: String,
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
        Self { glob, prefix }
    }

    /// `*` stands for any characters, `?` for one, `[a-z]` and `[^a-z]` for one of a set.
    pub fn glob(pattern: &str) -> Self {
        let prefix = pattern.split(['*', '?', '[']).next().unwrap_or_default().to_owned();
        Self { glob: pattern.to_owned(), prefix }
    }

    /// Keys that begin with `prefix`, whatever is in it.
    pub fn prefix(prefix: &str) -> Self {
        let mut pattern = Self::percent(&prefix.replace('%', "\u{0}"));
        // A percent sign in a prefix is itself, and means nothing to the matcher.
        pattern.glob = pattern.glob.replace('\u{0}', "%") + "*";
        pattern.prefix = prefix.to_owned();
        pattern
    }

    pub(crate) fn as_glob(&self) -> &str {
        &self.glob
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
        assert_eq!(Pattern::percent("a_%[*?").as_glob(), "a_*[[][*][?]");
        assert_eq!(Pattern::glob("a?c*").as_glob(), "a?c*");
        assert_eq!(Pattern::prefix("50%*").as_glob(), "50%[*]*");
    }

    #[test]
    fn the_range_begins_where_the_first_wildcard_stands() {
        assert_eq!(Pattern::percent("stock_%").range(), ("stock_", Some("stock`".to_owned())));
        assert_eq!(Pattern::glob("a[bc]*").range(), ("a", Some("b".to_owned())));
        assert_eq!(Pattern::percent("%x").range(), ("", None));
        assert_eq!(Pattern::prefix("50%").range(), ("50%", Some("50&".to_owned())));
    }
}
