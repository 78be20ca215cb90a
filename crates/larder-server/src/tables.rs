//! The tables of an origin at one moment: from names and values as people write them to
//! dependencies and rows in the form in which they are looked for.
//!
//! It stands apart from `origin.rs`, which asks; here nothing is asked. **Invariant**: a name gets
//! the spelling and a value the form that the origin's own changes have, or is an error; nothing
//! that would silently match nothing passes.

use std::{ops::Bound, sync::Arc};

use larder::{Condition, Dependency, RowChange, Span, Value};
use larder_sqlite::analysis::{Affinity, Kind, Schema, Table};

use crate::{
    config::Tracking,
    items::{self, Conditions, ITEMS_MAX},
    rows::Images,
};

/// The tables of an origin at one moment.
#[derive(Clone, Debug)]
pub struct Tables {
    origin: String,
    track: Tracking,
    schema: Arc<Schema>,
}

impl Tables {
    /// Those of the origin of that name.
    pub fn new(origin: &str, track: Tracking, schema: Arc<Schema>) -> Self {
        Self { origin: origin.to_owned(), track, schema }
    }

    /// Whether answers remember what they were built from.
    pub fn is_tracked(&self) -> bool {
        self.track != Tracking::None
    }

    /// Whether there is a table of that name.
    pub fn has(&self, table: &str) -> bool {
        self.schema.table(table).is_some()
    }

    /// A row as a dependency, its key brought to the types of the table.
    pub fn id(&self, table: &str, key: Vec<Value>) -> Result<Dependency, String> {
        let table = self.find(table)?;
        let columns = &table.primary_key;
        if columns.len() != key.len() || key.is_empty() {
            return Err(format!(
                "the primary key of {} is ({}), {} values were given",
                table.name,
                columns.join(", "),
                key.len()
            ));
        }
        let mut values = Vec::with_capacity(key.len());
        for (column, value) in columns.iter().zip(key) {
            values.push(self.converted(table, column, value)?);
        }
        Ok(Dependency::id(&*self.origin, table.name.clone(), values))
    }

    /// All rows that meet the conditions, as dependencies: one for each combination of what lists
    /// hold.
    pub fn scope(&self, table: &str, written: Conditions) -> Result<Vec<Dependency>, String> {
        let table = self.find(table)?;
        let mut conditions = Vec::with_capacity(written.len());
        for (column, condition) in written {
            let column = own_column(table, &column)?;
            let condition = self.condition(table, &column, condition)?;
            conditions.push((column, condition));
        }
        let (combinations, span) = items::combinations(conditions, ITEMS_MAX)?;
        let each = combinations.into_iter().map(|terms| {
            // A scope over exactly the primary key is a row, and is looked for under that name.
            let of = |column: &Arc<str>| terms.iter().find(|(own, _)| own == column);
            let key: Option<Vec<Value>> =
                table.primary_key.iter().map(|column| Some(of(column)?.1.clone())).collect();
            let name = table.name.clone();
            match (&span, key) {
                (None, Some(key)) if key.len() == terms.len() => {
                    Dependency::id(&*self.origin, name, key)
                }
                (None, _) => Dependency::scope(&*self.origin, name, terms),
                (Some((column, span)), _) => Dependency::scope(&*self.origin, name, terms)
                    .within(column.clone(), span.clone()),
            }
        });
        Ok(each.collect())
    }

    /// A whole table as a dependency.
    pub fn table(&self, table: &str) -> Result<Dependency, String> {
        Ok(Dependency::table(&*self.origin, self.find(table)?.name.clone()))
    }

    /// A row before and after a change, whole or in part: what both images name.
    pub fn row(&self, table: &str, images: Images<'_>) -> Result<RowChange, String> {
        let table = self.find(table)?;
        if table.kind != Kind::Table {
            return Err(format!("{} has no rows of its own; name the tables beneath", table.name));
        }
        images.into_row(&table.name, &table.primary_key, |column, value| {
            let column = own_column(table, column)?;
            let value = self.converted(table, &column, value)?;
            Ok((column, value))
        })
    }

    /// The names of columns as the table spells them.
    pub fn columns(&self, table: &str, names: &[String]) -> Result<Vec<Arc<str>>, String> {
        let table = self.find(table)?;
        names.iter().map(|name| own_column(table, name)).collect()
    }

    fn find(&self, table: &str) -> Result<&Arc<Table>, String> {
        self.schema.table(table).ok_or_else(|| {
            let shown: String = table.chars().take(64).collect();
            format!("the origin `{}` has no table `{shown}`", self.origin)
        })
    }

    fn condition(
        &self,
        table: &Table,
        column: &str,
        condition: Condition,
    ) -> Result<Condition, String> {
        let converted = |value| self.converted(table, column, value);
        let bound = |bound| {
            Ok::<_, String>(match bound {
                Bound::Included(value) => Bound::Included(converted(value)?),
                Bound::Excluded(value) => Bound::Excluded(converted(value)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok(match condition {
            Condition::AnyOf(values) => {
                let values = values.into_iter().map(converted).collect::<Result<_, _>>()?;
                Condition::AnyOf(values)
            }
            Condition::Within(Span { low, high, nulls }) => {
                Condition::Within(Span { low: bound(low)?, high: bound(high)?, nulls })
            }
        })
    }

    /// The value as the column holds it; one that it cannot hold is a mistake of the sender.
    fn converted(&self, table: &Table, column: &str, value: Value) -> Result<Value, String> {
        let given = value.type_name();
        let refused = || format!("a {given} like this cannot be in {}.{column}", table.name);
        let own = table.column(column).ok_or_else(refused)?;
        let is_rowid = table.rowid_alias.as_deref() == Some(column);
        let converted = self.schema.convert(&table.name, column, value).map_err(|_| refused())?;
        let numeric =
            matches!(own.affinity, Affinity::Integer | Affinity::Real | Affinity::Numeric);
        match &converted {
            Value::Integer(_) => Ok(converted),
            _ if is_rowid => Err(refused()),
            Value::Null if own.not_null => Err(refused()),
            // SQLite would store it, but hardly anybody means that.
            Value::Text(_) | Value::Blob(_) if numeric => Err(refused()),
            _ => Ok(converted),
        }
    }
}

fn own_column(table: &Table, column: &str) -> Result<Arc<str>, String> {
    let own = table.column(column).map(|own| own.name.clone());
    own.ok_or_else(|| {
        let shown: String = column.chars().take(64).collect();
        format!("{} has no column `{shown}`", table.name)
    })
}
