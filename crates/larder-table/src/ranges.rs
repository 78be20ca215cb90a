//! Ranges: sets of keys, as cuts between them.
//!
//! What a window covers, what a read asks for and what a change touches are sets of ranges, and the
//! answer to each question is arithmetic between two of them. Bounds are turned into *cuts*, places
//! between two neighbouring keys, so that there is one kind of end instead of three. **Invariant**:
//! the ranges of a set are in order, none is empty, and between two of them there is a gap.

use std::{fmt, ops::Bound, ops::RangeBounds};

use larder_core::{Error, ErrorKind};

/// A place between keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut<K> {
    Start,
    At(K, Side),
    End,
}

/// On which side of a key a cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Before,
    Behind,
}

impl<K: Ord> Cut<K> {
    /// Whether `key` lies before the cut.
    pub(crate) fn is_behind(&self, key: &K) -> bool {
        match self {
            Self::Start => false,
            Self::At(own, Side::Before) => key < own,
            Self::At(own, Side::Behind) => key <= own,
            Self::End => true,
        }
    }
}

/// A set of keys: any number of ranges.
#[derive(Clone, PartialEq, Eq)]
pub struct Ranges<K>(Vec<(Cut<K>, Cut<K>)>);

impl<K: Ord + Clone> Ranges<K> {
    /// No key.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Every key there can be, infinities and what is not a number included.
    pub fn all() -> Self {
        Self(vec![(Cut::Start, Cut::End)])
    }

    /// The keys of one range; `a..a` is none.
    ///
    /// # Errors
    /// `Config` when the range ends before it begins.
    pub fn of(range: impl RangeBounds<K>) -> Result<Self, Error> {
        Self::of_each([range])
    }

    /// The keys of several ranges, which may overlap.
    ///
    /// # Errors
    /// `Config` when one of them ends before it begins.
    pub fn of_each<B: RangeBounds<K>>(ranges: impl IntoIterator<Item = B>) -> Result<Self, Error> {
        let mut cuts = Vec::new();
        for range in ranges {
            let low = match range.start_bound() {
                Bound::Included(key) => Cut::At(key.clone(), Side::Before),
                Bound::Excluded(key) => Cut::At(key.clone(), Side::Behind),
                Bound::Unbounded => Cut::Start,
            };
            let high = match range.end_bound() {
                Bound::Included(key) => Cut::At(key.clone(), Side::Behind),
                Bound::Excluded(key) => Cut::At(key.clone(), Side::Before),
                Bound::Unbounded => Cut::End,
            };
            if is_reversed(range.start_bound(), range.end_bound()) {
                return Err(Error::new(ErrorKind::Config, "read a range").detail(
                    "it ends before it begins; the smaller key comes first, also where the \
                     records are wanted in reverse",
                ));
            }
            cuts.push((low, high));
        }
        Ok(Self::normal(cuts))
    }

    /// Exactly these keys.
    pub fn only(keys: impl IntoIterator<Item = K>) -> Self {
        let cut = |key: &K, side| Cut::At(key.clone(), side);
        Self::normal(
            keys.into_iter()
                .map(|key| (cut(&key, Side::Before), cut(&key, Side::Behind)))
                .collect(),
        )
    }

    /// The keys between any two of these.
    pub(crate) fn of_cuts(cuts: Vec<(Cut<K>, Cut<K>)>) -> Self {
        Self::normal(cuts)
    }

    fn normal(mut cuts: Vec<(Cut<K>, Cut<K>)>) -> Self {
        cuts.retain(|(low, high)| low < high);
        cuts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut normal: Vec<(Cut<K>, Cut<K>)> = Vec::with_capacity(cuts.len());
        for (low, high) in cuts {
            match normal.last_mut() {
                Some((_, end)) if low <= *end => {
                    if *end < high {
                        *end = high;
                    }
                }
                _ => normal.push((low, high)),
            }
        }
        Self(normal)
    }

    /// Whether no key is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every key is in it.
    pub fn is_all(&self) -> bool {
        matches!(&self.0[..], [(Cut::Start, Cut::End)])
    }

