//! The derives of larder. Users get them through the crate `larder`, feature `derive`.
//!
//! Reading order: `row` and `attributes` (what is written on a struct, and what is refused),
//! `expand` (what becomes of it); `layout` and `record`, the others. **Invariant**: what is written
//! and cannot be meant is refused at the place where it is written; what is made names the crate
//! `larder` by an absolute path, so that nothing in the user's module can get in its way.

mod row;

mod attributes;

mod expand;

mod layout;

mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::{layout::Layout, record::Record, row::Row};

/// Lets a struct say which row of which table it is, so that loads can depend on it, lists can ask
/// for it, and changes to it reach both.
///
/// On the struct, `#[tracked(..)]` takes:
///
/// - `table = "shop.Article"`: the timeline `shop` and the table `Article`. A name without a dot is
///   a kind of the application's own, on the timeline `app`.
/// - `group(name = "front", columns(published, category))`: a function `front` that asks for these
///   columns together. They are then columns to ask for one by one as well.
/// - `crate = "..."`: where larder is, if not at `::larder`.
///
/// On a field:
///
/// - `#[id]`: part of the primary key; several are in the order of their fields.
/// - `#[scope]`: lists may ask for it, by value, list, range, or null where it is an `Option`.
/// - `#[watched]`: lists may say that a change of it matters to them, or that it does not.
/// - `#[related]`: other tracked rows that came along: one, an `Option`, a `Vec`, boxed or shared.
/// - `#[tracked(column = "ArticleId")]`: what the table calls it, if not as the field does.
///
/// What it makes for `struct Article`, besides `impl Tracked`:
///
/// - `Article::id(..)`: the row with this key, as a dependency;
/// - `Article::table()`: every row;
/// - `Article::scope()`: an `ArticleScope` of every row, with a method for each column to ask for;
///   `watching([..])`, `membership()`, and `first_by_..(order, limit, &rows)` for pages;
/// - `Article::columns()`: the columns by name, for `watching` and for `TrackedChange::modified`;
/// - a function for each group.
///
/// Text is compared byte by byte. Where a table compares a column in another way (a collation that
/// ignores case), a list must not ask for it by value.
#[proc_macro_derive(Tracked, attributes(tracked, id, scope, watched, related))]
pub fn derive_tracked(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    Row::parse(&input).map_or_else(syn::Error::into_compile_error, |row| expand::all(&row)).into()
}

/// Lets a type say how its values are laid out in bytes that name nothing, so that a codec such as
/// `Codec::positional` reads what this type wrote and nothing else.
///
/// The layout is the name of the type, and for each field or variant, in their order, its name and
/// its type, however deep. Whatever changes there makes what is stored a miss. On a type, a variant
/// or a field, `#[stored(..)]` takes:
///
/// - `name = "..."`: the name under which it is stored, if not its own: so that what is called
///   otherwise today is still what it was.
///
/// On a type also `crate = "..."`: where larder is, if not at `::larder`. On a field also
///
/// - `opaque = "..."`: what is written for it, in your words, where its type cannot derive `Stored`
///   or serde writes it by a function. Another text is another layout, so change it with the bytes.
///
/// The bytes are those of serde's derives. What serde is told to leave out (`skip`) is no part of
/// the layout; what makes it write anything but the fields as they are declared (`flatten`, `tag`,
/// `untagged`, `skip_serializing_if`, ...) is refused.
#[proc_macro_derive(Stored, attributes(stored))]
pub fn derive_stored(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let layout = Layout::parse(&input);
    layout.map_or_else(syn::Error::into_compile_error, |layout| layout.expand()).into()
}

/// Lets a struct be a record of a cached table: what its primary key is.
///
/// On a field, `#[record(..)]` takes `key`: it is part of the primary key, whose parts are in the
/// order of their fields. On the struct `crate = "..."`: where the tables are, if not at
/// `::larder::table`. What the derive `FromRow` takes may stand there as well.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let record = Record::parse(&input);
    record.map_or_else(syn::Error::into_compile_error, |record| record.expand()).into()
}

/// Lets a record be made of a row of a result, each field of the column with its name.
///
/// On a field, `#[record(..)]` takes `column = "..."`: what the result calls it, if not as the
/// field does; and what the derive `Record` takes, which says the primary key.
#[proc_macro_derive(FromRow, attributes(record))]
pub fn derive_from_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let record = Record::parse(&input);
    record.map_or_else(syn::Error::into_compile_error, |record| record.expand_from_row()).into()
}
