//! A dependency in one word, to be copied from what `explain` shows into a command.
//!
//! The way back from `spoken.rs`. **Invariant**: a word that is made here is read there as the very
//! dependency it was made of; where no word says it, none is made.

use std::{ops::Bound, sync::Arc};

use larder::{Atom, Dependency, Nulls, Span, Value, Watch};
use serde_json::Value as Json;

use crate::{literal, spoken::unquoted, tag::Tag};

/// Stands for all tables that nobody watches, so it is none that could be named.
const UNWATCHED: &str = "*";

/// The word for `dependency`, if there is one.
pub fn of(dependency: &Dependency) -> Option<String> {
    let timeline = dependency.timeline();
    let named = |table: &str| format!("{timeline}.{table}");
    // What ends a table in a word can be part of its name; then only JSON can say it.
    let is_plain = |table: &str| !table.contains(['/', ':']);
    match dependency.atom() {
        Atom::Everything => Some(format!("everything:{timeline}")),
        Atom::Tag { space, name } if space.is_empty() => {
            Some(Tag::Plain(name.to_string()).to_string())
        }
        Atom::Tag { space, name } => Some(Tag::In(space.to_string(), name.to_string()).to_string()),
        Atom::Table(table) => (is_plain(table) && &**table != UNWATCHED).then(|| named(table)),
        Atom::Id { table, key } => {
            let values: Option<Vec<String>> = key.iter().map(|value| quoted(value, '/')).collect();
            Some(match values.filter(|_| is_plain(table)) {
                Some(values) => format!("{}/{}", named(table), values.join("/")),
                None => {
                    let key = key.iter().map(literal::shown);
                    let parts = std::iter::once(named(table).into()).chain(key);
                    Json::Array(parts.collect()).to_string()
                }
            })
        }
        Atom::Scope { table, terms, span, watch } => {
            let own = is_plain(table) && *watch == Watch::Row;
            let conditions = conditions(terms, span.as_ref()).filter(|_| own)?;
            Some(format!("{}:{}", named(table), conditions.join(",")))
        }
    }
}

fn conditions(terms: &[(Arc<str>, Value)], span: Option<&(Arc<str>, Span)>) -> Option<Vec<String>> {
    let named = |column: &str, sign: &str, value: &Value| {
        let is_plain = !column.is_empty() && !column.contains([',', '<', '>', '=']);
        Some(format!("{column}{sign}{}", quoted(value, ',').filter(|_| is_plain)?))
    };
    let equal = terms.iter().map(|(column, value)| named(column, "=", value));
    let mut all = equal.collect::<Option<Vec<_>>>()?;
    if let Some((column, span)) = span {
        if span.nulls == Nulls::Inside || terms.iter().any(|(own, _)| own == column) {
            return None;
        }
        match &span.low {
            Bound::Included(low) => all.push(named(column, ">=", low)?),
            Bound::Excluded(low) => all.push(named(column, ">", low)?),
            Bound::Unbounded => {}
        }
        match &span.high {
            Bound::Included(high) => all.push(named(column, "<=", high)?),
            Bound::Excluded(high) => all.push(named(column, "<", high)?),
            Bound::Unbounded => {}
        }
    }
    (!all.is_empty()).then_some(all)
}

/// A value as `unquoted` reads it back, if it can stand where `end` ends it.
fn quoted(value: &Value, end: char) -> Option<String> {
    let text = match value {
        Value::Blob(_) => return None,
        Value::Text(text) if unquoted(text) == **text => text.to_string(),
        other => literal::shown(other).to_string(),
    };
    (!text.contains(end)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        items::{Items, Names},
        spoken,
    };

    fn read(word: &str) -> Vec<Dependency> {
        let items: Items = spoken::parse(word).unwrap_or_else(|error| panic!("{word}: {error}"));
        items.meaning(&Names::none()).unwrap_or_else(|_| panic!("{word}")).dependencies
    }

    #[test]
    fn a_word_reads_back_as_what_it_was_made_of() {
        let blob: &[u8] = &[0, 255];
        let texts =
            ["x", "", "90", "\"90\"", " 90", "null", "a/b", "a,b", "a=b", "<1", "a:b", "[1]"];
        let values = texts.map(Value::from);
        let others = [Value::Null, 90.into(), (-1.5).into(), blob.into()];
        let range = |low, high| Span { low, high, nulls: Nulls::Outside };
        let mut all = vec![
            Dependency::everything("app"),
            Dependency::table("app", "Banner"),
            Dependency::tag("a.b/c:d"),
            Dependency::tag("/x:y"),
            Dependency::tag_in("artist", "9/0:1"),
            Dependency::id("app", "a/b:c", [1]),
            Dependency::scope("app", "A", [("b", 1), ("c", 2)]),
            Dependency::table("app", "A")
                .within("b", range(Bound::Excluded(1.into()), Bound::Included("z".into()))),
            Dependency::scope("app", "A", [("c", 1)])
                .within("b", range(Bound::Included(1.into()), Bound::Unbounded)),
        ];
        for value in values.into_iter().chain(others) {
            all.push(Dependency::id("app", "A", [value.clone(), 1.into()]));
            all.push(Dependency::scope("app", "A", [("b", value)]));
        }
        let mut said = 0;
        for dependency in &all {
            let Some(word) = of(dependency) else { continue };
            assert_eq!(read(&word), std::slice::from_ref(dependency), "{word}");
            said += 1;
        }
        // All but a scope with a blob and one whose text ends a condition.
        assert_eq!(said, all.len() - 2);
    }

    #[test]
    fn what_no_word_says_has_none() {
        let all =
            Span { low: Bound::Unbounded, high: Bound::Excluded(1.into()), nulls: Nulls::Inside };
        for dependency in [
            Dependency::table("app", UNWATCHED),
            Dependency::table("app", "a/b"),
            Dependency::scope("app", "a:b", [("c", 1)]),
            Dependency::scope("app", "A", [("a<b", 1)]),
            Dependency::scope("app", "A", [("b", 1)]).watching(["c"]),
            Dependency::table("app", "A").within("b", all),
        ] {
            assert_eq!(of(&dependency), None, "{dependency}");
        }
    }
}
