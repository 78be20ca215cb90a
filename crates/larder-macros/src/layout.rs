//! A type whose values are stored without names, as its author describes it, and what becomes of
//! it.
//!
//! Apart from [`crate::row`], with which it shares nothing but the way attributes are read.
//! **Invariant**: what serde would write in another way than the type is declared is refused, or
//! described by hand; names that are the same twice are refused, as an exchange would not show.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Generics, Ident, LitStr, Path, Result, Token,
    Type, ext::IdentExt, meta::ParseNestedMeta, parenthesized, parse_quote, spanned::Spanned,
};

use crate::{attributes::once, row::Errors};

const ON_TYPE: &str = "expected `name = \"..\"` or `crate = \"..\"`";
const ON_VARIANT: &str = "expected `name = \"..\"`";
const ON_FIELD: &str = "expected `name = \"..\"` or `opaque = \"..\"`";

/// What serde may be told without another order or another type of what it writes.
const HARMLESS: [&str; 9] = [
    "rename",
    "rename_all",
    "rename_all_fields",
    "alias",
    "default",
    "bound",
    "crate",
    "deny_unknown_fields",
    "expecting",
];

/// What serde may be told of a field whose layout is described by hand.
const CONVERSIONS: [&str; 3] = ["with", "serialize_with", "deserialize_with"];

/// A type to be stored, checked.
pub(crate) struct Layout {
    name: Ident,
    generics: Generics,
    larder: Path,
    stored_name: String,
    parts: Vec<Part>,
}

enum Part {
    Field { name: String, ty: Box<Type> },
    Opaque { name: String, layout: String },
    Variant { name: String },
}

/// What stands on a type, a variant or a field.
#[derive(Default)]
struct Attributes {
    name: Option<String>,
    opaque: Option<String>,
    larder: Option<Path>,
    /// Whether serde leaves it out.
    is_skipped: bool,
}

