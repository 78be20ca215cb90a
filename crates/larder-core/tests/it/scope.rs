//! Scopes and conditions: what is asked for becomes the dependencies it should, or wider ones.
//!
//! Whether those fall when they must is the business of `tracked.rs` beside this file and of the
//! soak `changes`; here it is about what they are.

use std::ops::Bound;

use larder_core::{
    Asks, Condition, Dependency, DependsOn, ErrorKind, Nulls, Order, Scope, Span, Value, any_of,
    null,
};

fn dependencies(scope: Scope) -> Vec<String> {
    let mut found = Vec::new();
    scope.each(&mut |dependency| found.push(dependency.to_string())).unwrap();
    found
}

fn books() -> Scope {
    Scope::of("shop", "Book")
}

fn is<T>(condition: impl Asks<T>) -> Condition {
    condition.condition()
}

fn span<T>(condition: impl Asks<T>) -> Span {
    match condition.condition() {
        Condition::Within(span) => span,
        Condition::AnyOf(values) => panic!("{values:?} is no range"),
    }
}

/// M8: one dependency for each combination.
#[test]
fn lists_multiply() {
    let scope = books()
        .with("category", is::<String>(any_of(["a", "b"])))
        .with("shelf", is::<i64>(any_of([1, 2])))
        .with("sold", is::<bool>(true));
    let wanted = [
        "shop/Scope(Book, category = \"a\", shelf = 1, sold = 1)",
        "shop/Scope(Book, category = \"a\", shelf = 2, sold = 1)",
        "shop/Scope(Book, category = \"b\", shelf = 1, sold = 1)",
        "shop/Scope(Book, category = \"b\", shelf = 2, sold = 1)",
    ];
    assert_eq!(dependencies(scope), wanted);
}

#[test]
fn a_value_named_twice_counts_once() {
    let scope = books().with("shelf", is::<i64>(any_of([7, 7, 8, 7])));
    assert_eq!(dependencies(scope).len(), 2);
}

#[test]
fn beyond_the_limit_the_longest_list_is_left_out() {
    let scope = |long: i64| {
        let scope = books().with("a", is::<i64>(any_of(0..long)));
        scope.with("b", is::<i64>(any_of(0..32))).with("c", is::<i64>(5))
    };
    assert_eq!(dependencies(scope(32)).len(), 1024);
    let wider = dependencies(scope(33));
    assert_eq!(wider.len(), 32);
    assert_eq!(wider[0], "shop/Scope(Book, b = 0, c = 5)");
    let all = books().with("a", is::<i64>(any_of(0..1025)));
    assert_eq!(dependencies(all), ["shop/Table(Book)"]);
}

/// A list of no values is a slip of the caller, and what it would mean never changes.
#[test]
fn an_empty_list_is_an_error_that_names_the_column() {
    let scope = books().with("category", is::<String>(any_of(Vec::<String>::new())));
    let error = scope.each(&mut |dependency| panic!("{dependency}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`Book.category`"), "{error}");
}

/// M12, M8: a scope without a condition is the table.
#[test]
fn no_condition_is_the_whole_table() {
    assert_eq!(dependencies(books()), ["shop/Table(Book)"]);
    assert_eq!(dependencies(books().membership()), ["shop/Scope(Book, watching )"]);
}

#[test]
fn values_may_be_given_by_reference_and_without_their_option() {
    let (text, number) = (String::from("a"), 7i64);
    let same = [is::<String>("a"), is::<String>(&text), is::<String>(text.clone())];
    assert!(same.iter().all(|condition| *condition == same[0]));
    let same = [
        is::<Option<i64>>(7),
        is::<Option<i64>>(Some(7)),
        is::<Option<i64>>(&number),
        is::<Option<i64>>(&Some(7)),
    ];
    assert!(same.iter().all(|condition| *condition == same[0]));
    let same = [is::<Option<i64>>(null()), is::<Option<i64>>(None)];
    assert!(same.iter().all(|condition| *condition == Condition::AnyOf(vec![Value::Null])));
    let same = [is::<i64>(any_of(&[1, 2])), is::<i64>(any_of(vec![1, 2]))];
    assert!(same.iter().all(|condition| *condition == same[0]));
    assert_eq!(is::<Option<String>>(any_of(["a"])), is::<String>(any_of([&text])));
}

#[test]
fn ranges_keep_their_bounds() {
    let integer = |number: i64| Value::Integer(number);
    assert_eq!(span::<i64>(3..9).low, Bound::Included(integer(3)));
    assert_eq!(span::<i64>(3..9).high, Bound::Excluded(integer(9)));
    assert_eq!(span::<i64>(3..=9).high, Bound::Included(integer(9)));
    assert_eq!(span::<i64>(..9).low, Bound::Unbounded);
    assert_eq!(span::<i64>(3..).high, Bound::Unbounded);
    assert_eq!(span::<f64>(..=9.5).high, Bound::Included(Value::Real(9.5)));
    assert_eq!(span::<String>("a".."b").low, Bound::Included(Value::from("a")));
    let bounds = (Bound::Excluded(&3i64), Bound::Unbounded);
    assert_eq!(span::<Option<i64>>(bounds).low, Bound::Excluded(integer(3)));
    assert_eq!(span::<Option<i64>>(3..9).nulls, Nulls::Outside);
}

