//! Numbers in text, as far as SQLite's reading of them is known to the last bit.
//!
//! It stands apart from [`super::column`] because literals in a statement are read the same way.
//! SQLite's conversion of decimal text rounds by its own algorithm; up to fifteen digits and small
//! exponents there is nothing to round. **Invariant**: what is answered is what SQLite computes;
//! everything else is [`Reading::Unsure`].

use larder_core::Value;

/// What a text is as a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// An integer or a real.
    Number(Value),
    /// No number: it stays text.
    NotANumber,
    /// A number whose value, or whether it is one, is not certain.
    Unsure,
}

/// Digits that a double keeps whatever they are.
const EXACT_DIGITS: usize = 15;

/// Powers of ten up to this are doubles themselves, so that one operation rounds once at most.
const EXACT_EXPONENT: i32 = 22;

/// Reads the whole of `text`, spaces around it aside.
pub(super) fn read(text: &str) -> Reading {
    let text = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E' | '_');
    if !text.chars().all(is_part) || !text.contains(|c: char| c.is_ascii_digit()) {
        return Reading::NotANumber;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(number) => Reading::Number(Value::Integer(number)),
            Err(_) => Reading::Unsure,
        };
    }
    match read_real(text, unsigned) {
        Some(number) => Reading::Number(Value::Real(number)),
        None => Reading::Unsure,
    }
}

fn read_real(text: &str, unsigned: &str) -> Option<f64> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if EXACT_DIGITS < digits || EXACT_EXPONENT < scale.abs() {
        return None;
    }
    text.parse().ok()
}

/// The text of a real, where SQLite writes the same one.
pub(super) fn write_real(number: f64) -> Option<String> {
    if !(1e-4..1e15).contains(&number.abs()) {
        return None;
    }
    let text = format!("{number:?}");
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let leading = text.bytes().take_while(|byte| !matches!(byte, b'1'..=b'9'));
    let zeros = leading.filter(|byte| *byte == b'0').count();
    (digits - zeros <= EXACT_DIGITS && !text.contains('e')).then_some(text)
}

/// The integer that is the same number, if there is one; a comparison sees no difference.
pub(super) fn whole(number: f64) -> Value {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range")]
        return Value::Integer(number as i64);
    }
    Value::Real(number)
}
