//! The meaning: what changes of the origin mean for a table, by all of its rules.
//!
//! Apart from the sink, because a table that begins with a file asks it as well. **Invariant**: a
//! change of which no rule can tell precisely what it means puts everything in doubt.

use std::sync::{Arc, atomic::Ordering};

use larder_core::{
    change::{Change, RowChange},
    dependency::{Atom, Dependency},
    safeguard::Safeguard,
};

use super::{
    followed::Hearing,
    rules::Rule,
    told::{Certainty, Told},
};
use crate::{content::PRIMARY, index::IndexKey, record::Record, table::Table};

/// What changes of the origin mean here.
pub(crate) struct Meaning<R: Record> {
    pub(super) rules: Vec<(Arc<str>, Rule<R>)>,
    pub(super) hearing: Hearing,
}

impl<R: Record> Meaning<R> {
    /// What the rules make of `changes` for `table`.
    pub(crate) fn told<W: IndexKey>(&self, table: &Table<R, W>, changes: &[Change]) -> Told<R> {
        let mut told = Told::default();
        for change in changes {
            told.everything |= match change {
                Change::Row(row) => self.tell(row, Certainty::Exact, &mut told),
                Change::Perhaps(row) => self.tell(row, Certainty::Perhaps, &mut told),
                // Whoever does not know how a row was cannot say which records it was in.
                Change::After(after) => self.speaks_of(&after.row.table),
                Change::Touch(named) => self.names_rows(named),
            };
        }
        told.name_doubted(|| table.lane(PRIMARY).can_load());
        told.everything &= !Safeguard::UnsaidWidened.is_off();
        told
    }

    /// Goes by all rules, and not only up to the first that cannot tell; whether one could not.
    fn tell(&self, row: &RowChange, certainty: Certainty, told: &mut Told<R>) -> bool {
        let rules = self.rules.iter().filter(|(table, _)| *table == row.table);
        rules.fold(false, |lost, (_, rule)| told.add(rule, row, certainty).is_none() || lost)
    }

    /// Whether a rule speaks of this table.
    fn speaks_of(&self, table: &str) -> bool {
        self.rules.iter().any(|(own, _)| **own == *table)
    }

    /// Whether this is the name of what is not watched, and some of that was read.
    fn has_read_unwatched(&self, table: &str) -> bool {
        match &self.hearing {
            Hearing::Expected => false,
            Hearing::OfOrigin { unwatched, is_read } => {
                **unwatched == *table && is_read.load(Ordering::SeqCst)
            }
        }
    }

    /// Whether what is touched by name may be rows that a rule speaks of.
    pub(super) fn names_rows(&self, named: &Dependency) -> bool {
        match named.atom() {
            Atom::Everything => true,
            Atom::Table(table) | Atom::Id { table, .. } | Atom::Scope { table, .. } => {
                self.speaks_of(table) || self.has_read_unwatched(table)
            }
            Atom::Tag { .. } => false,
        }
    }
}