/// Rust sorts `None` first, a database where it likes: the widest is meant.
#[test]
fn a_bound_without_a_value_is_no_bound() {
    let widest = Span { low: Bound::Unbounded, high: Bound::Unbounded, nulls: Nulls::Inside };
    assert_eq!(span::<Option<i64>>(None::<i64>..None), widest);
    let span = span::<Option<i64>>(None..Some(5));
    assert!(span.holds(&Value::Null) && span.holds(&4.into()) && !span.holds(&5.into()));
}

#[test]
fn of_two_lists_or_ranges_the_wider_answer_is_kept() {
    let scope = books().with("a", is::<i64>(1)).with("a", is::<i64>(2));
    assert_eq!(dependencies(scope), ["shop/Scope(Book, a = 1)"]);
    let scope = books().with("a", is::<i64>(1..5)).with("b", is::<i64>(3..));
    assert_eq!(dependencies(scope), ["shop/Scope(Book, a in 1..5)"]);
    let scope = books().with("a", is::<i64>(1..)).with("a", is::<i64>(..5));
    assert_eq!(dependencies(scope), ["shop/Scope(Book, a in 1..5)"]);
    let scope = books().with("a", is::<i64>(1)).with("a", is::<i64>(..5));
    assert_eq!(dependencies(scope), ["shop/Scope(Book, a = 1, a in ..5)"]);
}

fn page(order: Order, limit: usize, found: usize, last: Option<Value>) -> String {
    let scope = books().with("category", is::<i64>(7)).page("price", order, limit, found, last);
    dependencies(scope).concat()
}

/// M(c): the first n by some order.
#[test]
fn a_full_page_ends_with_its_last_row_ties_included() {
    let up = page(Order::Ascending, 10, 10, Some(5.into()));
    assert_eq!(up, "shop/Scope(Book, category = 7, price in ..=5 or null)");
    let down = page(Order::Descending, 10, 10, Some(5.into()));
    assert_eq!(down, "shop/Scope(Book, category = 7, price in 5.. or null)");
    let over = page(Order::Ascending, 10, 12, Some(5.into()));
    assert_eq!(over, up, "more than asked for is a full page");
}

#[test]
fn a_short_page_or_one_that_ends_with_no_value_depends_on_all() {
    let whole = "shop/Scope(Book, category = 7)";
    assert_eq!(page(Order::Ascending, 10, 9, Some(5.into())), whole);
    assert_eq!(page(Order::Ascending, 10, 0, None), whole);
    assert_eq!(page(Order::Descending, 10, 10, Some(Value::Null)), whole);
    assert_eq!(page(Order::Ascending, 0, 0, None), whole);
}

#[test]
fn a_page_of_a_range_is_their_intersection() {
    let scope = books().with("price", is::<i64>(3..100));
    let scope = scope.page("price", Order::Ascending, 2, 2, Some(9.into()));
    assert_eq!(dependencies(scope), ["shop/Scope(Book, price in 3..=9)"]);
}

/// What is left out of the dependency still decides which rows are in the list, and where.
#[test]
fn what_is_left_out_is_watched() {
    let ranges = books().with("a", is::<i64>(1..5)).with("b", is::<i64>(3..)).membership();
    assert_eq!(dependencies(ranges), ["shop/Scope(Book, a in 1..5, watching b)"]);
    let long = books().with("a", is::<i64>(any_of(0..1025))).watching(["c"]);
    assert_eq!(dependencies(long), ["shop/Scope(Book, watching a and c)"]);
    let short = books().page("price", Order::Ascending, 10, 3, Some(5.into())).membership();
    assert_eq!(dependencies(short), ["shop/Scope(Book, watching price)"]);
    let full = books().membership().page("price", Order::Ascending, 3, 3, Some(5.into()));
    assert_eq!(dependencies(full), ["shop/Scope(Book, price in ..=5 or null, watching )"]);
}

/// MD10: neither separators nor types mix.
#[test]
fn conditions_that_look_alike_are_different() {
    let digest = |scope: Scope| {
        let mut found = None;
        scope.each(&mut |dependency: Dependency| found = Some(dependency.digest())).unwrap();
        found.unwrap()
    };
    let one = digest(books().with("a", is::<String>("1&b=2")));
    let two = digest(books().with("a", is::<String>("1")).with("b", is::<String>("2")));
    let three = digest(books().with("a", is::<i64>(1)).with("b", is::<i64>(2)));
    let all = [one, two, three];
    assert!((0..3).all(|place| !all[place + 1..].contains(&all[place])));
    assert_ne!(
        digest(books().with("a", is::<String>("True"))),
        digest(books().with("a", is::<bool>(true)))
    );
}
