//! What the engine's layout promises: sizes and shares that the public API does not show.

use super::*;

#[test]
fn a_slot_is_one_cache_line_and_a_key_half_of_one() {
    assert_eq!(size_of::<Slot>(), 64);
    assert_eq!(size_of::<EngineKey>(), 32);
}

#[test]
fn one_entry_may_take_a_sixteenth_of_the_limit_or_a_mebibyte() {
    for mebibytes in [2, 3, 5, 9, 16, 17, 100, 256, 10_000] {
        let limit = mebibytes << 20;
        let entry = Engine::new(MemoryLimit::bytes(limit)).entry_limit();
        assert!(limit / 16 <= entry, "{mebibytes} MiB: {entry}");
        assert!(1 << 20 <= entry, "{mebibytes} MiB: {entry}");
    }
    let small = Engine::new(MemoryLimit::bytes(64 << 10));
    assert_eq!(small.cache.num_shards(), 1);
    assert_eq!(Engine::new(MemoryLimit::default()).cache.num_shards(), 8);
}

#[test]
fn an_entry_at_the_limit_is_admitted_by_the_engine() {
    for limit in [64 << 10, 1 << 20, 3 << 20, 256 << 20] {
        let engine = Engine::new(MemoryLimit::bytes(limit));
        let weight = Weight::of(engine.entry_limit() / 16 * 16).unwrap();
        let slot = Slot {
            value: Arc::new(()),
            mark: Mark { index: 0, generation: 0 },
            pass: crate::gates::Gates::new().pass([]),
            signature: 0,
            stored: Moment::EARLIEST,
            fresh_until: Moment::NEVER,
            weight,
        };
        let key = EngineKey::from(KeyBytes::from(&b"key"[..]));
        assert!(engine.put(key, slot).is_empty(), "limit {limit}");
        assert!(engine.get(KeyRef::from(&b"key"[..])).is_some());
    }
}

#[test]
fn keys_of_any_length_are_found_by_their_bytes() {
    let hash = Hashing::default();
    use std::hash::BuildHasher;
    for length in [0, 1, 21, 22, 23, 24, 100, 250u8] {
        let bytes: Vec<u8> = (0..length).collect();
        let key = EngineKey::from(KeyBytes::from(&bytes[..]));
        let sought = Sought(KeyRef::from(&bytes[..]));
        assert!(sought.equivalent(&key), "{length}");
        assert_eq!(key.heap_bytes() == 0, bytes.len() <= 24);
        assert_eq!(hash.hash_one(&key), hash.hash_one(&sought));
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 1;
            assert!(!Sought(KeyRef::from(&other[..])).equivalent(&key), "{length} at {place}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(!Sought(KeyRef::from(&longer[..])).equivalent(&key), "{length} and a zero");
    }
}
