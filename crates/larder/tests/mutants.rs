//! Safeguards of what nodes have in common, each taken out: what is promised must break where a
//! test looks.
//!
//! One test, because the switch is of the whole process.

#![cfg(all(feature = "mutants", feature = "sqlite", feature = "store"))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "the shop is shared with the other test binary")]

use larder_core::safeguard::Safeguard;

use crate::shop::{Hears, Shop};

#[path = "it/shop.rs"]
mod shop;

/// The settings of the store.
fn options() -> larder::sqlite::store::StoreOptions {
    larder::sqlite::store::StoreOptions::new()
}

/// Whether a node serves what another one has loaded from a log that went back, and that it never
/// saw itself.
async fn serves_what_never_was() -> bool {
    let shop = Shop::new();
    shop.change(3);
    let [one, late] = [shop.node(Hears::WhenItAsks).await, shop.node(Hears::WhenItAsks).await];
    shop.change(1);
    one.cache.catch_up().await.unwrap();
    assert_eq!(one.album(1).await.0, 2);
    shop.take_back_a_change();
    late.cache.catch_up().await.unwrap();
    late.album(1).await.0 != 1
}

#[tokio::test]
async fn a_standing_that_is_not_compared_with_the_log_shows_what_never_was() {
    assert!(!serves_what_never_was().await, "violated with every safeguard in place");
    Safeguard::StandingKnown.take_out();
    let missed = serves_what_never_was().await;
    Safeguard::restore_all();
    assert!(missed, "nobody would notice that it is gone");
}
