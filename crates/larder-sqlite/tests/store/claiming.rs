//! Claims: which key is being loaded by whom, in whatever process.

use std::{sync::Arc, time::Duration};

use larder_core::{
    WallMillis,
    claim::{Claim, Fence, LAPSE, Patience},
    store::{Claims, Presence, Store, Taken, Written},
};
use larder_sqlite::store::SqliteStore;

use crate::place::{Place, run};

const KEY: &[u8] = b"key";
const FAR: WallMillis = WallMillis(u64::MAX >> 1);

async fn take(claims: &Arc<dyn Claims>, patience: Patience) -> Option<(Claim, Presence)> {
    match claims.take("r", KEY, FAR, patience).await.unwrap() {
        Taken::Now { claim, entry } => Some((claim, entry)),
        Taken::NotNow => None,
    }
}

async fn put(store: &SqliteStore, value: u8, fence: Fence) -> Written {
    Store::put(store, "r", KEY, vec![value], None, fence).await.unwrap()
}

#[test]
fn a_claim_is_held_until_it_is_given_back_or_lapses() {
    // KD2.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [store.claims().unwrap(), store.claims().unwrap()];
        assert_eq!(one.holder("r", KEY).await.unwrap(), None);
        let (first, entry) = take(&one, Patience::Waits).await.unwrap();
        assert_eq!(entry, Presence::Absent);
        assert!(other.holder("r", KEY).await.unwrap().is_some());
        assert_eq!(take(&other, Patience::Waits).await, None);
        // A sign of life prolongs it.
        place.clock.advance(LAPSE - Duration::from_millis(1));
        assert!(one.beat("r", KEY, first).await.unwrap());
        place.clock.advance(LAPSE - Duration::from_millis(1));
        assert_eq!(take(&other, Patience::Waits).await, None);
        place.clock.advance(Duration::from_millis(1));
        let (second, _) = take(&other, Patience::Waits).await.unwrap();
        assert!(first.number < second.number);
        assert!(!one.beat("r", KEY, first).await.unwrap());
        // What is not held cannot be given back.
        one.give_back("r", KEY, first).await.unwrap();
        assert_eq!(take(&one, Patience::Waits).await, None);
        other.give_back("r", KEY, second).await.unwrap();
        let (third, _) = take(&one, Patience::Waits).await.unwrap();
        assert!(second.number < third.number);
        // Nor for longer than was said, whatever is heard.
        one.give_back("r", KEY, third).await.unwrap();
        let until = WallMillis(place.clock.wall().0 + 10);
        let taken = one.take("r", KEY, until, Patience::Waits).await.unwrap();
        let Taken::Now { claim, .. } = taken else { panic!("{taken:?}") };
        place.clock.advance(Duration::from_millis(10));
        assert!(one.beat("r", KEY, claim).await.unwrap());
        assert!(take(&other, Patience::Waits).await.is_some());
    });
}

#[test]
fn a_value_is_written_under_the_newest_claim_only() {
    // KD9.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let [one, other] = [store.claims().unwrap(), store.claims().unwrap()];
        let (first, _) = take(&one, Patience::Waits).await.unwrap();
        assert_eq!(put(&store, 0, Fence::Unclaimed).await, Written::Outrun);
        let (second, _) = take(&other, Patience::Over).await.unwrap();
        assert_eq!(put(&store, 1, Fence::Held(first)).await, Written::Outrun);
        assert_eq!(put(&store, 2, Fence::Held(second)).await, Written::Kept);
        // The claim went with it.
        assert_eq!(other.holder("r", KEY).await.unwrap(), None);
        assert_eq!(put(&store, 1, Fence::Held(first)).await, Written::Outrun);
        assert_eq!(Store::get(&store, "r", KEY).await.unwrap(), Some(vec![2]));
        let (_, entry) = take(&one, Patience::Waits).await.unwrap();
        assert_eq!(entry, Presence::Present);
        // Who comes by hand is not asked.
        assert_eq!(put(&store, 3, Fence::Open).await, Written::Kept);
    });
}

#[test]
fn a_restore_ends_all_claims() {
    // J5.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let claims = store.claims().unwrap();
        let (held, _) = take(&claims, Patience::Waits).await.unwrap();
        let backup = place.beside("backup.db");
        store.backup(&backup).await.unwrap();
        store.restore(&backup).await.unwrap();
        assert_eq!(claims.holder("r", KEY).await.unwrap(), None);
        assert_eq!(put(&store, 1, Fence::Held(held)).await, Written::Outrun);
    });
}

#[test]
fn whoever_waits_hears_of_a_commit_by_another_handle() {
    run(async {
        let place = Place::new();
        let [store, other] = [place.open().await, place.open().await];
        let claims = store.claims().unwrap();
        // The first wake-up is for nothing: what was before is not known.
        claims.next_commit().await;
        let commit = claims.next_commit();
        assert_eq!(put(&other, 1, Fence::Open).await, Written::Kept);
        commit.await;
    });
}
