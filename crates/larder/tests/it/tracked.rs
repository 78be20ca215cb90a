//! Derived row types: what they name, what they ask for, and what falls when they change.
//!
//! The matroska example of a shop with books in categories. What must not compile is tested in
//! `larder-macros`; random changes in the soak `changes`.

use std::sync::Arc;

use larder::{
    Change, Dependency, DependencySet, DependsOn, Epoch, Exact, Order, Position, Tracked,
    TrackedChange, Value, any_of, null,
};
use larder_core::{History, history::Verdict};

#[derive(Clone, Debug, Tracked)]
#[tracked(table = "shop.Book", group(name = "front", columns(published, category)))]
struct Book {
    #[id]
    #[tracked(column = "BookId")]
    id: i64,
    category: String,
    published: bool,
    #[scope]
    shelf: Option<i64>,
    #[scope]
    price: i64,
    #[watched]
    stock: u32,
    #[related]
    authors: Vec<Author>,
    #[related]
    publisher: Option<Box<Publisher>>,
}

#[derive(Clone, Debug, Tracked)]
#[tracked(table = "shop.Author")]
struct Author {
    #[id]
    id: i64,
    #[related]
    publisher: Arc<Publisher>,
}

/// A kind of the application's own.
#[derive(Clone, Debug, Tracked)]
#[tracked(table = "publisher")]
struct Publisher {
    #[id]
    name: String,
}

/// A key of two columns, in the order in which they are declared, which is not theirs by name.
#[derive(Clone, Debug, Tracked)]
#[tracked(table = "shop.Line")]
struct Line {
    #[id]
    order: u64,
    #[id]
    number: OwnNumber,
    amount: i32,
}

#[derive(Clone, Debug, PartialEq)]
struct OwnNumber(i32);

impl From<OwnNumber> for Value {
    fn from(number: OwnNumber) -> Self {
        number.0.into()
    }
}

impl Exact for OwnNumber {}

fn book(id: i64, category: &str) -> Book {
    Book {
        id,
        category: category.to_owned(),
        published: true,
        shelf: Some(3),
        price: 10,
        stock: 1,
        authors: Vec::new(),
        publisher: None,
    }
}

fn named(rows: impl DependsOn) -> Vec<String> {
    let mut found = Vec::new();
    rows.each(&mut |dependency| found.push(dependency.to_string())).unwrap();
    found
}

/// Whether `change` touches what hangs on `scope`.
fn falls(scope: impl DependsOn, change: &TrackedChange) -> bool {
    let mut set = DependencySet::new();
    scope.each(&mut |dependency| set.add(dependency)).unwrap();
    let mut history = History::new("shop".into(), Epoch(1), Position(0), 1000);
    set.iter().for_each(|dependency| history.register(dependency));
    let stamp = history.stamp();
    history.apply_named(Position(1), [(change.timeline(), change.change())]);
    history.verdict(&stamp, &set, Position(1)) == Verdict::Touched
}

/// M5, M6: one name for the row, whoever says it and however.
#[test]
fn an_id_is_the_key_of_the_row() {
    assert_eq!(Book::id(7), Dependency::id("shop", "Book", [7]));
    assert_eq!(Book::id(7), book(7, "a").dependency());
    assert_eq!(Publisher::id("Ace"), Dependency::id("app", "publisher", ["Ace"]));
    let ace = Publisher { name: "Ace".to_owned() };
    assert_eq!(Publisher::id(&ace.name), ace.dependency());
    assert_eq!(Book::table(), Dependency::table("shop", "Book"));
}

/// M6: composite keys, in declared order.
#[test]
fn a_composite_key_keeps_the_order_of_its_fields() {
    let line = Line { order: 1, number: OwnNumber(2), amount: 0 };
    assert_eq!(line.dependency(), Line::id(1, OwnNumber(2)));
    assert_eq!(Line::id(1, OwnNumber(2)), Dependency::id("shop", "Line", [1, 2]));
    let (old, new) = (line.clone(), Line { amount: 5, ..line });
    assert_ne!(old.amount, new.amount);
    let change = Change::updated(&old, &new);
    assert!(falls(Line::id(1, OwnNumber(2)), &change));
    assert!(!falls(Line::id(2, OwnNumber(1)), &change));
}

