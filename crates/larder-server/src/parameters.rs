//! The query of a URL as typed parameters: the key of an answer.
//!
//! By hand, because a hit pays for it every time, and because a general decoder would let a
//! repeated or misspelt parameter pass. **Invariant**: two queries give the same key iff their
//! typed values in declared order are equal.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use larder_core::Value;

use crate::{
    config::Kind,
    problem::{Code, Problem},
};

/// The key of an answer: the values in declared order.
pub type Key = Arc<[Value]>;

/// One declared parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name in URLs and, behind a colon, in the statement.
    pub name: String,
    /// The type.
    pub kind: Kind,
}

/// Reads `query` as exactly the `declared` parameters, no value longer than `limit`.
pub fn parse(declared: &[Parameter], query: &str, limit: usize) -> Result<Key, Problem> {
    let mut single = [None];
    let mut many;
    let slots: &mut [Option<Value>] = match declared.len() {
        1 => &mut single,
        count => {
            many = vec![None; count];
            &mut many
        }
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        let place = declared.iter().position(|parameter| parameter.name == name);
        let found = place.and_then(|place| declared.get(place).zip(slots.get_mut(place)));
        let Some((parameter, slot)) = found else { return Err(unknown(&name, declared)) };
        let text = decode(text)?;
        if limit < text.len() {
            let detail = format!("`{}` has {} bytes, the limit is {limit}", name, text.len());
            return Err(about(Code::ParameterTooLong, &name, detail));
        }
        let value = typed(parameter, &text)?;
        if slot.replace(value).is_some() {
            let detail = format!("give `{name}` once");
            return Err(about(Code::RepeatedParameter, &name, detail));
        }
    }
    let missing = declared.iter().zip(slots.iter()).find(|(_, slot)| slot.is_none());
    match missing {
        None => Ok(slots.iter_mut().filter_map(Option::take).collect()),
        Some((Parameter { name, kind }, _)) => {
            let detail = format!("add `{name}`, of type {}", kind.name());
            Err(about(Code::MissingParameter, name, detail))
        }
    }
}

/// One parameter of a query, decoded, with a value no longer than `limit`.
pub fn pair(pair: &str, limit: usize) -> Result<(Cow<'_, str>, Cow<'_, str>), Problem> {
    let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
    let (name, text) = (decode(name)?, decode(text)?);
    if limit < text.len() {
        let shown: String = name.chars().take(64).collect();
        let detail = format!("`{shown}` has {} bytes, the limit is {limit}", text.len());
        return Err(about(Code::ParameterTooLong, &shown, detail));
    }
    Ok((name, text))
}

/// A problem with one parameter.
pub fn about(code: Code, parameter: &str, detail: String) -> Problem {
    Problem::new(code, detail).with("parameter", parameter)
}

fn unknown(name: &str, declared: &[Parameter]) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let names: Vec<&str> = declared.iter().map(|parameter| &*parameter.name).collect();
    let detail = match names.as_slice() {
        [] => format!("`{shown}` is unknown: the resource takes no parameters"),
        names => format!("`{shown}` is unknown: the resource takes {}", names.join(", ")),
    };
    about(Code::UnknownParameter, &shown, detail)
}

fn typed(parameter: &Parameter, text: &str) -> Result<Value, Problem> {
    let Parameter { name, kind } = parameter;
    let value = match kind {
        Kind::Integer => integer(text).map(Value::Integer),
        Kind::Real => {
            let plain = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
            let number = if plain { text.parse().ok() } else { None };
            number.filter(|number: &f64| number.is_finite()).map(Value::Real)
        }
        Kind::Text => Some(Value::from(text)),
        Kind::Blob => {
            // In a URL both alphabets are common, and a `+` may have become a space.
            let standard: String = text.trim_end_matches('=').chars().map(standard_digit).collect();
            STANDARD_NO_PAD.decode(standard).ok().map(|bytes| Value::from(&*bytes))
        }
    };
    value.ok_or_else(|| {
        let wanted = match kind {
            Kind::Integer => "a whole number of 64 bits",
            Kind::Real => "a finite number",
            Kind::Text => "text",
            Kind::Blob => "base64",
        };
        about(Code::IllTypedParameter, name, format!("`{name}` must be {wanted}"))
    })
}

/// Digits with at most a minus before them: `+5` and ` 5` would be other spellings of one key.
fn integer(text: &str) -> Option<i64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn standard_digit(digit: char) -> char {
    match digit {
        '-' | ' ' => '+',
        '_' => '/',
        other => other,
    }
}

/// Undoes percent-encoding; borrows what has none.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(text.into());
    }
    let malformed = || Problem::new(Code::MalformedRequest, "the query is not well encoded UTF-8");
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes.next().and_then(hex_digit).ok_or_else(malformed)?;
                let low = bytes.next().and_then(hex_digit).ok_or_else(malformed)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| malformed())
}

/// A part of a path, decoded: there a plus is a plus.
pub fn path(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains('%') {
        return Ok(text.into());
    }
    decode(&text.replace('+', "%2B")).map(|text| Cow::Owned(text.into_owned()))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<Parameter> {
        let parameter = |name: &str, kind| Parameter { name: name.into(), kind };
        vec![parameter("artist", Kind::Integer), parameter("name", Kind::Text)]
    }

    fn code(query: &str) -> &'static str {
        parse(&declared(), query, 32).map_or_else(|problem| problem.code().name(), |_| "ok")
    }

    #[test]
    fn the_key_has_the_declared_order_whatever_the_order_of_the_query() {
        let key = parse(&declared(), "name=a%20b+c&artist=-90", 32).unwrap();
        assert_eq!(&*key, [Value::from(-90), Value::from("a b c")]);
        assert_eq!(key, parse(&declared(), "artist=-90&&name=a+b%20c&", 32).unwrap());
    }

    #[test]
    fn each_fault_has_its_code() {
        assert_eq!(code("artist=1&name=x"), "ok");
        assert_eq!(code("artist=1"), "missing-parameter");
        assert_eq!(code("artist=1&name=x&limit=3"), "unknown-parameter");
        assert_eq!(code("artist=1&name=x&artist=1"), "repeated-parameter");
        assert_eq!(code("artist=one&name=x"), "ill-typed-parameter");
        assert_eq!(code("artist=1&name=%ff"), "malformed-request");
        assert_eq!(code("artist=1&name=%f"), "malformed-request");
        assert_eq!(code(&format!("artist=1&name={}", "x".repeat(33))), "parameter-too-long");
    }

    #[test]
    fn a_number_has_one_spelling_of_its_type() {
        for text in ["1.0", "", "%2B5", "+5", "0x10", "9223372036854775808"] {
            assert_eq!(code(&format!("artist={text}&name=x")), "ill-typed-parameter", "{text}");
        }
        let real = [Parameter { name: "r".into(), kind: Kind::Real }];
        assert_eq!(&*parse(&real, "r=1e3", 32).unwrap(), [Value::from(1000.0)]);
        for text in ["NaN", "inf", "infinity", "1e999"] {
            assert!(parse(&real, &format!("r={text}"), 32).is_err(), "{text}");
        }
    }

    #[test]
    fn a_blob_is_base64_in_either_alphabet() {
        let blob = [Parameter { name: "b".into(), kind: Kind::Blob }];
        let bytes: &[u8] = &[251, 255, 254];
        for text in ["%2B//%2B", "-__-", "+//+"] {
            let key = parse(&blob, &format!("b={text}"), 32).unwrap();
            assert_eq!(&*key, [Value::from(bytes)], "{text}");
        }
    }
}