impl Layout {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let own = Attributes::parse(&input.attrs, ON_TYPE)?;
        if let Some(lifetime) = input.generics.lifetimes().next() {
            let message = "a stored value owns what it holds, so its type has no lifetimes";
            return Err(Error::new_spanned(lifetime, message));
        }
        let (mut parts, mut errors) = (Vec::new(), Errors::default());
        match &input.data {
            Data::Struct(data) => fields(&data.fields, &mut parts, &mut errors),
            Data::Enum(data) => {
                let mut names = Vec::new();
                for variant in &data.variants {
                    match Attributes::parse(&variant.attrs, ON_VARIANT) {
                        Ok(own) => {
                            let name = own.name_or(&variant.ident.unraw());
                            add_name(&mut names, &name, &variant.ident, &mut errors);
                            parts.push(Part::Variant { name });
                        }
                        Err(error) => errors.add(error),
                    }
                    fields(&variant.fields, &mut parts, &mut errors);
                }
            }
            Data::Union(_) => {
                let message = "a union does not say what it holds; only structs and enums do";
                errors.add(Error::new(input.ident.span(), message));
            }
        }
        errors.end()?;
        Ok(Self {
            name: input.ident.clone(),
            generics: input.generics.clone(),
            stored_name: own.name_or(&input.ident.unraw()),
            larder: own.larder.unwrap_or_else(|| parse_quote!(::larder)),
            parts,
        })
    }

    /// `impl Stored`.
    pub(crate) fn expand(&self) -> TokenStream {
        let Self { name, larder, stored_name, .. } = self;
        let mut generics = self.generics.clone();
        for parameter in generics.type_params_mut() {
            parameter.bounds.push(parse_quote!(#larder::Stored));
        }
        let (impl_generics, type_generics, conditions) = generics.split_for_impl();
        let parts = self.parts.iter().map(|part| match part {
            Part::Field { name, ty } => {
                quote_spanned!(ty.span()=> #larder::Layout::field::<#ty>(layout, #name);)
            }
            Part::Opaque { name, layout } => {
                quote!(#larder::Layout::opaque(layout, #name, #layout);)
            }
            Part::Variant { name } => quote!(#larder::Layout::variant(layout, #name);),
        });
        quote! {
            #[automatically_derived]
            impl #impl_generics #larder::Stored for #name #type_generics #conditions {
                fn layout(layout: &mut #larder::Layout) {
                    layout.named::<Self>(#stored_name, |layout| {
                        let _ = &layout;
                        #(#parts)*
                    });
                }
            }
        }
    }
}

fn fields(fields: &Fields, parts: &mut Vec<Part>, errors: &mut Errors) {
    let mut names = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let own = match Attributes::parse(&field.attrs, ON_FIELD) {
            Ok(own) if own.is_skipped => continue,
            Ok(own) => own,
            Err(error) => {
                errors.add(error);
                continue;
            }
        };
        let name = match &field.ident {
            Some(name) => own.name_or(&name.unraw()),
            None => own.name_or(&place),
        };
        add_name(&mut names, &name, field, errors);
        parts.push(match own.opaque {
            Some(layout) => Part::Opaque { name, layout },
            None => Part::Field { name, ty: Box::new(field.ty.clone()) },
        });
    }
}

fn add_name(names: &mut Vec<String>, name: &str, place: &dyn quote::ToTokens, errors: &mut Errors) {
    if names.iter().any(|known| known == name) {
        let message = format!("`{name}` is stored here already");
        errors.add(Error::new_spanned(place, message));
    }
    names.push(name.to_owned());
}

impl Attributes {
    /// Reads what may stand where `expected` says what that is.
    fn parse(attributes: &[Attribute], expected: &'static str) -> Result<Self> {
        let mut own = Self::default();
        for attribute in attributes.iter().filter(|own| own.path().is_ident("stored")) {
            attribute.parse_nested_meta(|meta| own.take(&meta, expected))?;
        }
        for attribute in attributes.iter().filter(|own| own.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| own.take_of_serde(&meta, expected))?;
        }
        Ok(own)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>, expected: &'static str) -> Result<()> {
        let text = |meta: &ParseNestedMeta<'_>| meta.value()?.parse::<LitStr>();
        if meta.path.is_ident("name") {
            once(meta, &mut self.name, |meta| Ok(text(meta)?.value()))
        } else if meta.path.is_ident("opaque") && expected == ON_FIELD {
            once(meta, &mut self.opaque, |meta| Ok(text(meta)?.value()))
        } else if meta.path.is_ident("crate") && expected == ON_TYPE {
            once(meta, &mut self.larder, |meta| text(meta)?.parse())
        } else {
            Err(meta.error(expected))
        }
    }

    fn take_of_serde(&mut self, meta: &ParseNestedMeta<'_>, on: &'static str) -> Result<()> {
        let is = |known: &[&str]| known.iter().any(|known| meta.path.is_ident(known));
        let is_left_out = meta.path.is_ident("skip") && on == ON_FIELD;
        let is_transparent = meta.path.is_ident("transparent") && on == ON_TYPE;
        self.is_skipped |= is_left_out;
        let is_by_hand = self.opaque.is_some() && is(&CONVERSIONS);
        if !(is_left_out || is_transparent || is_by_hand || is(&HARMLESS)) {
            return Err(meta.error(match is(&CONVERSIONS) {
                true => {
                    "say what is written in place of the field's type: `#[stored(opaque = \"..\")]`"
                }
                false => {
                    "with this, what serde writes is not what is declared here: store it with \
                     the default codec, or implement `Stored` by hand"
                }
            }));
        }
        // What is said further is serde's.
        if meta.input.peek(Token![=]) {
            meta.value()?.parse::<syn::Expr>()?;
        } else if !meta.input.is_empty() && !meta.input.peek(Token![,]) {
            let content;
            parenthesized!(content in meta.input);
            content.parse::<TokenStream>()?;
        }
        Ok(())
    }

    fn name_or(&self, declared: &dyn ToString) -> String {
        self.name.clone().unwrap_or_else(|| declared.to_string())
    }
}
