//! Rows that describe themselves: what they name when read, what falls when they are written.
//!
//! By hand, without the derive: the same description in both directions. The derive is tested in
//! `larder`, random changes by the soak `changes`.

use std::sync::{Arc, OnceLock};

use larder_core::{
    Asks, Change, Column, Dependency, DependencySet, DependsOn, Description, Epoch, History,
    Position, Scope, Tracked, TrackedChange, Value, any_of, history::Verdict, timeline::APP,
};

/// A book of the example of matroska, with what it is written by.
#[derive(Clone)]
struct Book {
    id: i64,
    category: &'static str,
    price: i64,
    authors: Vec<Author>,
}

#[derive(Clone)]
struct Author(i64);

impl Tracked for Book {
    fn description() -> &'static Description {
        static DESCRIPTION: OnceLock<Description> = OnceLock::new();
        DESCRIPTION.get_or_init(|| {
            let book = Description::of("shop", "Book");
            book.with_columns(&["category", "id", "price"], &[1]).with_rest(&["title"])
        })
    }

    fn image(&self) -> Vec<Value> {
        vec![self.category.into(), self.id.into(), self.price.into()]
    }

    fn related(&self, each: &mut dyn FnMut(Dependency)) {
        larder_core::Related::name_each(&self.authors, each);
    }
}

impl Tracked for Author {
    fn description() -> &'static Description {
        static DESCRIPTION: OnceLock<Description> = OnceLock::new();
        DESCRIPTION.get_or_init(|| Description::of(APP, "Author").with_columns(&["id"], &[0]))
    }

    fn image(&self) -> Vec<Value> {
        vec![self.0.into()]
    }
}

fn book(id: i64, category: &'static str, price: i64) -> Book {
    Book { id, category, price, authors: Vec::new() }
}

fn in_category(category: &str) -> Scope {
    Book::description().scope().with("category", Asks::<String>::condition(category))
}

fn priced(price: impl Asks<i64>) -> Scope {
    Book::description().scope().with("price", price.condition())
}

/// Whether `change` touches what hangs on `scope`.
fn falls(scope: impl DependsOn, change: &TrackedChange) -> bool {
    let mut set = DependencySet::new();
    scope.each(&mut |dependency| set.add(dependency)).unwrap();
    let mut history = History::new("shop".into(), Epoch(1), Position(0), 1000);
    set.iter().for_each(|dependency| history.register(dependency));
    let stamp = history.stamp();
    assert_eq!(&**change.timeline(), "shop");
    history.apply(Position(1), std::slice::from_ref(change.change()));
    history.verdict(&stamp, &set, Position(1)) == Verdict::Touched
}

/// M7: each object and its relations, once.
#[test]
fn rows_name_themselves_and_what_is_nested_in_them() {
    let authors = vec![Author(1), Author(2)];
    let rows = [7, 8].map(|id| Book { authors: authors.clone(), ..book(id, "a", 1) });
    let mut set = DependencySet::new();
    for row in &rows {
        row.each(&mut |dependency| set.add(dependency)).unwrap();
    }
    let named: Vec<String> = set.iter().map(ToString::to_string).collect();
    let wanted = ["shop/Id(Book, 7)", "app/Id(Author, 1)", "app/Id(Author, 2)", "shop/Id(Book, 8)"];
    assert_eq!(named, wanted);
}

#[test]
fn a_row_behind_a_pointer_is_the_same_row() {
    let row = Book { authors: vec![Author(1)], ..book(7, "a", 1) };
    let bare = named(&row);
    assert_eq!(bare, named(&Box::new(row.clone())));
    assert_eq!(bare, named(&Arc::new(row.clone())));
    assert_eq!(bare, named(Some(&row)));
    assert_eq!(bare.len(), 2);
}

fn named(rows: impl DependsOn) -> Vec<Dependency> {
    let mut found = Vec::new();
    rows.each(&mut |dependency| found.push(dependency)).unwrap();
    found
}

/// M6, MD10: an id made by hand and the key of the row are the same thing.
#[test]
fn an_id_and_the_key_of_the_row_are_one_thing() {
    assert_eq!(Dependency::id(APP, "Author", [1]), Author(1).dependency());
    assert_ne!(Dependency::id(APP, "Author", ["1"]), Author(1).dependency());
    let change = Change::updated(&book(7, "a", 1), &book(7, "a", 2));
    assert!(falls(Dependency::id("shop", "Book", [7]), &change));
    assert!(!falls(Dependency::id("shop", "Book", [8]), &change));
}

