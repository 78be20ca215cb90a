//! Patterns and tags: the matcher that was named, and nothing else.

use std::time::Duration;

use std::collections::BTreeSet;

use larder_core::{ErrorKind, claim::Fence, store::Store as _};
use larder_sqlite::store::{Depth, Entries, Pattern, Select, Stored};

use crate::place::{Place, forever, living, run};

async fn keys(entries: &Entries, select: &Select) -> Vec<String> {
    let page = entries.page(select, None, 100).await.unwrap();
    let keys: Vec<String> = page.into_iter().map(|(key, _)| key).collect();
    assert_eq!(entries.count(select).await.unwrap(), keys.len() as u64);
    keys
}

#[test]
fn a_percent_sign_is_the_only_wildcard_and_case_counts() {
    // S6, SD6, X9.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("keys");
        for key in ["old_1", "older1", "OLD_2", "old*", "a[b]c", "50%"] {
            entries.insert(key, forever(key)).await.unwrap();
        }
        let percent = |text: &str| Select::everything().matching(Pattern::percent(text));
        let glob = |text: &str| Select::everything().matching(Pattern::glob(text));
        let prefix = |text: &str| Select::everything().matching(Pattern::prefix(text));
        assert_eq!(keys(&entries, &percent("old_%")).await, ["old_1"]);
        assert_eq!(keys(&entries, &percent("old%")).await, ["old*", "old_1", "older1"]);
        assert_eq!(keys(&entries, &percent("%d*")).await, ["old*"]);
        assert_eq!(keys(&entries, &percent("a[b]c")).await, ["a[b]c"]);
        assert_eq!(keys(&entries, &percent("old_1")).await, ["old_1"]);
        assert_eq!(keys(&entries, &glob("old?1")).await, ["old_1"]);
        assert_eq!(keys(&entries, &glob("[oO]*_[0-9]")).await, ["OLD_2", "old_1"]);
        assert_eq!(keys(&entries, &prefix("50%")).await, ["50%"]);
        assert_eq!(entries.remove_matching(&percent("old_%")).await.unwrap(), 1);
        assert_eq!(entries.get("older1").await.unwrap(), Some(Stored::text("older1")));
    });
}

#[test]
fn a_stock_is_invalidated_without_its_neighbours() {
    // SD6, S20.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("stocks");
        for (key, code) in [
            ("stock_data_2330", "2330"),
            ("stock_data_23301", "23301"),
            ("price_2454_2330", "2454"),
        ] {
            let entry = forever(key).tags([format!("stock_{code}")]);
            entries.insert(key, entry).await.unwrap();
        }
        let one = Select::everything().any_of(["stock_2330"]);
        assert_eq!(entries.remove_matching(&one).await.unwrap(), 1);
        assert_eq!(
            keys(&entries, &Select::everything()).await,
            ["price_2454_2330", "stock_data_23301"]
        );
    });
}

#[test]
fn tags_are_any_text_and_compared_exactly() {
    // S7, SD7, X8.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("tags");
        let tags = ["\u{4e0a}\u{5e02}", "it's \"quoted\"", "stock", "Stock", "st%k", "", "[1,2]"];
        for tag in tags {
            entries.insert(format!("key of {tag}"), forever(tag).tags([tag])).await.unwrap();
        }
        for tag in tags {
            let one = Select::everything().any_of([tag]);
            assert_eq!(keys(&entries, &one).await, [format!("key of {tag}")]);
        }
        let nothing = Select::everything().any_of(Vec::<String>::new());
        assert!(keys(&entries, &nothing).await.is_empty());
        assert_eq!(entries.remove_matching(&nothing).await.unwrap(), 0);
        let nothing = Select::everything().all_of(Vec::<String>::new());
        assert!(keys(&entries, &nothing).await.is_empty());
    });
}

#[test]
fn any_all_and_none_of_the_tags() {
    // SC5, S7, X8.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("sets");
        for (key, tags) in [("a", "x"), ("b", "xy"), ("c", "xyz"), ("d", "z"), ("e", "")] {
            let tags = tags.chars().map(String::from);
            entries.insert(key, forever(key).tags(tags)).await.unwrap();
        }
        let all = Select::everything;
        assert_eq!(keys(&entries, &all().any_of(["y", "z"])).await, ["b", "c", "d"]);
        assert_eq!(keys(&entries, &all().all_of(["x", "y", "y"])).await, ["b", "c"]);
        assert_eq!(keys(&entries, &all().any_of(["x"]).none_of(["y"])).await, ["a"]);
        assert_eq!(keys(&entries, &all().none_of(["x"])).await, ["d", "e"]);
        assert!(keys(&entries, &all().all_of(["x", "unknown"])).await.is_empty());
        let both = all().matching(Pattern::glob("[bd]")).any_of(["z", "unknown"]);
        assert_eq!(keys(&entries, &both).await, ["d"]);
        let tags = entries.tags(Some("x"), 1).await.unwrap();
        assert_eq!(tags, [("y".into(), 2)]);
    });
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("pages");
        let all = (0..25).map(|number| (format!("{number:02}"), forever("x").tags(["t"])));
        entries.insert_many(all).await.unwrap();
        for select in [Select::everything(), Select::everything().any_of(["t"])] {
            let mut after: Option<String> = None;
            let mut seen = Vec::new();
            loop {
                let page = entries.page(&select, after.as_deref(), 10).await.unwrap();
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                seen.extend(page.into_iter().map(|(key, _)| key));
            }
            assert_eq!(seen.len(), 25);
            assert!(seen.is_sorted());
        }
    });
}

