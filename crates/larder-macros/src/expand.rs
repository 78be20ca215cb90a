//! What the derive writes.
//!
//! **Invariant**: the columns, their order and the key are worked out once, in [`Row`]; what a row
//! names when it is read and what its changes touch cannot differ.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Ident, ext::IdentExt, spanned::Spanned};

use crate::row::{Field, Group, Row, Use};

pub(crate) fn all(row: &Row) -> TokenStream {
    let parts = [tracked(row), keys(row), names(row), columns(row), scope(row)];
    parts.into_iter().collect()
}

fn lints() -> TokenStream {
    quote! {
        #[allow(
            dead_code,
            clippy::too_many_arguments,
            reason = "all that can be asked is there, whether or not it is"
        )]
    }
}

fn scope_name(row: &Row) -> Ident {
    format_ident!("{}Scope", row.name.unraw())
}

fn columns_name(row: &Row) -> Ident {
    format_ident!("{}Columns", row.name.unraw())
}

/// The value of a field of `holder`; what is wrong with its type is told at the type.
fn value(row: &Row, field: &Field, holder: &str) -> TokenStream {
    let (larder, Field { name, ty, .. }) = (&row.larder, field);
    let place = Span::call_site().located_at(ty.span());
    let holder = Ident::new(holder, place);
    let mut name = name.clone();
    name.set_span(name.span().located_at(place));
    quote_spanned!(place=> #larder::ValueOf::<#ty>::value(&#holder.#name))
}

/// `impl Tracked`.
fn tracked(row: &Row) -> TokenStream {
    let Row { name, larder, timeline, table, .. } = row;
    let image = row.image();
    let columns = image.iter().map(|field| &field.column);
    let place = |key: &Field| image.iter().position(|field| field.name == key.name);
    let key = row.key().filter_map(place).map(Literal::usize_unsuffixed);
    let rest = row.used(Use::Rest).map(|field| &field.column);
    let values = image.iter().map(|field| value(row, field, "self"));
    let key_values = row.key().map(|field| value(row, field, "self"));
    let related = row.used(Use::Related).map(|Field { name, ty, .. }| {
        quote_spanned!(ty.span()=> <#ty as #larder::Related>::name_each(&self.#name, each);)
    });
    quote! {
        #[automatically_derived]
        impl #larder::Tracked for #name {
            fn description() -> &'static #larder::Description {
                static DESCRIPTION: ::std::sync::OnceLock<#larder::Description> =
                    ::std::sync::OnceLock::new();
                DESCRIPTION.get_or_init(|| {
                    #larder::Description::of(#timeline, #table)
                        .with_columns(&[#(#columns),*], &[#(#key),*])
                        .with_rest(&[#(#rest),*])
                })
            }

            fn image(&self) -> ::std::vec::Vec<#larder::Value> {
                ::std::vec![#(#values),*]
            }

            fn related(&self, each: &mut dyn ::core::ops::FnMut(#larder::Dependency)) {
                let _ = &each;
                #(#related)*
            }

            fn dependency(&self) -> #larder::Dependency {
                <Self as #larder::Tracked>::description().id([#(#key_values),*])
            }
        }
    }
}

/// Refuses keys of types whose values cannot be told apart by their encoding.
fn keys(row: &Row) -> TokenStream {
    let larder = &row.larder;
    let checks = row.key().map(|Field { ty, .. }| quote_spanned!(ty.span()=> exact::<#ty>();));
    quote! {
        const _: fn() = || {
            fn exact<T: #larder::Exact>() {}
            #(#checks)*
        };
    }
}

/// The functions of the row type.
fn names(row: &Row) -> TokenStream {
    let Row { name, visibility, larder, table, .. } = row;
    let (scope, columns, lints) = (scope_name(row), columns_name(row), lints());
    let parameters = row.key().map(
        |Field { name, ty, .. }| quote_spanned!(ty.span()=> #name: impl #larder::ValueOf<#ty>),
    );
    let key = row.key().map(
        |Field { name, ty, .. }| quote_spanned!(ty.span()=> #larder::ValueOf::<#ty>::value(#name)),
    );
    let each_column = row
        .image()
        .into_iter()
        .map(|Field { name, column, .. }| quote!(#name: #larder::Column::named(#column)));
    let groups = row.groups.iter().map(|own| group(row, own));
    let id_doc = format!("The row of `{table}` with this key, whether or not it exists.");
    let table_doc = format!("Every row of `{table}`, present and future.");
    let scope_doc = format!("A scope of every row of `{table}`, to be narrowed by its methods.");
    let columns_doc = format!("The columns of `{table}` that scopes know.");
    quote! {
        #lints
        impl #name {
            #[doc = #id_doc]
            #visibility fn id(#(#parameters),*) -> #larder::Dependency {
                <Self as #larder::Tracked>::description().id([#(#key),*])
            }

            #[doc = #table_doc]
            #visibility fn table() -> #larder::Dependency {
                <Self as #larder::Tracked>::description().all()
            }

            #[doc = #scope_doc]
            #visibility fn scope() -> #scope {
                #scope { scope: <Self as #larder::Tracked>::description().scope() }
            }

            #[doc = #columns_doc]
            #visibility const fn columns() -> #columns {
                #columns { #(#each_column),* }
            }

            #(#groups)*
        }
    }
}

fn group(row: &Row, Group { name, columns }: &Group) -> TokenStream {
    let Row { visibility, larder, fields, .. } = row;
    let fields: Vec<&Field> = columns.iter().filter_map(|place| fields.get(*place)).collect();
    let parameters = fields
        .iter()
        .map(|Field { name, ty, .. }| quote_spanned!(ty.span()=> #name: impl #larder::Asks<#ty>));
    let names: Vec<&Ident> = fields.iter().map(|field| &field.name).collect();
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let doc = format!("The rows that meet a condition each on {listed}.");
    let scope = scope_name(row);
    quote! {
        #[doc = #doc]
        #visibility fn #name(#(#parameters),*) -> #scope {
            Self::scope()#(.#names(#names))*
        }
    }
}

/// The struct with a constant for each column.
fn columns(row: &Row) -> TokenStream {
    let Row { name, visibility, larder, table, .. } = row;
    let (own, lints) = (columns_name(row), lints());
    let fields = row.image().into_iter().map(|Field { name: field, column, .. }| {
        let doc = format!("The column `{column}`.");
        quote! {
            #[doc = #doc]
            #visibility #field: #larder::Column<#name>
        }
    });
    let doc = format!("The columns of `{table}` that scopes know: [`{name}::columns`].");
    quote! {
        #[doc = #doc]
        #lints
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #own { #(#fields),* }
    }
}

/// The scope of the row type.
fn scope(row: &Row) -> TokenStream {
    let Row { name, visibility, larder, table, .. } = row;
    let (own, lints) = (scope_name(row), lints());
    let asked = row.used(Use::Asked).map(|field| asking(row, field));
    let pages = row.image().into_iter().map(|field| page(row, field));
    let doc = format!("Rows of `{table}` as a list asks for them: [`{name}::scope`].");
    quote! {
        #[doc = #doc]
        #[must_use]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #own { scope: #larder::Scope }

        #lints
        impl #own {
            #(#asked)*

            /// A row that stays in the list matters only where one of these columns changes, or
            /// one that the list chooses by.
            #visibility fn watching(
                self,
                columns: impl ::core::iter::IntoIterator<Item = #larder::Column<#name>>,
            ) -> Self {
                Self { scope: self.scope.watching(columns) }
            }

            /// Only what enters or leaves matters: for a count, or beside the ids of the rows.
            #visibility fn membership(self) -> Self {
                Self { scope: self.scope.membership() }
            }

            #(#pages)*
        }

        #[automatically_derived]
        impl #larder::DependsOn for #own {
            fn each(
                self,
                add: &mut dyn ::core::ops::FnMut(#larder::Dependency),
            ) -> ::core::result::Result<(), #larder::Error> {
                #larder::DependsOn::each(self.scope, add)
            }
        }

        #[automatically_derived]
        impl ::core::convert::From<#own> for #larder::Scope {
            fn from(own: #own) -> Self {
                own.scope
            }
        }
    }
}

/// The method that asks for one column.
fn asking(row: &Row, Field { name, ty, column, .. }: &Field) -> TokenStream {
    let Row { visibility, larder, .. } = row;
    let doc = format!(
        "Only rows whose `{column}` meets `condition`. Said again, it may be left out, which is \
         wider."
    );
    let condition = quote_spanned!(ty.span()=> condition: impl #larder::Asks<#ty>);
    quote! {
        #[doc = #doc]
        #visibility fn #name(self, #condition) -> Self {
            let condition = #larder::Asks::condition(condition);
            Self { scope: self.scope.with(#column, condition) }
        }
    }
}

/// The method for the first rows by one column.
fn page(row: &Row, field: &Field) -> TokenStream {
    let Row { name, visibility, larder, .. } = row;
    let (method, column) = (field.page_method(), &field.column);
    let doc = format!(
        "The first `limit` rows by `{column}`, of which `rows` came back: a full page depends on \
         the rows up to its last, ties included; a short one on the whole scope."
    );
    let last = value(row, field, "last");
    quote! {
        #[doc = #doc]
        #visibility fn #method<R: ::core::borrow::Borrow<#name>>(
            self,
            order: #larder::Order,
            limit: usize,
            rows: &[R],
        ) -> Self {
            let last = rows.last().map(|last| {
                let last: &#name = ::core::borrow::Borrow::borrow(last);
                #last
            });
            Self { scope: self.scope.page(#column, order, limit, rows.len(), last) }
        }
    }
}
