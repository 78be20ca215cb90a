//! A record of a cached table, as its author describes it, and what becomes of it.
//!
//! Two derives of one description: what the primary key is, and how a row of a result becomes the
//! record. Apart from [`crate::row`], which speaks of rows that entries depend on. **Invariant**: a
//! record has a key, and its fields have different columns; else it is refused where it is written.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Generics, Ident, LitStr, Path, Result, Type,
    ext::IdentExt, parse_quote, spanned::Spanned,
};

use crate::{attributes::once, row::Errors};

const ON_STRUCT: &str = "expected `crate = \"..\"`";
const ON_FIELD: &str = "expected `key` or `column = \"..\"`";

/// A record, checked.
pub(crate) struct Record {
    name: Ident,
    generics: Generics,
    table: Path,
    fields: Vec<Field>,
}

struct Field {
    name: Ident,
    ty: Type,
    column: String,
    is_key: bool,
}

impl Record {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let table = parse_crate(&input.attrs)?;
        let Data::Struct(data) = &input.data else {
            let message = "a record is a struct with named fields";
            return Err(Error::new(input.ident.span(), message));
        };
        let Fields::Named(named) = &data.fields else {
            let message = "a record has named fields, of which some are its key";
            return Err(Error::new(input.ident.span(), message));
        };
        let (mut fields, mut errors) = (Vec::<Field>::new(), Errors::default());
        for field in &named.named {
            match Field::parse(field) {
                Ok(own) => {
                    if fields.iter().any(|other| other.column == own.column) {
                        let message = format!("the column `{}` is in another field", own.column);
                        errors.add(Error::new_spanned(field, message));
                    }
                    fields.push(own);
                }
                Err(error) => errors.add(error),
            }
        }
        errors.end()?;
        if !fields.iter().any(|field| field.is_key) {
            let message = "say by which fields a record is told from all others: `#[record(key)]`";
            return Err(Error::new(input.ident.span(), message));
        }
        let (name, generics) = (input.ident.clone(), input.generics.clone());
        Ok(Self { name, generics, table, fields })
    }

    fn key(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.is_key)
    }

    /// `impl Record`.
    pub(crate) fn expand(&self) -> TokenStream {
        let Self { name, table, generics, .. } = self;
        let (impl_generics, type_generics, conditions) = generics.split_for_impl();
        let parts: Vec<_> = self.key().collect();
        let names = parts.iter().map(|field| &field.name);
        let values = names.clone().map(|name| quote!(::core::clone::Clone::clone(&self.#name)));
        let types = parts.iter().map(|field| &field.ty);
        let (key, value) = match &*parts {
            [Field { ty, .. }] => (quote!(#ty), quote!(#(#values)*)),
            _ => (quote!((#(#types),*)), quote!((#(#values),*))),
        };
        let orders = parts.iter().map(|Field { name, ty, .. }| {
            quote_spanned! {ty.span()=>
                .then_with(|| ::core::cmp::Ord::cmp(&self.#name, &other.#name))
            }
        });
        quote! {
            #[automatically_derived]
            impl #impl_generics #table::Record for #name #type_generics #conditions {
                type Key = #key;

                fn key(&self) -> Self::Key {
                    #value
                }

                fn order(&self, other: &Self) -> ::core::cmp::Ordering {
                    ::core::cmp::Ordering::Equal #(#orders)*
                }
            }
        }
    }

    /// `impl FromRow`.
    pub(crate) fn expand_from_row(&self) -> TokenStream {
        let Self { name, table, generics, fields } = self;
        let (impl_generics, type_generics, conditions) = generics.split_for_impl();
        let columns = fields.iter().map(|field| &field.column);
        let key = self.key().map(|field| &field.column);
        let cells = fields
            .iter()
            .map(|Field { name, ty, .. }| quote_spanned!(ty.span()=> #name: cells.take::<#ty>()?));
        quote! {
            #[automatically_derived]
            impl #impl_generics #table::sql::FromRow for #name #type_generics #conditions {
                const COLUMNS: &'static [&'static str] = &[#(#columns),*];
                const KEY: &'static [&'static str] = &[#(#key),*];

                fn from_row(
                    cells: &mut #table::sql::Cells<'_>,
                ) -> ::core::result::Result<Self, #table::Error> {
                    ::core::result::Result::Ok(Self { #(#cells),* })
                }
            }
        }
    }
}

impl Field {
    fn parse(field: &syn::Field) -> Result<Self> {
        let name = field.ident.clone().expect("the field of a struct with named fields");
        let (mut key, mut column) = (None, None);
        for attribute in field.attrs.iter().filter(|own| own.path().is_ident("record")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("key") {
                    once(&meta, &mut key, |_| Ok(()))
                } else if meta.path.is_ident("column") {
                    once(&meta, &mut column, |meta| meta.value()?.parse::<LitStr>())
                } else {
                    Err(meta.error(ON_FIELD))
                }
            })?;
        }
        let column = column.map_or_else(|| name.unraw().to_string(), |column| column.value());
        Ok(Self { name, ty: field.ty.clone(), column, is_key: key.is_some() })
    }
}

fn parse_crate(attributes: &[Attribute]) -> Result<Path> {
    let mut table = None;
    for attribute in attributes.iter().filter(|own| own.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                once(&meta, &mut table, |meta| meta.value()?.parse::<LitStr>()?.parse())
            } else {
                Err(meta.error(ON_STRUCT))
            }
        })?;
    }
    Ok(table.unwrap_or_else(|| parse_quote!(::larder::table)))
}
