//! Keys read back and shown in words.
//!
//! **Invariant** under test: what was encoded comes back as it was, and foreign bytes give nothing.

use std::{fmt::Debug, sync::Arc};

use proptest::prelude::*;

use super::KeyDecoder;
use crate::{Key, KeyBytes, KeyEncoder, Value};

fn bytes<K: Key>(key: &K) -> KeyBytes {
    let mut encoder = KeyEncoder::new(7);
    key.encode(&mut encoder);
    encoder.finish()
}

fn read<K: Key>(bytes: &KeyBytes) -> Option<K> {
    let mut decoder = KeyDecoder::new(bytes.as_slice())?;
    K::decode(&mut decoder).filter(|_| decoder.is_at_end())
}

#[track_caller]
fn comes_back<K: Key + PartialEq + Debug>(key: &K) {
    assert_eq!(read::<K>(&bytes(key)).as_ref(), Some(key));
}

#[test]
fn a_key_of_any_type_comes_back_as_it_was() {
    comes_back(&());
    comes_back(&(i8::MIN, u8::MAX, i16::MIN, u16::MAX, i32::MIN, u32::MAX));
    comes_back(&(i64::MIN, u64::MAX, i128::MIN, u128::MAX, usize::MAX, isize::MIN));
    comes_back(&(true, 'x', String::from("a\0b"), Some(5u8), None::<u8>));
    comes_back(&(vec![(1u32, String::from("one")), (2, String::new())],));
    comes_back(&(Arc::<str>::from("arc"), Arc::<[u8]>::from(&[0, 255][..])));
    comes_back(&Arc::<[Value]>::from([Value::Null, Value::from(1.5), Value::from("x")]));
}

#[test]
fn a_key_read_as_another_type_gives_nothing() {
    let number = bytes(&300u32);
    assert_eq!(read::<u8>(&number), None, "too large for it");
    assert_eq!(read::<String>(&number), None);
    assert_eq!(read::<(u32, u32)>(&number), None);
    assert_eq!(read::<()>(&bytes(&((), ()))), None, "bytes are left over");
    assert_eq!(read::<&'static str>(&bytes(&"text")), None, "nothing owns the text");
}

#[test]
fn keys_are_shown_as_a_reader_would_write_them() {
    let words = |key: KeyBytes| key.words().to_string();
    assert_eq!(words(bytes(&90u32)), "90");
    assert_eq!(words(bytes(&(90u32, "abc"))), r#"(90, "abc")"#);
    assert_eq!(words(bytes(&vec![Some(1u8), None])), "[some 1, none]");
    assert_eq!(words(bytes(&(true, 'x', ()))), "(true, 'x', ())");
    assert_eq!(words(bytes(&u64::MAX)), "18446744073709551615");
    assert_eq!(words(bytes(&Value::from("a\"b"))), r#""a\"b""#);
    assert_eq!(words(bytes(&Arc::<[u8]>::from(&[1, 255][..]))), "x'01ff'");
    assert_eq!(words(KeyBytes::from(&[7, 0, 0, 0, 200, 1][..])), "x'c801'");
    assert_eq!(words(KeyBytes::from(&[7][..])), "x'07'");
    assert_eq!(format!("{:?}", bytes(&"secret").words()), "KeyBytes(19 bytes)");
}

#[test]
fn bytes_that_only_look_like_deep_lists_do_not_overrun_the_stack() {
    let mut encoder = KeyEncoder::new(7);
    for _ in 0..100_000 {
        encoder.put(&[super::LIST, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert!(encoder.finish().words().to_string().starts_with("x'08"));
}

proptest! {
    #[test]
    fn any_bytes_are_shown_and_read_without_a_panic(bytes in any::<Vec<u8>>()) {
        let key = KeyBytes::from(&*bytes);
        prop_assert!(!key.words().to_string().is_empty());
        read::<(Vec<Option<u128>>, Value, char, Arc<str>)>(&key);
    }
}
