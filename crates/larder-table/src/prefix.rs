//! Prefixes: all keys that begin with something, as one range.
//!
//! Apart from the ranges, which need nothing of a key but its order: where the keys that begin with
//! something end can only be said by what the next beginning is. **Invariant**: a key is in the
//! range exactly when it begins with the prefix.

use std::{ops::Bound, sync::Arc};

use crate::{float::Float, ranges::Ranges};

impl<K: Ord + Clone> Ranges<K> {
    /// The keys that begin with `prefix`: text with a text, a tuple with its first parts.
    ///
    /// ```
    /// use larder_table::Ranges;
    ///
    /// let device = Ranges::<(u32, i64)>::prefix(7);
    /// assert!(device.contains(&(7, i64::MAX)) && !device.contains(&(8, i64::MIN)));
    /// let name = Ranges::<String>::prefix("ab");
    /// assert!(name.contains(&"abyss".into()) && !name.contains(&"ac".into()));
    /// ```
    pub fn prefix<P>(prefix: P) -> Self
    where
        K: Prefixed<P>,
    {
        Self::of(K::beginning(prefix)).expect("the keys of a prefix end after they begin")
    }
}

/// A key that begins with a `P`.
pub trait Prefixed<P>: Ord + Clone {
    /// Between which bounds the keys lie that begin with `prefix`, and no others.
    fn beginning(prefix: P) -> (Bound<Self>, Bound<Self>);
}

/// A key of a kind that has a first one, and a next one after each but the last.
///
/// To be implemented for types of your own that stand in tuples of which prefixes are read.
pub trait Successor: Ord + Clone {
    /// The first of all.
    fn least() -> Self;

    /// The next one; nothing lies between. `None` after the last.
    fn successor(&self) -> Option<Self>;
}

/// The first text behind all that begin with `prefix`: the last letter that has a next one is
/// that, and what follows it is left out. UTF-8 is in the order of its letters.
fn behind(prefix: &str) -> Option<String> {
    let mut letters = prefix.char_indices().rev();
    letters.find_map(|(at, letter)| {
        let (before, _) = prefix.split_at(at);
        letter.successor().map(|next| format!("{before}{next}"))
    })
}

impl Prefixed<&str> for String {
    fn beginning(prefix: &str) -> (Bound<Self>, Bound<Self>) {
        let end = behind(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(prefix.into()), end)
    }
}

impl Prefixed<&str> for Arc<str> {
    fn beginning(prefix: &str) -> (Bound<Self>, Bound<Self>) {
        let (low, high) = String::beginning(prefix);
        (low.map(Into::into), high.map(Into::into))
    }
}

/// The keys of two parts of which the first is `first`.
fn of_first<A: Successor, K>(first: A, with_least: impl Fn(A) -> K) -> (Bound<K>, Bound<K>) {
    let next = first.successor().map(&with_least);
    (Bound::Included(with_least(first)), next.map_or(Bound::Unbounded, Bound::Excluded))
}

impl<A: Successor, B: Successor> Prefixed<A> for (A, B) {
    fn beginning(first: A) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |a| (a, B::least()))
    }
}

impl<A: Successor, B: Successor, C: Successor> Prefixed<A> for (A, B, C) {
    fn beginning(first: A) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |a| (a, B::least(), C::least()))
    }
}

impl<A: Successor, B: Successor, C: Successor> Prefixed<(A, B)> for (A, B, C) {
    fn beginning(first: (A, B)) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |(a, b)| (a, b, C::least()))
    }
}

impl<A: Successor, B: Successor, C: Successor, D: Successor> Prefixed<A> for (A, B, C, D) {
    fn beginning(first: A) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |a| (a, B::least(), C::least(), D::least()))
    }
}

impl<A: Successor, B: Successor, C: Successor, D: Successor> Prefixed<(A, B)> for (A, B, C, D) {
    fn beginning(first: (A, B)) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |(a, b)| (a, b, C::least(), D::least()))
    }
}

impl<A: Successor, B: Successor, C: Successor, D: Successor> Prefixed<(A, B, C)> for (A, B, C, D) {
    fn beginning(first: (A, B, C)) -> (Bound<Self>, Bound<Self>) {
        of_first(first, |(a, b, c)| (a, b, c, D::least()))
    }
}

impl<A: Successor, B: Successor> Successor for (A, B) {
    fn least() -> Self {
        (A::least(), B::least())
    }

    fn successor(&self) -> Option<Self> {
        let (a, b) = self;
        let next = b.successor().map(|b| (a.clone(), b));
        next.or_else(|| Some((a.successor()?, B::least())))
    }
}

impl<A: Successor, B: Successor, C: Successor> Successor for (A, B, C) {
    fn least() -> Self {
        (A::least(), B::least(), C::least())
    }

    fn successor(&self) -> Option<Self> {
        let (a, b, c) = self.clone();
        let ((a, b), c) = ((a, b), c).successor()?;
        Some((a, b, c))
    }
}

