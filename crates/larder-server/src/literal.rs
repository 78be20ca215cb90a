//! Literals: values of rows, and conditions on their columns, as JSON writes them.
//!
//! It stands apart from `items.rs`, which puts them together to what they name; here nobody knows a
//! table. **Invariant**: what JSON can write in two ways is one value, and what could only be
//! guessed at (a boolean, an unknown comparison) is refused.

use std::{collections::HashSet, ops::Bound};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use larder::{Condition, Nulls, Span, Value};
use serde_json::{Map, Value as Json, json};

/// A scalar: a number, a text, null, or `{"base64": "..."}` for bytes.
pub fn value(json: &Json) -> Result<Value, String> {
    let found = match json {
        Json::Null => Some(Value::Null),
        Json::String(text) => Some(Value::from(text.as_str())),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Some(Value::Integer(integer)),
            None => number.as_f64().filter(|real| real.is_finite()).map(Value::Real),
        },
        Json::Object(object) if object.len() == 1 => object
            .get("base64")
            .and_then(Json::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .map(|bytes| Value::from(&*bytes)),
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    found.ok_or_else(|| "a value is a number, a text, null, or {\"base64\": \"...\"}".to_owned())
}

/// The scalar as [`value`] reads it back.
pub fn shown(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => (&**text).into(),
        Value::Blob(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A condition on a column: a value, a list of them, or a range such as `{"gte": 5, "lt": 10}`.
pub fn condition(json: &Json) -> Result<Condition, String> {
    match json {
        Json::Array(list) if list.is_empty() => {
            Err("no row has any of no values; leave the empty list out".to_owned())
        }
        Json::Array(list) => {
            let mut values = list.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            let mut seen = HashSet::new();
            values.retain(|value| seen.insert(value.clone()));
            Ok(Condition::AnyOf(values))
        }
        Json::Object(object) if !object.contains_key("base64") => range(object),
        one => Ok(Condition::AnyOf(vec![value(one)?])),
    }
}

fn range(object: &Map<String, Json>) -> Result<Condition, String> {
    let wanted = || {
        "a range has one or two of \"lt\", \"lte\", \"gt\" and \"gte\": {\"gte\": 5, \"lt\": 10}"
            .to_owned()
    };
    let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
    for (word, bound) in object {
        let bound = value(bound)?;
        if bound == Value::Null {
            return Err("a range ends at a value; null is none".to_owned());
        }
        let (side, bound) = match &**word {
            "lt" => (&mut high, Bound::Excluded(bound)),
            "lte" => (&mut high, Bound::Included(bound)),
            "gt" => (&mut low, Bound::Excluded(bound)),
            "gte" => (&mut low, Bound::Included(bound)),
            _ => return Err(wanted()),
        };
        if !matches!(side, Bound::Unbounded) {
            return Err(wanted());
        }
        *side = bound;
    }
    if matches!((&low, &high), (Bound::Unbounded, Bound::Unbounded)) {
        return Err(wanted());
    }
    let span = Span { low, high, nulls: Nulls::Outside };
    match span.is_empty() {
        true => Err("the range ends before it begins".to_owned()),
        false => Ok(Condition::Within(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_as_shown() {
        let blob: &[u8] = &[0, 255];
        for one in [Value::Null, 90.into(), 1.5.into(), "a".into(), blob.into()] {
            assert_eq!(value(&shown(&one)), Ok(one));
        }
        for refused in [json!(true), json!([1]), json!({ "base64": "?" }), json!({})] {
            assert!(value(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_condition_is_a_value_a_list_or_a_range() {
        let list = condition(&json!([1, 1, null])).unwrap();
        assert_eq!(list, Condition::AnyOf(vec![1.into(), Value::Null]));
        let below = Span::between(Bound::Unbounded, Bound::Excluded(10.into()));
        assert_eq!(condition(&json!({ "lt": 10 })).unwrap(), Condition::Within(below));
        assert!(condition(&json!({ "gte": 5, "lt": 10 })).is_ok());
    }

    #[test]
    fn what_no_row_can_meet_and_what_is_ambiguous_is_refused() {
        for text in ["[]", "{}", "true", r#"{"lt": null}"#, r#"{"lt": 1, "lte": 1}"#] {
            assert!(condition(&text.parse().unwrap()).is_err(), "{text}");
        }
        for text in [r#"{"gt": 10, "lt": 10}"#, r#"{"below": 3}"#, r#"{"lt": [1]}"#] {
            assert!(condition(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
