//! Members of what a store or a server answers, as commands show them.
//!
//! Apart from `place`, which asks. **Invariant**: a member that is not there counts as nothing, so
//! that a server of another version can be asked, too; what goes to a terminal goes through
//! `shown`.

use serde_json::Value;

use super::super::shown;

/// A number; 0 if there is none.
pub(super) fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// Text as it is, for a program; empty if there is none.
pub(super) fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The same for a terminal.
pub(super) fn text(of: &Value, name: &str) -> String {
    shown::text(word(of, name))
}