    /// Whether `key` is in it.
    ///
    /// # Cost
    /// A logarithm of the ranges.
    pub fn contains(&self, key: &K) -> bool {
        let after = self.0.partition_point(|(low, _)| !low.is_behind(key));
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|(_, high)| high.is_behind(key))
    }

    /// The ranges, each as its two bounds, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Bound<&K>, Bound<&K>)> {
        self.0.iter().map(|(low, high)| {
            let low = match low {
                Cut::At(key, Side::Before) => Bound::Included(key),
                Cut::At(key, Side::Behind) => Bound::Excluded(key),
                Cut::Start | Cut::End => Bound::Unbounded,
            };
            let high = match high {
                Cut::At(key, Side::Before) => Bound::Excluded(key),
                Cut::At(key, Side::Behind) => Bound::Included(key),
                Cut::Start | Cut::End => Bound::Unbounded,
            };
            (low, high)
        })
    }

    /// The ranges as cuts.
    pub(crate) fn cuts(&self) -> &[(Cut<K>, Cut<K>)] {
        &self.0
    }

    /// The keys that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::normal(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The keys that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut both, mut own, mut others) = (Vec::new(), &self.0[..], &other.0[..]);
        while let ([one, one_rest @ ..], [two, two_rest @ ..]) = (own, others) {
            let low = (&one.0).max(&two.0);
            let high = (&one.1).min(&two.1);
            if low < high {
                both.push((low.clone(), high.clone()));
            }
            if one.1 < two.1 {
                own = one_rest;
            } else {
                others = two_rest;
            }
        }
        Self(both)
    }

    /// The keys that are in this one and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Every key from `key` on.
    pub(crate) fn since(key: K) -> Self {
        Self(vec![(Cut::At(key, Side::Before), Cut::End)])
    }

    /// Every key up to `key`, which is one of them.
    pub(crate) fn until(key: K) -> Self {
        Self(vec![(Cut::Start, Cut::At(key, Side::Behind))])
    }

    /// The keys of this one that come before all of `gap`.
    pub(crate) fn before(&self, gap: &Self) -> Self {
        let first = gap.0.first().map_or(Cut::End, |(low, _)| low.clone());
        self.intersection(&Self::normal(vec![(Cut::Start, first)]))
    }

    /// The keys of this one that come behind all of `gap`.
    pub(crate) fn behind(&self, gap: &Self) -> Self {
        let last = gap.0.last().map_or(Cut::Start, |(_, high)| high.clone());
        self.intersection(&Self::normal(vec![(last, Cut::End)]))
    }

    fn complement(&self) -> Self {
        let (mut gaps, mut from) = (Vec::with_capacity(self.0.len() + 1), Cut::Start);
        for (low, high) in &self.0 {
            gaps.push((from, low.clone()));
            from = high.clone();
        }
        gaps.push((from, Cut::End));
        Self::normal(gaps)
    }

    /// Whether every key of `other` is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(low, high)| {
            let after = self.0.partition_point(|(own, _)| own <= low);
            after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, own)| high <= own)
        })
    }

    /// Whether a key is in both.
    pub fn touches(&self, other: &Self) -> bool {
        !self.intersection(other).is_empty()
    }
}

fn is_reversed<K: Ord>(low: Bound<&K>, high: Bound<&K>) -> bool {
    let (Bound::Included(low) | Bound::Excluded(low)) = low else { return false };
    let (Bound::Included(high) | Bound::Excluded(high)) = high else { return false };
    high < low
}

/// As `[1, 5) and (7, ..)`: a bracket holds its key, a parenthesis does not.
impl<K: fmt::Debug> fmt::Debug for Ranges<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (place, (low, high)) in self.0.iter().enumerate() {
            if place != 0 {
                f.write_str(" and ")?;
            }
            match low {
                Cut::At(key, Side::Before) => write!(f, "[{key:?}, ")?,
                Cut::At(key, Side::Behind) => write!(f, "({key:?}, ")?,
                Cut::Start | Cut::End => f.write_str("(.., ")?,
            }
            match high {
                Cut::At(key, Side::Before) => write!(f, "{key:?})")?,
                Cut::At(key, Side::Behind) => write!(f, "{key:?}]")?,
                Cut::Start | Cut::End => f.write_str("..)")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Given = Vec<(Bound<u8>, Bound<u8>)>;

    fn given() -> impl Strategy<Value = Given> {
        let bound = || {
            prop_oneof![
                8 => (0..20u8).prop_map(Bound::Included),
                8 => (0..20u8).prop_map(Bound::Excluded),
                1 => Just(Bound::Unbounded),
            ]
        };
        let range = (bound(), bound())
            .prop_filter("not reversed", |(low, high)| !is_reversed(low.as_ref(), high.as_ref()));
        proptest::collection::vec(range, 0..5)
    }

    proptest! {
        /// T17.
        #[test]
        fn sets_of_ranges_are_sets_of_keys(one in given(), other in given()) {
            let (a, b) = (Ranges::of_each(one.clone()), Ranges::of_each(other.clone()));
            let (a, b) = (a.unwrap(), b.unwrap());
            let is_in = |given: &Given, key: u8| given.iter().any(|range| range.contains(&key));
            for key in 0..=21 {
                let (own, others) = (is_in(&one, key), is_in(&other, key));
                prop_assert_eq!(a.contains(&key), own);
                prop_assert_eq!(a.union(&b).contains(&key), own || others);
                prop_assert_eq!(a.intersection(&b).contains(&key), own && others);
                prop_assert_eq!(a.without(&b).contains(&key), own && !others);
            }
            prop_assert!(a.union(&b).covers(&a) && a.covers(&a.intersection(&b)));
            prop_assert_eq!(a.covers(&b), b.without(&a).is_empty());
            let again: Vec<_> = a.iter().map(|(low, high)| (low.cloned(), high.cloned())).collect();
            prop_assert_eq!(Ranges::of_each(again).unwrap(), a);
        }
    }

    /// T17.
    #[test]
    fn reversed_range_is_refused_and_an_empty_one_is_covered_by_all() {
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let reversed = Ranges::of(5..3);
        assert_eq!(reversed.unwrap_err().kind(), ErrorKind::Config);
        let empty = Ranges::of(5..5).unwrap();
        assert!(
            empty.is_empty() && Ranges::none().covers(&empty) && !empty.touches(&Ranges::all())
        );
        let two = Ranges::of(1..5).unwrap().union(&Ranges::of(7..).unwrap());
        assert_eq!(format!("{two:?}"), "[1, 5) and [7, ..)");
    }
}
