//! What may be written in attributes, and what is said to whoever writes something else.
//!
//! It stands apart from [`crate::row`], which knows what the attributes mean together.
//! **Invariant**: every attribute that the derive claims is either understood or refused.

use proc_macro2::Span;
use syn::{
    Attribute, DeriveInput, Error, Ident, LitStr, Meta, Path, Result, Token, meta::ParseNestedMeta,
    parenthesized, parse_quote, punctuated::Punctuated, spanned::Spanned,
};

use crate::row::Errors;

const ON_STRUCT: &str = "expected `table = \"..\"`, `group(..)` or `crate = \"..\"`";
const ON_FIELD: &str = "expected `column = \"..\"`";
const IN_GROUP: &str = "expected `name = \"..\"` and `columns(..)`";

/// What stands on the struct.
pub(crate) struct RowAttributes {
    pub(crate) table: LitStr,
    pub(crate) larder: Path,
    pub(crate) groups: Vec<GroupAttribute>,
}

pub(crate) struct GroupAttribute {
    pub(crate) span: Span,
    pub(crate) name: Ident,
    pub(crate) columns: Vec<Ident>,
}

/// What stands on a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) marks: Vec<Mark>,
    pub(crate) column: Option<String>,
}

/// An attribute that is only a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Id,
    Scope,
    Watched,
    Related,
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let marks = [
            ("id", Self::Id),
            ("scope", Self::Scope),
            ("watched", Self::Watched),
            ("related", Self::Related),
        ];
        marks.iter().find(|(word, _)| path.is_ident(word)).map(|(_, mark)| *mark)
    }
}

impl RowAttributes {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let (mut table, mut larder, mut groups) = (None, None, Vec::new());
        for attribute in &input.attrs {
            if Mark::of(attribute.path()).is_some() {
                let message = "this attribute is for fields";
                return Err(Error::new_spanned(attribute, message));
            }
            if !attribute.path().is_ident("tracked") {
                continue;
            }
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("table") {
                    once(&meta, &mut table, |meta| meta.value()?.parse::<LitStr>())
                } else if meta.path.is_ident("crate") {
                    let path = |meta: &ParseNestedMeta| meta.value()?.parse::<LitStr>()?.parse();
                    once(&meta, &mut larder, path)
                } else if meta.path.is_ident("group") {
                    groups.push(GroupAttribute::parse(&meta)?);
                    Ok(())
                } else {
                    Err(meta.error(ON_STRUCT))
                }
            })?;
        }
        let table = table.ok_or_else(|| {
            let message = "say which table it is a row of: `#[tracked(table = \"shop.Article\")]`";
            Error::new(input.ident.span(), message)
        })?;
        let larder = larder.unwrap_or_else(|| parse_quote!(::larder));
        Ok(Self { table, larder, groups })
    }
}

impl GroupAttribute {
    fn parse(group: &ParseNestedMeta<'_>) -> Result<Self> {
        let (mut name, mut columns) = (None, None);
        let span = group.path.span();
        group.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                once(&meta, &mut name, |meta| meta.value()?.parse::<LitStr>())
            } else if meta.path.is_ident("columns") {
                once(&meta, &mut columns, |meta| {
                    let content;
                    parenthesized!(content in meta.input);
                    Punctuated::<Ident, Token![,]>::parse_terminated(&content)
                })
            } else {
                Err(meta.error(IN_GROUP))
            }
        })?;
        let (Some(name), Some(columns)) = (name, columns) else {
            return Err(Error::new(span, IN_GROUP));
        };
        if columns.is_empty() {
            return Err(Error::new(span, "a group has columns: `columns(published, category)`"));
        }
        let ident = name.parse().map_err(|_| {
            Error::new(name.span(), "the name becomes a function, so it must be an identifier")
        })?;
        Ok(Self { span: name.span(), name: ident, columns: columns.into_iter().collect() })
    }
}

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        let mut errors = Errors::default();
        for attribute in attributes {
            if let Err(error) = found.take(attribute) {
                errors.add(error);
            }
        }
        errors.end()?;
        Ok(found)
    }

    fn take(&mut self, attribute: &Attribute) -> Result<()> {
        if attribute.path().is_ident("tracked") {
            attribute.parse_nested_meta(|meta| match meta.path.is_ident("column") {
                true => once(&meta, &mut self.column, |meta| {
                    Ok(meta.value()?.parse::<LitStr>()?.value())
                }),
                false => Err(meta.error(ON_FIELD)),
            })?;
        }
        let Some(mark) = Mark::of(attribute.path()) else { return self.check(attribute) };
        if !matches!(attribute.meta, Meta::Path(_)) {
            return Err(Error::new_spanned(attribute, "this attribute takes nothing"));
        }
        if self.marks.contains(&mark) {
            return Err(Error::new_spanned(attribute, "this attribute is there already"));
        }
        self.marks.push(mark);
        self.check(attribute)
    }

    /// Related rows are no column, and so nothing that a column can be.
    fn check(&self, attribute: &Attribute) -> Result<()> {
        let is_column = self.column.is_some() || 1 < self.marks.len();
        if self.marks.contains(&Mark::Related) && is_column {
            let message = "a field with `#[related]` holds other rows and is no column";
            return Err(Error::new_spanned(attribute, message));
        }
        Ok(())
    }
}

/// Reads what may be said once.
pub(crate) fn once<'a, T>(
    meta: &ParseNestedMeta<'a>,
    place: &mut Option<T>,
    read: impl FnOnce(&ParseNestedMeta<'a>) -> Result<T>,
) -> Result<()> {
    let value = read(meta)?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("said twice")),
    }
}