/// MD10: separators in values are harmless, and types are kept apart.
#[test]
fn keys_that_look_alike_are_different() {
    #[derive(Tracked)]
    #[tracked(table = "shop.Pair")]
    struct Pair {
        #[id]
        left: String,
        #[id]
        right: String,
    }
    assert_ne!(Pair::id("a:b", "c").digest(), Pair::id("a", "b:c").digest());
    assert_ne!(Publisher::id("1").digest(), Dependency::id("app", "publisher", [1]).digest());
}

/// M7: each object and its relations, as deep as they are nested, each once in the end.
#[test]
fn a_row_names_what_is_nested_in_it() {
    let ace = Publisher { name: "Ace".to_owned() };
    let author = |id| Author { id, publisher: Arc::new(ace.clone()) };
    let rows = [7, 8].map(|id| Book {
        authors: vec![author(1), author(2)],
        publisher: Some(Box::new(ace.clone())),
        ..book(id, "a")
    });
    let once = [
        "shop/Id(Book, 7)",
        "shop/Id(Author, 1)",
        "app/Id(publisher, \"Ace\")",
        "shop/Id(Author, 2)",
        "shop/Id(Book, 8)",
    ];
    let mut set = DependencySet::new();
    for row in &rows {
        row.each(&mut |dependency| set.add(dependency)).unwrap();
    }
    assert_eq!(set.iter().map(ToString::to_string).collect::<Vec<_>>(), once);
    assert_eq!(named(&rows[0]).len(), 6, "as often as it occurs, before the set");
    assert_eq!(named(&book(9, "a")), ["shop/Id(Book, 9)"]);
}

/// M8, MD9: a group, a part of it, and more than it; columns by the names that the table has.
#[test]
fn scopes_ask_for_described_columns() {
    let front = named(Book::front(true, "sci-fi"));
    assert_eq!(front, ["shop/Scope(Book, category = \"sci-fi\", published = 1)"]);
    let part = named(Book::scope().category("sci-fi"));
    assert_eq!(part, ["shop/Scope(Book, category = \"sci-fi\")"]);
    let more = named(Book::front(true, "sci-fi").shelf(null()).price(..10));
    let wanted = "shop/Scope(Book, category = \"sci-fi\", published = 1, shelf = null, price in \
                  ..10)";
    assert_eq!(more, [wanted]);
    assert_eq!(named(Book::scope().shelf(any_of([1, 2]))).len(), 2);
    assert_eq!(named(Book::scope()), ["shop/Table(Book)"]);
    assert!(Book::scope().shelf(any_of(Vec::<i64>::new())).each(&mut |_| {}).is_err());
}

/// A filter that is there or not, as search forms have them.
#[test]
fn a_scope_may_be_narrowed_under_a_condition() {
    let search = |category: Option<&str>| {
        let mut scope = Book::scope().price(5..);
        if let Some(category) = category {
            scope = scope.category(category);
        }
        named(scope).concat()
    };
    assert_eq!(search(None), "shop/Scope(Book, price in 5..)");
    assert_eq!(search(Some("a")), "shop/Scope(Book, category = \"a\", price in 5..)");
}

/// M12, MD7: other categories keep the list; what is added to it, edited in it, moved into it or
/// out of it drops it.
#[test]
fn a_list_falls_with_its_own_books_only() {
    let (sci_fi, fantasy) = (book(7, "sci-fi"), book(7, "fantasy"));
    let list = || Book::front(true, any_of(["sci-fi", "poetry"]));
    assert!(falls(list(), &Change::created(&sci_fi)));
    assert!(falls(list(), &Change::deleted(&sci_fi)));
    assert!(falls(list(), &Change::updated(&sci_fi, &sci_fi)));
    assert!(falls(list(), &Change::updated(&fantasy, &sci_fi)));
    assert!(falls(list(), &Change::updated(&sci_fi, &fantasy)));
    assert!(!falls(list(), &Change::created(&fantasy)));
    assert!(!falls(list(), &Change::updated(&fantasy, &fantasy)));
    let hidden = Book { published: false, ..sci_fi.clone() };
    assert!(!falls(list(), &Change::created(&hidden)));
    assert!(falls(list(), &Change::updated(&sci_fi, &hidden)));
}

/// M9: what a list does not show may change without it.
#[test]
fn only_watched_columns_count() {
    let old = book(7, "a");
    let sold = Book { stock: 0, ..old.clone() };
    let cheaper = Book { price: 5, ..old.clone() };
    let list = || Book::scope().category("a").watching([Book::columns().price]);
    assert!(!falls(list(), &Change::updated(&old, &sold)));
    assert!(falls(list(), &Change::updated(&old, &cheaper)));
    let count = || Book::scope().price(..8).membership();
    assert!(falls(count(), &Change::updated(&old, &cheaper)));
    assert!(!falls(count(), &Change::updated(&old, &sold)));
    assert!(falls(Book::scope().category("a"), &Change::updated(&old, &sold)));
}