/// M12: what happens in other categories keeps the list, what happens in its own drops it.
#[test]
fn a_list_falls_with_its_own_category_only() {
    let (old, new) = (book(7, "sci-fi", 1), book(7, "fantasy", 1));
    for change in [Change::created(&old), Change::deleted(&old), Change::updated(&old, &old)] {
        assert!(falls(in_category("sci-fi"), &change));
        assert!(!falls(in_category("fantasy"), &change));
    }
    let moved = Change::updated(&old, &new);
    assert!(falls(in_category("fantasy"), &moved));
    assert!(!falls(in_category("poetry"), &moved));
}

/// MD7: the book leaves the scope; the old values say so.
#[test]
fn a_list_falls_when_a_row_leaves_it() {
    let change = Change::updated(&book(7, "sci-fi", 1), &book(7, "fantasy", 1));
    assert!(falls(in_category("sci-fi"), &change));
    assert!(falls(in_category("sci-fi").membership(), &change));
}

/// MD9: rows that are described by more than a list asks for still reach it.
#[test]
fn a_list_may_ask_for_a_part_of_what_is_described() {
    let change = Change::created(&book(7, "sci-fi", 5));
    let both = in_category("sci-fi").with("price", Asks::<i64>::condition(5));
    assert!(falls(both, &change));
    assert!(falls(in_category("sci-fi"), &change));
    assert!(falls(priced(5), &change));
    assert!(falls(priced(any_of([1, 5])), &change));
    assert!(!falls(priced(6), &change));
}

/// M9, MD12: with modified columns only those who choose by one of them may have lost the row; an
/// empty list is not "everything".
#[test]
fn modified_columns_narrow_what_a_row_may_have_left() {
    let new = book(7, "fantasy", 5);
    let unknown = Change::updated_to(&new);
    assert!(falls(in_category("sci-fi"), &unknown));
    assert!(falls(priced(..9), &unknown) && falls(priced(6..), &unknown));
    // The content of the row changed, which lists that hold it show.
    let title = || Change::updated_to(&new).modified(["title"]);
    assert!(falls(in_category("fantasy"), &title()));
    assert!(!falls(in_category("sci-fi"), &title()));
    assert!(!falls(
        in_category("sci-fi"),
        &Change::updated_to(&new).modified(Vec::<String>::new())
    ));
    let price = || Change::updated_to(&new).modified([Column::<Book>::named("price")]);
    assert!(falls(priced(6..), &price()));
    assert!(falls(Dependency::id("shop", "Book", [7]), &price()));
    assert!(!falls(Dependency::id("shop", "Book", [8]), &price()));
}

/// M9: a name that the row does not have may stand for any column of it.
#[test]
fn an_unknown_modified_column_widens() {
    let change = Change::updated_to(&book(7, "fantasy", 5)).modified(["titel"]);
    assert!(falls(in_category("sci-fi"), &change));
    assert!(falls(Dependency::id("shop", "Book", [8]), &change), "it may be the key");
}

/// A row that gets another key is another row, for whoever counts or lists keys too.
#[test]
fn another_key_is_another_row() {
    let change = Change::updated(&book(7, "a", 1), &book(8, "a", 1));
    assert!(falls(in_category("a").membership(), &change));
    assert!(falls(Dependency::id("shop", "Book", [7]), &change));
    assert!(falls(Dependency::id("shop", "Book", [8]), &change));
}

#[test]
fn known_rows_need_no_names_and_are_not_narrowed_by_them() {
    let change = Change::updated(&book(7, "sci-fi", 1), &book(7, "fantasy", 1));
    assert!(falls(in_category("sci-fi"), &change.modified(["price"])));
}

#[test]
fn what_is_not_watched_does_not_count() {
    let cheaper = Change::updated(&book(7, "a", 9), &book(7, "a", 5));
    assert!(falls(in_category("a"), &cheaper));
    assert!(falls(in_category("a").watching(["price"]), &cheaper));
    assert!(!falls(in_category("a").membership(), &cheaper));
    assert!(falls(priced(..7).membership(), &cheaper), "it enters");
}
