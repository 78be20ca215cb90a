//! Tokens: nobody else can make one, and a damaged one is refused.

use larder_core::{
    Epoch, ErrorKind, Position,
    token::{MAX_TOKEN_CHARS, Token, TokenKey},
};
use proptest::prelude::*;

fn key(byte: u8) -> TokenKey {
    TokenKey::new([byte; 32])
}

fn token() -> Token {
    let mut token = Token::new();
    token.require("shop".into(), Epoch(u64::MAX), Position(300));
    token.require("app".into(), Epoch(7), Position(0));
    token
}

#[test]
fn a_token_survives_the_way_through_a_client() {
    for token in [Token::new(), token()] {
        assert_eq!(Token::open(&token.seal(&key(1)), &key(1)).unwrap(), token);
    }
}

#[test]
fn a_token_with_any_digit_changed_is_refused() {
    let sealed = token().seal(&key(1));
    for place in 0..sealed.len() {
        for digit in "0123456789abcdefg ".chars() {
            let mut other: Vec<char> = sealed.chars().collect();
            if other[place] == digit {
                continue;
            }
            other[place] = digit;
            let other: String = other.into_iter().collect();
            let error = Token::open(&other, &key(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}

#[test]
fn a_token_that_was_cut_or_continued_is_refused() {
    let sealed = token().seal(&key(1));
    for length in 0..sealed.len() {
        assert!(Token::open(&sealed[..length], &key(1)).is_err(), "{length}");
    }
    for more in ["0", "00", &sealed] {
        assert!(Token::open(&format!("{sealed}{more}"), &key(1)).is_err());
    }
}

#[test]
fn a_token_of_another_key_is_refused() {
    assert!(Token::open(&token().seal(&key(2)), &key(1)).is_err());
}

#[test]
fn a_token_over_the_limit_is_refused_before_it_is_read() {
    let error = Token::open(&"0".repeat(MAX_TOKEN_CHARS + 1), &key(1)).unwrap_err();
    assert!(error.to_string().contains("the limit is 4096"), "{error}");
}

#[test]
fn text_outside_ascii_is_refused() {
    assert!(Token::open("\u{ff10}\u{ff11}", &key(1)).is_err());
}

#[test]
fn of_two_positions_of_one_life_the_later_is_required() {
    let mut token = token();
    token.require("shop".into(), Epoch(u64::MAX), Position(7));
    token.require("shop".into(), Epoch(3), Position(1));
    let marks: Vec<_> = token.iter().map(|(name, epoch, at)| (&**name, epoch.0, at.0)).collect();
    assert_eq!(marks, [("shop", u64::MAX, 300), ("app", 7, 0), ("shop", 3, 1)]);
}

proptest! {
    #[test]
    fn every_token_comes_back_as_it_was(
        marks in proptest::collection::vec(("[a-c]{0,3}", any::<u64>(), any::<u64>()), 0..6),
    ) {
        let mut token = Token::new();
        for (name, epoch, position) in marks {
            token.require(name.into(), Epoch(epoch), Position(position));
        }
        prop_assert_eq!(Token::open(&token.seal(&key(9)), &key(9)).unwrap(), token);
    }

    #[test]
    fn no_text_opens_without_the_key(text in ".{0,80}") {
        prop_assert!(Token::open(&text, &key(9)).is_err());
    }
}
