//! Literals: values of rows, and conditions on their columns, as JSON writes them.
//!
//! It stands apart from `items.rs`, which puts them together to what they name; here nobody knows a
//! table. **Invariant**: what JSON can write in two ways is one value where values meet by their
//! bytes, on `app`; a column of an origin has a form of its own for that (`tables.rs`). What could
//! only be guessed at (a boolean, an unknown comparison) is refused.

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

/// The one form of `value` on `app`, where no column tells: a number that is whole is an integer.
/// One client writes `5`, the next one `5.0`, `5e0` or, of zero, `-0.0`; and a parameter of type
/// real is a real, whatever it was written as.
pub fn on_app(value: Value) -> Value {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Real(number) if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range")]
            Value::Integer(number as i64)
        }
        other => other,
    }
}

/// `condition` with each value in its form [`on_app`].
pub fn condition_on_app(condition: Condition) -> Condition {
    match condition {
        Condition::AnyOf(values) => {
            let mut seen = HashSet::new();
            let values = values.into_iter().map(on_app);
            Condition::AnyOf(values.filter(|value| seen.insert(value.clone())).collect())
        }
        Condition::Within(Span { low, high, nulls }) => {
            Condition::Within(Span { low: low.map(on_app), high: high.map(on_app), nulls })
        }
    }
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
    fn a_number_has_one_form_on_app_however_it_is_written() {
        let read = |text: &str| on_app(value(&text.parse().unwrap()).unwrap());
        for five in ["5", "5.0", "5e0", "50E-1"] {
            assert_eq!(read(five), Value::Integer(5), "{five}");
        }
        assert_eq!((read("-0.0"), read("1e3")), (Value::Integer(0), Value::Integer(1000)));
        assert_eq!(read("-9223372036854775808.0"), Value::Integer(i64::MIN));
        for real in ["5.5", "9223372036854775808", "1e300", "-1e19"] {
            assert!(matches!(read(real), Value::Real(_)), "{real}");
        }
        let condition = |text: &str| condition_on_app(condition(&text.parse().unwrap()).unwrap());
        assert_eq!(condition("[5.0, 5, 6]"), condition("[5, 6.0]"));
        assert_eq!(condition(r#"{"gte": 5.0, "lt": 1e1}"#), condition(r#"{"gte": 5, "lt": 10}"#));
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
