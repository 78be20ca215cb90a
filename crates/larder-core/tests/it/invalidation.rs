//! Invalidations as bytes: what was written, or an error.

use larder_core::{Dependency, ErrorKind, Invalidation, Mode};
use proptest::prelude::*;

use crate::generate::any_dependency;

fn invalidation(mode: Mode, dependencies: Vec<Dependency>) -> Invalidation {
    let mut invalidation = Invalidation::new(mode);
    invalidation.extend(dependencies);
    invalidation
}

fn some() -> Invalidation {
    let article = Dependency::id("shop", "Article", [7]);
    invalidation(Mode::Soft, vec![article, Dependency::tag("front"), Dependency::everything("crm")])
}

#[test]
fn an_invalidation_that_was_cut_or_has_a_bit_changed_is_an_error() {
    let bytes = some().encode();
    for length in 0..bytes.len() {
        let error = Invalidation::decode(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Invalidation::decode(&changed).is_err(), "bit {bit}");
    }
    assert!(Invalidation::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_dependency_that_fits_into_no_part_is_refused() {
    let long = Dependency::tag("x".repeat(1000));
    let error = invalidation(Mode::Hard, vec![long]).encode_in_parts(1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("at most 1000 may be"), "{error}");
}

proptest! {
    #[test]
    fn the_parts_of_an_invalidation_are_small_and_name_all_of_it_in_order(
        count in 0..200_i64,
        part_bytes_max in 60..500_usize,
    ) {
        let dependencies = (0..count).map(|id| Dependency::id("shop", "Article", [id])).collect();
        let whole = invalidation(Mode::Soft, dependencies);
        let parts = whole.encode_in_parts(part_bytes_max).unwrap();
        let mut joined = Invalidation::new(Mode::Soft);
        for part in parts {
            prop_assert!(part.len() <= part_bytes_max);
            let part = Invalidation::decode(&part).unwrap();
            prop_assert_eq!(part.mode(), Mode::Soft);
            joined.extend(part.dependencies().iter().cloned());
        }
        prop_assert_eq!(joined, whole);
    }

    #[test]
    fn an_invalidation_comes_back_as_it_was(
        soft in any::<bool>(),
        dependencies in prop::collection::vec(any_dependency(), 0..5),
    ) {
        let mode = if soft { Mode::Soft } else { Mode::Hard };
        let written = invalidation(mode, dependencies);
        prop_assert_eq!(Invalidation::decode(&written.encode()).unwrap(), written);
    }
}
