//! The arithmetic of chunks, which the public API cannot reach at its far end.

use super::*;

#[test]
fn every_index_has_a_place_of_its_own() {
    assert_eq!(place(0), (0, 0));
    assert_eq!(place(1023), (0, 1023));
    assert_eq!(place(1024), (1, 0));
    assert_eq!(place(3071), (1, 2047));
    assert_eq!(place(3072), (2, 0));
    let (chunk, at) = place(u32::MAX);
    assert!(chunk < CHUNKS, "the last index lies in chunk {chunk} of {CHUNKS}");
    assert!((at as u64) < FIRST << chunk);
}

#[test]
fn an_item_is_absent_until_its_chunk_is_made() {
    let chunks = Chunks::<u8>::default();
    assert!(chunks.get(5000).is_none());
    chunks.grow(5000);
    assert!(chunks.get(5000).is_some());
    assert!(chunks.get(0).is_none());
}
