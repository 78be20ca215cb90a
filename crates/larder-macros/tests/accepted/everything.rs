//! All that may be written, in the ways it may be.

extern crate larder as larder_here;

use std::sync::Arc;

use larder_here::{Order, Tracked, any_of, null};

mod inner {
    //! Types that are public, private to a module, and named by keywords.

    use std::sync::Arc;

    use larder_here::Tracked;

    #[derive(Tracked)]
    #[tracked(
        table = "shop.Line",
        crate = "::larder_here",
        group(name = "place", columns(r#type, shelf)),
        group(name = "sold", columns(sold))
    )]
    pub(super) struct Line {
        #[id]
        pub(super) order: u64,
        #[id]
        #[scope]
        pub(super) number: u32,
        #[scope]
        #[tracked(column = "Kind")]
        pub(super) r#type: Arc<str>,
        pub(super) shelf: Option<String>,
        pub(super) sold: bool,
        #[watched]
        pub(super) weight: f32,
        #[related]
        pub(super) parts: Vec<Box<Line>>,
        #[related]
        pub(super) next: Option<Arc<Line>>,
    }
}

use inner::Line;

#[derive(Clone, PartialEq)]
struct Isbn(String);

impl From<Isbn> for larder_here::Value {
    fn from(isbn: Isbn) -> Self {
        isbn.0.into()
    }
}

impl larder_here::Exact for Isbn {}

/// A kind of the application's own, by a type of its own.
#[derive(Tracked)]
#[tracked(table = "Book", crate = "::larder_here")]
struct Book {
    #[id]
    isbn: Isbn,
}

fn main() {
    let number = 5;
    let _ = Line::id(1, &number);
    let lines: [Arc<Line>; 0] = [];
    let _ = Line::place("a", any_of(["b"]))
        .number(3..=4)
        .watching([Line::columns().weight, Line::columns().r#type])
        .first_by_type(Order::Ascending, 10, &lines);
    let _ = Line::sold(true).shelf(null()).membership();
    let _ = Line::scope().first_by_order(Order::Descending, 3, &lines);
    let _ = Line::scope().shelf("x".to_owned()..).number(&number);
    let _ = (Book::id(Isbn("1".to_owned())), Book::table());
}
