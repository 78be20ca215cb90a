//! SD17, S(c): long work says how far it is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use larder_sqlite::store::{Depth, Select, SqliteStore, StoreOptions};

use crate::place::{Place, forever, living, run};

/// What was told.
type Told = Arc<Mutex<Vec<(u64, u64)>>>;

fn listener() -> (Told, impl FnMut(u64, u64) + Send + 'static) {
    let told = Told::default();
    let own = told.clone();
    (told, move |done, all| own.lock().unwrap().push((done, all)))
}

async fn filled(place: &Place, options: StoreOptions, tags: &[&str]) -> SqliteStore {
    let store = place.open_with(options).await;
    let entry = |number| (format!("k{number}"), forever(&"x".repeat(300)).tags(tags.to_vec()));
    store.entries("r").insert_many((0..6000).map(entry)).await.unwrap();
    store
}

#[test]
fn a_check_says_how_far_it_is_and_is_nearly_right() {
    run(async {
        for (depth, tags) in [
            (Depth::Quick, &[][..]),
            (Depth::Quick, &["a", "b", "c"]),
            (Depth::Full, &[]),
            (Depth::Full, &["a", "b", "c"]),
        ] {
            let place = Place::new();
            let store = filled(&place, place.options(), tags).await;
            let (told, listener) = listener();
            assert!(store.check_with(depth, listener).await.unwrap().is_sound());
            let told = told.lock().unwrap();
            assert!(10 < told.len(), "{depth:?} {tags:?}: {}", told.len());
            assert!(told.is_sorted_by_key(|(done, _)| *done), "it never goes back");
            let lengths = told.iter().all(|(done, all)| *all == told[0].1 && done <= all);
            assert!(lengths, "it never becomes longer");
            let (last, all) = told[told.len() - 1];
            assert!(all * 8 / 10 < last, "{depth:?} {tags:?}: {last} of {all} at the end");
            let full = told.iter().filter(|(done, all)| done == all).count();
            assert!(full * 5 < told.len(), "{depth:?} {tags:?}: {full} times all of it");
        }
    });
}

#[test]
fn giving_room_back_says_how_far_it_is() {
    run(async {
        let place = Place::new();
        let store = filled(&place, place.options(), &["t"]).await;
        let entries = store.entries("r");
        let soon = (0..500).map(|number| (format!("soon {number}"), living("x", 1)));
        entries.insert_many(soon).await.unwrap();
        place.clock.advance(Duration::from_secs(1));
        entries.remove_matching(&Select::everything().any_of(["t"])).await.unwrap();
        let (told, listener) = listener();
        store.keep_with(listener).await.unwrap();
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert!(told.is_sorted_by_key(|(done, _)| *done), "{told:?}");
        let rows = told.iter().filter(|(done, all)| done * 2 <= *all).count();
        let pages = told.len() - rows;
        assert!(60 <= rows && 3 < pages, "{rows} and {pages}: {told:?}");
        let (last, all) = told[told.len() - 1];
        assert!(all * 8 / 10 < last, "{last} of {all} at the end");
        let (again, listener) = self::listener();
        store.keep_with(listener).await.unwrap();
        assert!(again.lock().unwrap().is_empty(), "there was nothing to do");
    });
}
