//! Keys of tables as people write them: values of the first columns of an index.
//!
//! In a URL a comma list such as `7,2026-01-01`, each value in the type of its column; there and in
//! bodies also a JSON list such as `[7, "2026-01-01"]`, which says its types itself. **Invariant**:
//! a key has values of types that its columns hold, so that nothing is compared that could never be
//! equal.

use larder_core::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::literal;

/// A column of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the result.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
}

/// What a column holds, as far as the origin's schema says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// Whole numbers.
    Integers,
    /// Floating-point numbers.
    Reals,
    /// Numbers of either kind.
    Numbers,
    /// Text.
    Text,
    /// Nobody says: it is computed, or declared as nothing.
    Anything,
}

impl Holds {
    fn are_numbers(self) -> bool {
        matches!(self, Self::Integers | Self::Reals | Self::Numbers)
    }
}

/// A key in a URL.
///
/// # Errors
/// What is wrong, with the columns.
pub fn read(text: &str, columns: &[Column]) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('[') {
        let list = serde_json::from_str(text);
        let list = list.map_err(|_| format!("`{}` is no JSON list", shortened(text)))?;
        return from_json(&list, columns);
    }
    let parts: Vec<&str> = text.split(',').collect();
    check_count(parts.len(), columns)?;
    let typed = |(text, column): (&&str, &Column)| of_text(text, column);
    parts.iter().zip(columns).map(typed).collect()
}

/// A key in a body: a value, or a list with one for each of the first columns.
///
/// # Errors
/// What is wrong, with the columns.
pub fn from_json(json: &Json, columns: &[Column]) -> Result<Vec<Value>, String> {
    let one = std::slice::from_ref(json);
    let parts = json.as_array().map_or(one, Vec::as_slice);
    check_count(parts.len(), columns)?;
    let typed = |(json, column): (&Json, &Column)| {
        let value = literal::value(json).map_err(|why| format!("{}: {why}", column.name))?;
        match (&value, column.holds) {
            (Value::Text(_), holds) if holds.are_numbers() => Err(refused(column, "a number")),
            (Value::Integer(_) | Value::Real(_), Holds::Text) => Err(refused(column, "text")),
            _ => Ok(value),
        }
    };
    parts.iter().zip(columns).map(typed).collect()
}

/// A key in a setting, where a variable of the environment has only text.
///
/// # Errors
/// What is wrong, with the columns.
pub fn from_setting(values: &[Value], columns: &[Column]) -> Result<Vec<Value>, String> {
    check_count(values.len(), columns)?;
    let typed = |(value, column): (&Value, &Column)| match (value, column.holds) {
        (Value::Text(text), holds) if holds.are_numbers() => of_text(text, column),
        (Value::Integer(_) | Value::Real(_), Holds::Text) => Err(refused(column, "text")),
        (value, _) => Ok(value.clone()),
    };
    values.iter().zip(columns).map(typed).collect()
}

/// A key as [`from_json`] reads it back.
pub fn shown(values: &[Value]) -> Json {
    values.iter().map(literal::shown).collect()
}

fn check_count(count: usize, columns: &[Column]) -> Result<(), String> {
    if (1..=columns.len()).contains(&count) {
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    let names = names.join(", ");
    Err(format!("{count} values were given, the index is by {names}: give the first ones or all"))
}

fn of_text(text: &str, column: &Column) -> Result<Value, String> {
    match column.holds {
        Holds::Text => Ok(Value::from(text)),
        Holds::Integers | Holds::Reals | Holds::Numbers => {
            number(text).ok_or_else(|| refused(column, "a number"))
        }
        Holds::Anything => Ok(number(text).unwrap_or_else(|| Value::from(text))),
    }
}

fn number(text: &str) -> Option<Value> {
    let integer = text.parse().ok().filter(|_| !text.starts_with('+')).map(Value::Integer);
    integer.or_else(|| {
        let is_plain = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
        let real = text.parse().ok().filter(|real: &f64| is_plain && real.is_finite());
        real.map(Value::Real)
    })
}

fn refused(column: &Column, wanted: &str) -> String {
    format!("the column {} holds {wanted}, something else was given", column.name)
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns() -> Vec<Column> {
        let of = |name: &str, holds| Column { name: name.to_owned(), holds };
        vec![of("device", Holds::Integers), of("day", Holds::Text), of("x", Holds::Anything)]
    }

    #[test]
    fn values_have_the_types_of_their_columns_however_they_are_written() {
        let all = vec![7.into(), "2026".into(), 1.5.into()];
        assert_eq!(read("7,2026,1.5", &columns()), Ok(all.clone()));
        assert_eq!(read(r#"[7, "2026", 1.5]"#, &columns()), Ok(all.clone()));
        assert_eq!(from_setting(&["7".into(), "2026".into(), 1.5.into()], &columns()), Ok(all));
        assert_eq!(read("7", &columns()), Ok(vec![7.into()]), "the first columns will do");
        assert_eq!(from_json(&json!(7), &columns()), Ok(vec![7.into()]));
        assert_eq!(read("7,a,b", &columns()), Ok(vec![7.into(), "a".into(), "b".into()]));
        let key = [7.into(), Value::Null];
        assert_eq!(from_json(&shown(&key), &columns()), Ok(key.to_vec()));
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused_with_its_name() {
        for text in ["seven", "", "NaN", "inf", r#"["7"]"#, r#"[true]"#] {
            let why = read(text, &columns()).unwrap_err();
            assert!(why.contains("device"), "{text}: {why}");
        }
        let why = read(r#"[7, 2026]"#, &columns()).unwrap_err();
        assert!(why.contains("the column day holds text"), "{why}");
        for text in ["1,2,3,4", "[]"] {
            let why = read(text, &columns()).unwrap_err();
            assert!(why.contains("the index is by device, day, x"), "{why}");
        }
        assert!(read("[7", &columns()).unwrap_err().contains("no JSON list"));
    }
}