/// M9, MD12: of an update whose past nobody knows, the modified columns may be.
#[test]
fn modified_columns_are_named_by_the_type_or_the_table() {
    let new = book(7, "fantasy");
    let list = || Book::scope().category("sci-fi");
    assert!(falls(list(), &Change::updated_to(&new)));
    assert!(!falls(list(), &Change::updated_to(&new).modified([Book::columns().price])));
    assert!(falls(list(), &Change::updated_to(&new).modified([Book::columns().category])));
    assert!(falls(list(), &Change::updated_to(&new).modified(["categories"])), "a slip widens");
    let line = Line { order: 1, number: OwnNumber(2), amount: 0 };
    let change = Change::updated_to(&line).modified(["amount"]);
    assert!(!falls(Line::id(3, OwnNumber(2)), &change), "a column that nobody asks for");
    let renumbered = Change::updated_to(&line).modified(["number"]);
    assert!(falls(Line::id(1, OwnNumber(9)), &renumbered), "the old key is not known");
}

/// M(c): page 1 of the cheapest.
#[test]
fn a_page_takes_its_end_from_the_last_row() {
    let rows = [(1, 5), (2, 7)].map(|(id, price)| Book { price, ..book(id, "a") });
    let page = |limit| Book::scope().category("a").first_by_price(Order::Ascending, limit, &rows);
    let full = "shop/Scope(Book, category = \"a\", price in ..=7 or null)";
    assert_eq!(named(page(2)), [full]);
    assert_eq!(named(page(3)), ["shop/Scope(Book, category = \"a\")"], "a short page");
    let priced = |price| Change::created(&Book { price, ..book(9, "a") });
    assert!(falls(page(2), &priced(7)), "a tie with the last row");
    assert!(!falls(page(2), &priced(8)));
    assert!(falls(page(3), &priced(8)));
    assert!(falls(page(2), &Change::deleted(&rows[0])));
    let shared: Vec<Arc<Book>> = rows.iter().cloned().map(Arc::new).collect();
    let newest = Book::scope().first_by_id(Order::Descending, 2, &shared);
    assert_eq!(named(newest), ["shop/Scope(Book, BookId in 2.. or null)"]);
    let by_shelf =
        Book::scope().first_by_shelf(Order::Ascending, 1, &[&Book { shelf: None, ..book(1, "a") }]);
    assert_eq!(named(by_shelf), ["shop/Table(Book)"], "where no value stands is not known");
}

#[test]
fn the_timeline_of_a_kind_of_ones_own_is_app() {
    let change = Change::created(&Publisher { name: "Ace".to_owned() });
    assert_eq!(&**change.timeline(), "app");
    assert_eq!(&**Change::created(&book(7, "a")).timeline(), "shop");
}

/// M7: a relation counts where it is marked as one; what a row merely holds is its own affair.
#[tokio::test]
async fn a_relation_counts_where_it_is_marked_and_not_elsewhere() {
    #[derive(Clone, Debug, Tracked)]
    #[tracked(table = "shelf")]
    struct Shelf {
        #[id]
        id: i64,
        #[related]
        publisher: Arc<Publisher>,
        owner: Option<Arc<Publisher>>,
    }
    let named_publisher = |name: &str| Arc::new(Publisher { name: name.to_owned() });
    let cache = larder::Cache::builder().build().unwrap();
    let region = cache.region::<i64, u32>("shelves").never_expires().build().unwrap();
    let put = async |id: i64| {
        let (publisher, owner) = (named_publisher("Ace"), Some(named_publisher("Tor")));
        let rows = [Shelf { id, publisher, owner: owner.clone() }];
        assert!(rows[0].owner.is_some());
        let begun = region.begin(&id);
        begun.load().depends_on_all(&rows);
        begun.finish(1).await.unwrap();
    };
    put(1).await;
    put(2).await;
    assert_eq!(cache.invalidate([Publisher::id("Tor")]).await.unwrap().touched, [0]);
    assert_eq!(cache.invalidate([Shelf::id(1)]).await.unwrap().touched, [1]);
    assert_eq!(cache.invalidate([Publisher::id("Ace")]).await.unwrap().touched, [1]);
}
