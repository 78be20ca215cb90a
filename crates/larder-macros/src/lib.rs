//! The derive of larder. Users get it through the crate `larder`, feature `derive`.
//!
//! Reading order: `row` and `attributes` (what is written on a struct, and what is refused),
//! `expand` (what becomes of it). **Invariant**: whatever is written and cannot be meant is refused
//! at the place where it is written; what is made names the crate `larder` by an absolute path, so
//! that nothing in the user's module can get in its way.

mod row;

mod attributes;

mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::row::Row;

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