macro_rules! successor_of_integers {
    ($($integer:ty),*) => {$(
        impl Successor for $integer {
            fn least() -> Self {
                Self::MIN
            }

            fn successor(&self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )*};
}

successor_of_integers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

impl Successor for bool {
    fn least() -> Self {
        false
    }

    fn successor(&self) -> Option<Self> {
        (!*self).then_some(true)
    }
}

impl Successor for char {
    fn least() -> Self {
        Self::MIN
    }

    /// Past the numbers that are no letters.
    fn successor(&self) -> Option<Self> {
        (*self..=Self::MAX).nth(1)
    }
}

impl Successor for String {
    fn least() -> Self {
        Self::new()
    }

    fn successor(&self) -> Option<Self> {
        Some(format!("{self}\0"))
    }
}

impl Successor for Arc<str> {
    fn least() -> Self {
        "".into()
    }

    fn successor(&self) -> Option<Self> {
        Some(format!("{self}\0").into())
    }
}

impl Successor for Vec<u8> {
    fn least() -> Self {
        Self::new()
    }

    fn successor(&self) -> Option<Self> {
        let mut next = self.clone();
        next.push(0);
        Some(next)
    }
}

impl<T: Successor> Successor for Option<T> {
    fn least() -> Self {
        None
    }

    fn successor(&self) -> Option<Self> {
        match self {
            None => Some(Some(T::least())),
            Some(own) => own.successor().map(Some),
        }
    }
}

impl Successor for Float {
    fn least() -> Self {
        Self(f64::NEG_INFINITY)
    }

    fn successor(&self) -> Option<Self> {
        match self.0 {
            last if last.is_nan() => None,
            f64::INFINITY => Some(Self(f64::NAN)),
            number => Some(Self(number.next_up())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    /// Letters around which something is different.
    fn text() -> impl Strategy<Value = String> {
        let letter = proptest::sample::select(vec![
            '\0',
            'a',
            'b',
            '\u{7f}',
            '\u{80}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{ffff}',
            '\u{10fffe}',
            char::MAX,
        ]);
        proptest::collection::vec(letter, 0..4).prop_map(|letters| letters.into_iter().collect())
    }

    fn number() -> impl Strategy<Value = i8> {
        proptest::sample::select(vec![i8::MIN, i8::MIN + 1, -1, 0, 1, i8::MAX - 1, i8::MAX])
    }

    proptest! {
        #[test]
        fn text_is_in_the_range_of_a_prefix_if_it_begins_with_it(prefix in text(), own in text()) {
            let begins = own.starts_with(&prefix);
            prop_assert_eq!(Ranges::prefix(&*prefix).contains(&own), begins);
            prop_assert_eq!(Ranges::prefix(&*prefix).contains(&Arc::<str>::from(own)), begins);
        }

        #[test]
        fn tuple_is_in_the_range_of_its_first_parts(
            prefix in (number(), text(), number()),
            own in (number(), text(), number(), number()),
        ) {
            let (a, b, c) = prefix;
            let two = (own.0, own.2);
            prop_assert_eq!(Ranges::prefix(a).contains(&two), a == two.0);
            prop_assert_eq!(Ranges::prefix(a).contains(&own), a == own.0);
            let is_first = a == own.0 && b == own.1;
            prop_assert_eq!(Ranges::prefix((a, b.clone())).contains(&own), is_first);
            let three = (own.0, own.1.clone(), own.2);
            prop_assert_eq!(Ranges::prefix(a).contains(&three), a == own.0);
            prop_assert_eq!(Ranges::prefix((a, b.clone())).contains(&three), is_first);
            prop_assert_eq!(Ranges::prefix((a, b, c)).contains(&own), is_first && c == own.2);
        }
    }

    fn follow_each_other<T: Successor + Debug>(keys: &[T]) {
        assert!(T::least() <= keys[0]);
        for two in keys.windows(2) {
            assert_eq!(two[0].successor().as_ref(), Some(&two[1]));
            assert!(two[0] < two[1]);
        }
    }

    #[test]
    fn next_key_of_a_kind_is_the_next_one() {
        let tiny = f64::from_bits(1);
        follow_each_other(&[-tiny, -0.0, tiny].map(Float));
        follow_each_other(&[-tiny, 0.0, tiny].map(Float));
        assert_eq!(Ranges::only([Float(-0.0)]), Ranges::only([Float(0.0)]));
        follow_each_other(&[f64::MAX, f64::INFINITY, f64::NAN].map(Float));
        assert_eq!(Float(-f64::NAN).successor(), None);
        follow_each_other(&[None, Some(false), Some(true)]);
        follow_each_other(&['\u{d7ff}', '\u{e000}']);
        follow_each_other(&[vec![], vec![0_u8], vec![0, 0]]);
        assert_eq!((true, i8::MAX).successor(), None);
        assert_eq!((false, i8::MAX, true).successor(), Some((true, i8::MIN, false)));
    }
}
