//! Values that can be invalidated in a store of several files: what is true of one is true of
//! three.
//!
//! The bodies are those of the binary `it`: restarts, kills, restores, several caches and processes
//! on one store, and an origin with its feed in each of them.

#![cfg(all(feature = "sqlite", feature = "store"))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

/// The settings of every store here. The binary `it` has others.
fn options() -> larder::sqlite::store::StoreOptions {
    larder::sqlite::store::StoreOptions::new().shards(3)
}

#[path = "../it/claimed.rs"]
mod claimed;
#[path = "../it/killed.rs"]
mod killed;
#[path = "../it/l2_feed.rs"]
mod l2_feed;
#[path = "../it/l2_tracked.rs"]
mod l2_tracked;
#[path = "../it/peer.rs"]
mod peer;
#[path = "../it/shared.rs"]
mod shared;
#[path = "../it/shared_feed.rs"]
mod shared_feed;
#[path = "../it/shop.rs"]
mod shop;
