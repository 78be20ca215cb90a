//! A row type as its author describes it, checked.
//!
//! The attributes are read in [`crate::attributes`]; here they are put together. **Invariant**: a
//! [`Row`] has a key, its columns have different names, and every name that will be made from it
//! can be made.

use std::collections::{BTreeMap, HashMap};

use syn::{Data, DeriveInput, Error, Fields, Ident, Path, Result, Type, Visibility, ext::IdentExt};

use crate::attributes::{FieldAttributes, Mark, RowAttributes};

/// The timeline of kinds that belong to no origin: `larder_core::timeline::APP`.
const APP: &str = "app";

/// Functions that every row type gets.
const FUNCTIONS: [&str; 4] = ["id", "table", "scope", "columns"];

/// Methods that every scope gets.
const METHODS: [&str; 2] = ["watching", "membership"];

pub(crate) struct Row {
    pub(crate) name: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) larder: Path,
    pub(crate) timeline: String,
    pub(crate) table: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) groups: Vec<Group>,
}

/// A field that is a column, or holds related rows.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) column: String,
    pub(crate) use_: Use,
    pub(crate) is_key: bool,
}

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Scopes ask for it.
    Asked,
    /// Part of the key or watched, and not asked for.
    Known,
    /// A column of which larder knows only the name.
    Rest,
    /// Rows of their own.
    Related,
}

/// Columns that are asked for together.
pub(crate) struct Group {
    pub(crate) name: Ident,
    /// Indices of fields, as they are written.
    pub(crate) columns: Vec<usize>,
}

impl Row {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let attributes = RowAttributes::parse(input)?;
        let mut errors = Errors::default();
        let mut fields = Vec::new();
        for field in named_fields(input)? {
            let name = field.ident.clone().expect("a named field has a name");
            match FieldAttributes::parse(&field.attrs) {
                Ok(own) => fields.push(Field::new(name, field.ty.clone(), &own)),
                Err(error) => errors.add(error),
            }
        }
        errors.end()?;
        let groups = groups(&attributes, &mut fields)?;
        let (timeline, table) = place(&attributes)?;
        let row = Self {
            name: input.ident.clone(),
            visibility: input.vis.clone(),
            larder: attributes.larder,
            timeline,
            table,
            fields,
            groups,
        };
        row.check()?;
        Ok(row)
    }

    /// The columns whose values larder knows, sorted as an image has them.
    pub(crate) fn image(&self) -> Vec<&Field> {
        let known = self.fields.iter().filter(|field| field.is_in_image());
        let sorted: BTreeMap<&str, &Field> = known.map(|own| (own.column.as_str(), own)).collect();
        sorted.into_values().collect()
    }

    /// The fields of the key, as they are declared.
    pub(crate) fn key(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.is_key)
    }

    /// The fields that are for `use_`.
    pub(crate) fn used(&self, use_: Use) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.use_ == use_)
    }

    fn check(&self) -> Result<()> {
        let mut errors = Errors::default();
        if self.key().next().is_none() {
            let message = "a tracked row has a key: mark its fields with `#[id]`";
            errors.add(Error::new(self.name.span(), message));
        }
        let mut columns = HashMap::new();
        for field in self.fields.iter().filter(|field| field.use_ != Use::Related) {
            if let Some(other) = columns.insert(&field.column, &field.name) {
                let message = format!("the column `{}` is also that of `{other}`", field.column);
                errors.add(Error::new(field.name.span(), message));
            }
        }
        self.check_methods(&mut errors);
        errors.end()
    }

    /// Each scope has its own methods, one for each column asked for and one for each page.
    fn check_methods(&self, errors: &mut Errors) {
        let pages = self.fields.iter().filter(|field| field.is_in_image());
        let pages: Vec<String> = pages.map(|field| field.page_method().to_string()).collect();
        for field in self.used(Use::Asked) {
            let name = field.name.unraw().to_string();
            if METHODS.contains(&name.as_str()) || pages.contains(&name) {
                let message = format!(
                    "a scope already has a method `{name}`: call the field otherwise, and say \
                     `#[tracked(column = \"{name}\")]`"
                );
                errors.add(Error::new(field.name.span(), message));
            }
        }
    }
}

