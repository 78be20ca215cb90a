//! Invalidating as a whole: previews, limits, pages of dependents, and one step for many things.
//!
//! **Invariant** under test: looking changes nothing, and a step is taken as a whole or not at all.

use std::{collections::BTreeSet, slice, time::Duration};

use larder::{
    Cache, Dependency, Error, ErrorKind, Invalidation, Load, Mode, Page, Position, Region, Token,
};

use crate::gate::{Gate, cache, row_dependency, spawn_read};

const MINUTE: Duration = Duration::from_secs(60);

type Books = Region<(u32, String), String>;

fn author(id: u32) -> Dependency {
    Dependency::id("app", "Author", [id])
}

/// Books by author and title; each load takes as many milliseconds of the clock as is said.
fn books(cache: &Cache, clock: &larder::Clock, millis: u64) -> Books {
    let clock = clock.clone();
    let builder = cache.region::<(u32, String), String>("books").ttl(MINUTE);
    let builder = builder.loader(move |(author, title): (u32, String), load: Load| {
        let clock = clock.clone();
        async move {
            clock.advance(Duration::from_millis(millis));
            load.depends_on(Dependency::id("app", "Author", [author]));
            load.depends_on(Dependency::scope("app", "Book", [("author", author)]));
            load.depends_on(Dependency::table("app", "Shelf")).tag("front");
            Ok::<_, Error>(title)
        }
    });
    builder.build().unwrap()
}

async fn fill(books: &Books, authors: std::ops::Range<u32>, titles: u32) {
    for author in authors {
        for title in 0..titles {
            books.get_or_load(&(author, format!("title {title}"))).await.unwrap();
        }
    }
}

fn position(token: &Token) -> Position {
    token.iter().find(|(name, ..)| &**name == "app").unwrap().2
}

/// The keys of all pages, and how many pages there were.
fn all_pages(mut next: impl FnMut(Page) -> larder::Dependents, size: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut page = Page::first(size);
    loop {
        let dependents = next(page);
        assert!(dependents.entries.len() <= size);
        keys.extend(dependents.entries.into_iter().map(|entry| entry.key));
        let Some(cursor) = dependents.next else { return keys };
        page = Page::first(size).after(cursor.to_string().parse().unwrap());
    }
}

#[tokio::test]
async fn a_preview_counts_each_entry_once_and_changes_nothing() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 20);
    fill(&region, 1..4, 10).await;
    let named = [author(1), author(2), Dependency::tag("front"), Dependency::tag("no such tag")];
    let before = (cache.token(), cache.stats(), cache.status().entries);
    let preview = cache.invalidation().drop_all_of(named.clone()).preview().unwrap();
    let by_dependency: Vec<u64> = preview.by_dependency.iter().map(|one| one.entries).collect();
    assert_eq!((preview.total.entries, &*by_dependency), (30, &[10, 10, 30, 0][..]));
    assert_eq!(preview.total.bytes, cache.status().bytes);
    let [of_books] = &*preview.by_region else { panic!("{preview:?}") };
    assert_eq!((&*of_books.region, of_books.affected), ("books", preview.total));
    assert_eq!(of_books.reload, Some(Duration::from_millis(30 * 20)));
    assert_eq!(preview.reload(), Duration::from_millis(600));
    assert_eq!(before, (cache.token(), cache.stats(), cache.status().entries));

    let keys = all_pages(|page| preview.entries(page), 7);
    assert_eq!(keys.len(), 30);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 30);
    assert!(keys.contains(&r#"(2, "title 3")"#.to_owned()), "{keys:?}");

    let done = cache.invalidation().drop_all_of(named).commit().await.unwrap();
    assert_eq!(done.touched, [10, 10, 10, 0]);
    assert_eq!(cache.stats().invalidations, 1);
}

#[tokio::test]
async fn an_invalidation_that_is_dropped_does_nothing() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 1..2, 2).await;
    let before = cache.token();
    drop(cache.invalidation().drop_all_of([author(1)]));
    assert_eq!(cache.token(), before);
    assert!(region.get(&(1, "title 0".into())).await.unwrap().is_some());
}

/// M3.
#[tokio::test]
async fn many_dependencies_are_one_position() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 0..100, 1).await;
    let before = position(&cache.token());
    let done = cache.invalidation().drop_all_of((0..100).map(author)).commit().await.unwrap();
    assert_eq!(done.touched, [1; 100]);
    assert_eq!(position(&done.token), before.next());
    assert_eq!(position(&cache.token()), before.next());
    for author in 0..100 {
        assert!(region.get(&(author, "title 0".into())).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn more_than_the_limit_is_refused_with_both_numbers_and_nothing_falls() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 1..6, 10).await;
    let before = cache.token();
    let front = || cache.invalidation().drop_all_of([Dependency::tag("front"), author(1)]);
    let error = front().at_most(49).commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("50 entries would fall, at most 49 may"), "{error}");
    assert_eq!((cache.token(), cache.status().entries), (before, 50));
    // The ten of author 1 are linked twice and are ten.
    assert_eq!(front().at_most(50).commit().await.unwrap().touched, [50, 0]);
}

