//! The SQLite store against real files.
//!
//! - `place`: a store in a directory of its own, with a clock that stands still.
//! - `announcing`: J5: what caches tell each other through the file.
//! - `broken`: SD13: zeroed pages, cut files, strange logs.
//! - `claiming`: KD2, KD9, J5: which key is being loaded by whom.
//! - `entries`: S1, S4, S5, X2, X3, X4, X15: what is written is what is read.
//! - `files`, `filed`: S(c): values in files beside the store, and what becomes of these files.
//! - `golden`: S(c): the format of the file, kept.
//! - `selecting`: S6, S7, SD6, SD7, SD9, X8, X9: patterns and tags.
//! - `fences`: MD2: what is computed outside while others remove.
//! - `figures`: S2, S12, SD3, SD4, SD5: who waits, and what is looked up how.
//! - `limits`: S13, SD2, X5: room.
//! - `log`: S11: the write-ahead log.
//! - `migrating`: S21: a file of the format before this one.
//! - `together`: S15, SD1, SD3, SD5, SD15: many at once.
//! - `opening`: S11, SD17: files that are stores, and files that are not.
//! - `progress`: SD17, S(c): long work says how far it is.
//! - `standings`: what caches apply of one origin, each for itself.
//! - `statistics`: S3, S9, S12, S19, SD11: what a store says of itself.
//! - `values`: SC2, S23: compression, and the golden rows of the format.
//! - `whole`: S16, S17, SD13, SD14, J5: backup, restore, check.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod announcing;
mod broken;
mod claiming;
mod entries;
mod fences;
mod figures;
mod filed;
mod files;
mod golden;
mod limits;
mod log;
mod migrating;
mod opening;
mod place;
mod progress;
mod selecting;
mod standings;
mod statistics;
mod together;
mod values;
mod whole;

/// Files of each store.
pub const FILES: u32 = 1;