impl Field {
    fn new(name: Ident, ty: Type, attributes: &FieldAttributes) -> Self {
        let has = |mark| attributes.marks.contains(&mark);
        let use_ = if has(Mark::Related) {
            Use::Related
        } else if has(Mark::Scope) {
            Use::Asked
        } else if has(Mark::Id) || has(Mark::Watched) {
            Use::Known
        } else {
            Use::Rest
        };
        let column = attributes.column.clone().unwrap_or_else(|| name.unraw().to_string());
        Self { name, ty, column, use_, is_key: has(Mark::Id) }
    }

    pub(crate) fn is_in_image(&self) -> bool {
        matches!(self.use_, Use::Asked | Use::Known)
    }

    /// The name of the method for a page in the order of this column.
    pub(crate) fn page_method(&self) -> Ident {
        Ident::new(&format!("first_by_{}", self.name.unraw()), self.name.span())
    }
}

/// The fields of a struct that can be a row.
fn named_fields(input: &DeriveInput) -> Result<impl Iterator<Item = &syn::Field>> {
    let refuse = |message: &str| Err(Error::new(input.ident.span(), message));
    let Data::Struct(data) = &input.data else {
        return refuse("only a struct can be a tracked row: one field for each column");
    };
    if let Some(parameter) = input.generics.params.first() {
        let message = "a tracked row is of one table, so its type has no parameters";
        return Err(Error::new_spanned(parameter, message));
    }
    match &data.fields {
        Fields::Named(fields) => Ok(fields.named.iter()),
        _ => refuse("a tracked row has named fields: they are its columns"),
    }
}

/// The timeline and the table.
fn place(attributes: &RowAttributes) -> Result<(String, String)> {
    let whole = attributes.table.value();
    let (timeline, table) = whole.split_once('.').unwrap_or((APP, &whole));
    if timeline.is_empty() || table.is_empty() {
        let message = "name a table as \"timeline.Table\", or a kind of your own as \"Kind\"";
        return Err(Error::new(attributes.table.span(), message));
    }
    Ok((timeline.to_owned(), table.to_owned()))
}

/// The groups; what they name is asked for.
fn groups(attributes: &RowAttributes, fields: &mut [Field]) -> Result<Vec<Group>> {
    let mut errors = Errors::default();
    let mut groups: Vec<Group> = Vec::new();
    for own in &attributes.groups {
        let taken = FUNCTIONS.iter().any(|function| own.name == function);
        if taken || groups.iter().any(|group| group.name == own.name) {
            let message = format!("there is a function `{}` already", own.name);
            errors.add(Error::new(own.span, message));
        }
        let mut columns = Vec::new();
        for name in &own.columns {
            match column_of_group(name, fields) {
                Ok(place) if columns.contains(&place) => {
                    errors.add(Error::new(name.span(), "this column is there already"));
                }
                Ok(place) => columns.push(place),
                Err(error) => errors.add(error),
            }
        }
        groups.push(Group { name: own.name.clone(), columns });
    }
    errors.end()?;
    for place in groups.iter().flat_map(|group| &group.columns) {
        if let Some(field) = fields.get_mut(*place) {
            field.use_ = Use::Asked;
        }
    }
    Ok(groups)
}

fn column_of_group(name: &Ident, fields: &[Field]) -> Result<usize> {
    let place = fields.iter().position(|field| field.name == *name);
    let place = place.ok_or_else(|| {
        let known = fields.iter().filter(|field| field.use_ != Use::Related);
        let known: Vec<String> = known.map(|field| format!("`{}`", field.name)).collect();
        let known = known.join(", ");
        Error::new(name.span(), format!("there is no field `{name}`; there are {known}"))
    })?;
    match fields.get(place) {
        Some(field) if field.use_ == Use::Related => {
            Err(Error::new(name.span(), "related rows are no column to ask for"))
        }
        _ => Ok(place),
    }
}

/// All that is wrong, told at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(own) => own.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn end(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