#[test]
fn what_was_removed_by_selection_is_gone_before_its_rows_are() {
    // SD9, X2.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("buried");
        for key in ["a", "b", "c"] {
            entries.insert(key, living(key, 1000).tags(["t"])).await.unwrap();
        }
        let tagged = Select::everything().any_of(["t"]);
        assert_eq!(entries.remove_matching(&tagged).await.unwrap(), 3);
        assert_eq!(entries.remove_matching(&tagged).await.unwrap(), 0);
        assert_eq!(entries.get("a").await.unwrap(), None);
        assert_eq!(entries.count(&Select::everything()).await.unwrap(), 0);
        // Written again before its row is removed.
        entries.insert("b", forever("again").tags(["t"])).await.unwrap();
        assert_eq!(store.stats().await.unwrap().entries, 3);
        store.keep().await.unwrap();
        assert_eq!(store.stats().await.unwrap().entries, 1);
        assert_eq!(entries.get("b").await.unwrap(), Some(Stored::text("again")));
        assert_eq!(keys(&entries, &tagged).await, ["b"]);
        place.clock.advance(Duration::from_secs(2));
        assert_eq!(entries.get("b").await.unwrap(), Some(Stored::text("again")));
    });
}

#[test]
fn a_list_has_the_keys_that_people_chose_and_no_pattern_reads_others_as_text() {
    // S6: a region of a cache has keys of bytes beside them.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("both");
        entries.insert("chosen", forever("1")).await.unwrap();
        store.put("both", b"chosen-not", vec![1], None, Fence::Open).await.unwrap();
        let all = Select::everything();
        let page = entries.page(&all, None, 10).await.unwrap();
        assert_eq!(page.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["chosen"]);
        assert_eq!(entries.count(&all).await.unwrap(), 2);
        for pattern in [Pattern::percent("%not"), Pattern::glob("chosen?*")] {
            let select = Select::everything().matching(pattern);
            assert_eq!(entries.remove_matching(&select).await.unwrap(), 0);
        }
        assert_eq!(entries.remove_matching(&all).await.unwrap(), 2);
    });
}

#[test]
fn a_key_with_a_nul_is_matched_as_a_whole_or_not_at_all() {
    // S6, SD6: the matcher of SQLite ends there.
    run(async {
        let place = Place::new();
        let entries = place.open().await.entries("keys");
        for key in ["a", "a\0b", "a\0c", "a%b"] {
            entries.insert(key, forever(key)).await.unwrap();
        }
        let of = |pattern| Select::everything().matching(pattern);
        assert_eq!(keys(&entries, &of(Pattern::prefix("a\0"))).await, ["a\0b", "a\0c"]);
        assert_eq!(keys(&entries, &of(Pattern::prefix("a\0c"))).await, ["a\0c"]);
        assert_eq!(keys(&entries, &of(Pattern::percent("a\0%"))).await, ["a\0b", "a\0c"]);
        assert_eq!(keys(&entries, &of(Pattern::percent("a"))).await, ["a"]);
        assert_eq!(keys(&entries, &of(Pattern::glob("?"))).await, ["a"]);
        let refused = entries.count(&of(Pattern::glob("*\0*"))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("NUL"), "{refused}");
    });
}

#[test]
fn a_tag_that_no_entry_has_leaves_nothing_behind() {
    // SD6.
    run(async {
        let place = Place::new();
        let store = place.open().await;
        let entries = store.entries("r");
        let many = (0..2500).map(|number| {
            (format!("{number}"), forever("x").tags([format!("own {number}"), "all".to_owned()]))
        });
        entries.insert_many(many).await.unwrap();
        let tags = || {
            let mut names = BTreeSet::new();
            for path in store.paths() {
                let file = rusqlite::Connection::open(path).unwrap();
                let mut read = file.prepare("SELECT name FROM tag").unwrap();
                let own = read.query_map([], |row| row.get::<_, String>(0)).unwrap();
                names.extend(own.map(Result::unwrap));
            }
            names.len()
        };
        assert_eq!(tags(), 2501);
        let all = Select::everything().any_of(["all"]);
        let but_one = all.clone().none_of(["own 2499"]);
        assert_eq!(entries.remove_matching(&but_one).await.unwrap(), 2499);
        store.keep().await.unwrap();
        assert_eq!(tags(), 2);
        // The others may come back, under whatever number.
        entries.insert("a", forever("x").tags(["own 7", "new"])).await.unwrap();
        let seven = Select::everything().any_of(["own 7"]);
        assert_eq!(entries.count(&seven).await.unwrap(), 1);
        assert_eq!(entries.count(&all).await.unwrap(), 1);
        assert!(store.check(Depth::Full).await.unwrap().is_sound());
    });
}