#[tokio::test]
async fn what_is_being_loaded_is_not_counted_and_not_stored_either() {
    let (cache, _) = cache();
    let gate = Gate::closed();
    let region = gate.region(&cache).ttl(MINUTE).build().unwrap();
    let read = spawn_read(&region);
    gate.begun().await;
    cache.invalidation().drop_all_of([row_dependency()]).at_most(0).commit().await.unwrap();
    gate.let_one_end();
    assert_eq!(*read.await.unwrap().unwrap(), 1);
    assert!(region.get(&1).await.unwrap().is_none());
    assert_eq!(region.stats().overtaken, 1);
}

#[tokio::test]
async fn nothing_named_and_unknown_timelines_are_refused() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 1..2, 1).await;
    assert_eq!(cache.invalidation().preview().unwrap_err().kind(), ErrorKind::Config);
    let error = cache.invalidation().commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("drop_all_of"), "{error}");
    let unknown = [author(1), Dependency::table("depot", "Shelf")];
    let error = cache.invalidation().drop_all_of(unknown.clone()).commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`depot`"), "{error}");
    assert!(cache.invalidation().drop_all_of(unknown.clone()).preview().is_err());
    assert!(cache.dependents(&unknown, Page::first(1)).is_err());
    assert!(region.get(&(1, "title 0".into())).await.unwrap().is_some(), "nothing half done");
}

#[tokio::test]
async fn whoever_depends_on_something_is_listed_for_every_kind_of_it() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 1..4, 5).await;
    let other = cache.region::<u32, u32>("other").ttl(MINUTE).build().unwrap();
    let begun = other.begin(&7);
    begun.load().tag("rare");
    begun.finish(1).await.unwrap();
    let listed = |dependency: Dependency| {
        all_pages(|page| cache.dependents(slice::from_ref(&dependency), page).unwrap(), 4).len()
    };
    assert_eq!(listed(author(2)), 5);
    assert_eq!(listed(Dependency::scope("app", "Book", [("author", 3)])), 5);
    assert_eq!(listed(Dependency::table("app", "Shelf")), 15);
    assert_eq!(listed(Dependency::tag("front")), 15);
    assert_eq!(listed(Dependency::tag("rare")), 1);
    assert_eq!(listed(Dependency::everything("app")), 16);
    assert_eq!(listed(Dependency::tag("no such tag")), 0);
    let rare = cache.dependents(&[Dependency::tag("rare")], Page::first(10)).unwrap();
    assert_eq!((&*rare.entries[0].region, &*rare.entries[0].key), ("other", "7"));
    assert_eq!(rare.next, None);
    // A row that is said to have changed reaches whoever reads the whole table.
    assert_eq!(listed(Dependency::id("app", "Shelf", [1])), 15);
}

#[tokio::test]
async fn keys_are_not_printed_for_debugging() {
    let (cache, _) = cache();
    let region = cache.region::<&str, u32>("people").ttl(MINUTE).build().unwrap();
    let begun = region.begin(&"alice@example.org");
    begun.load().tag("all");
    begun.finish(1).await.unwrap();
    let invalidation = cache.invalidation().drop_all_of([Dependency::tag("all")]);
    let preview = invalidation.preview().unwrap();
    let page = preview.entries(Page::first(10));
    assert_eq!(page.entries[0].key, r#""alice@example.org""#);
    assert_eq!(page.entries[0].key_as(), Some("alice@example.org".to_owned()));
    assert_eq!(page.entries[0].key_as::<u32>(), None);
    let debugged = format!("{preview:?} {page:?} {invalidation:?}");
    assert!(!debugged.contains("alice"), "{debugged}");
}

#[test]
fn a_cursor_that_no_page_gave_is_refused() {
    for text in ["", "0", "zz", &"g".repeat(32), &"0".repeat(33), &"\u{e9}".repeat(16)] {
        let error = text.parse::<larder::Cursor>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
    }
}

#[tokio::test]
async fn an_invalidation_that_was_written_down_is_carried_out_by_whoever_reads_it() {
    let (cache, clock) = cache();
    let region = books(&cache, &clock, 0);
    fill(&region, 1..3, 2).await;
    let written = cache.invalidation().drop_all_of([author(1)]).content().encode();
    let read = Invalidation::decode(&written).unwrap();
    assert_eq!((read.mode(), read.dependencies()), (Mode::Hard, &[author(1)][..]));
    assert_eq!(cache.prepare(read).commit().await.unwrap().touched, [2]);
    assert_eq!(Invalidation::decode(&written[1..]).unwrap_err().kind(), ErrorKind::Corrupt);
}
