//! Scopes as they are asked for: several conditions, of which lists give several dependencies.
//!
//! It stands apart from [`crate::dependency`] because one scope with lists is many dependencies.
//! **Invariant**: every row that a query with these conditions could return lies in one of them;
//! what cannot be said so (a second range) is left out, which is wider.

use std::{collections::HashSet, ops::Bound, sync::Arc};

use crate::{
    condition::Condition,
    dependency::Dependency,
    error::{Error, ErrorKind},
    safeguard::Safeguard,
    span::{Nulls, Span},
    timeline::Name,
    tracked::DependsOn,
    value::Value,
};

/// Dependencies that the lists of one scope may multiply to; beyond it the longest list is left
/// out. A query with more than this in `IN` lists is better served by the wider scope.
const COMBINATIONS_MAX: usize = 1024;

/// In which order a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A scope in the making, by names; [`crate::Tracked`] types have one with a method for each
/// column.
#[must_use]
#[derive(Clone, Debug)]
pub struct Scope {
    timeline: Name,
    table: Arc<str>,
    lists: Vec<(Arc<str>, Vec<Value>)>,
    span: Option<(Arc<str>, Span)>,
    watching: Option<Vec<Arc<str>>>,
    /// Every column that decides what is in the list and where, also those that will be left out.
    decided_by: Vec<Arc<str>>,
}

impl Scope {
    /// Every row of `table`.
    pub fn of(timeline: impl Into<Name>, table: impl Into<Arc<str>>) -> Self {
        let (timeline, table) = (timeline.into(), table.into());
        let (lists, decided_by) = (Vec::new(), Vec::new());
        Self { timeline, table, lists, span: None, watching: None, decided_by }
    }

    /// Only rows whose `column` meets `condition`.
    ///
    /// Two ranges of one column are taken as the values in both. Of ranges of two columns the first
    /// is kept, and of two lists for one column, which is wider than both.
    pub fn with(mut self, column: impl Into<Arc<str>>, condition: Condition) -> Self {
        let column = column.into();
        self.decided_by.push(column.clone());
        match condition {
            Condition::AnyOf(mut values) => {
                if self.lists.iter().all(|(own, _)| *own != column) {
                    let mut seen = HashSet::new();
                    values.retain(|value| seen.insert(value.clone()));
                    self.lists.push((column, values));
                }
            }
            Condition::Within(span) => match &mut self.span {
                Some((own_column, own)) if *own_column == column => own.narrow(span),
                Some(_) => {}
                none => *none = Some((column, span)),
            },
        }
        self
    }

    /// A row that stays matters only where one of these columns changes.
    pub fn watching<C: Into<Arc<str>>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.watching = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Only what enters or leaves matters: for a count, or beside the ids of the rows.
    pub fn membership(self) -> Self {
        self.watching::<Arc<str>>([])
    }

    /// The first `limit` rows by `column`, of which `found` came back and `last` is the column's
    /// value in the last of them: a full page depends on the rows up to it, ties included; a short
    /// page on the whole scope, and so does one that ends with a row without a value.
    pub fn page(
        mut self,
        column: impl Into<Arc<str>>,
        order: Order,
        limit: usize,
        found: usize,
        last: Option<Value>,
    ) -> Self {
        let column = column.into();
        self.decided_by.push(column.clone());
        let bound = match last {
            Some(last) if limit <= found && Safeguard::PageHoldsLastRow.is_off() => {
                Bound::Excluded(last)
            }
            // Rows without a value stand at one end of the list: which one differs by database.
            Some(last) if limit <= found && last != Value::Null => Bound::Included(last),
            _ => return self,
        };
        let (low, high) = match order {
            Order::Ascending => (Bound::Unbounded, bound),
            Order::Descending => (bound, Bound::Unbounded),
        };
        self.with(column, Condition::Within(Span { low, high, nulls: Nulls::Inside }))
    }

    /// The lists that are kept so that their combinations stay within the limit.
    fn kept(mut lists: Vec<(Arc<str>, Vec<Value>)>) -> Vec<(Arc<str>, Vec<Value>)> {
        let combinations = |lists: &[(Arc<str>, Vec<Value>)]| {
            lists.iter().fold(1usize, |product, (_, list)| product.saturating_mul(list.len()))
        };
        while COMBINATIONS_MAX < combinations(&lists) {
            let longest = lists.iter().enumerate().max_by_key(|(_, (_, list))| list.len());
            let Some((place, _)) = longest else { break };
            lists.swap_remove(place);
        }
        lists
    }
}

impl DependsOn for Scope {
    fn each(self, add: &mut dyn FnMut(Dependency)) -> Result<(), Error> {
        let Self { timeline, table, lists, span, watching, decided_by } = self;
        if let Some((column, _)) = lists.iter().find(|(_, list)| list.is_empty()) {
            return Err(Error::new(ErrorKind::Config, "depend on a scope")
                .subject(format!("`{table}.{column}`"))
                .detail("it asks for any of no values, which no row ever has; leave it out"));
        }
        let lists = Self::kept(lists);
        // What is left out still decides: a row may enter or leave by it, or change its place.
        let watching = watching.map(|mut columns| {
            let is_said = |column: &Arc<str>| {
                lists
                    .iter()
                    .map(|(own, _)| own)
                    .chain(span.iter().map(|(own, _)| own))
                    .any(|own| own == column)
            };
            columns.extend(decided_by.into_iter().filter(|column| !is_said(column)));
            columns
        });
        let mut combinations = vec![Vec::new()];
        for (column, list) in &lists {
            combinations = combinations
                .iter()
                .flat_map(|terms: &Vec<(Arc<str>, Value)>| {
                    list.iter().map(move |value| {
                        let mut terms = terms.clone();
                        terms.push((column.clone(), value.clone()));
                        terms
                    })
                })
                .collect();
        }
        for terms in combinations {
            let mut dependency = Dependency::scope(timeline.clone(), table.clone(), terms);
            if let Some((column, span)) = &span {
                dependency = dependency.within(column.clone(), span.clone());
            }
            if let Some(columns) = &watching {
                dependency = dependency.watching(columns.iter().cloned());
            }
            add(dependency);
        }
        Ok(())
    }
}
