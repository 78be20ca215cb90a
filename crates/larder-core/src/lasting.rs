//! What of dependencies outlives the process: the links under which a store finds its entries, and
//! the schemes by which those choose rows.
//!
//! Apart from [`crate::dependency`], whose digests are exact because this process notices what it
//! was told to notice. **Invariant**: a change touches one of the lasting digests whenever it
//! touches the dependency, also where nobody holds its range any more, and a set that is too long
//! is linked more widely, never less.

use std::collections::BTreeSet;

use crate::{
    dependency::{Atom, Dependency, DependencySet, Digest},
    encoding::{seal, unseal},
    error::Error,
    record::{put_dependency, take_dependency},
    value::Value,
};

const MAGIC: &[u8; 4] = b"LRS1";

impl DependencySet {
    /// The digests under which a store links an entry, sorted, each once: those of
    /// [`DependencySet::digests`], and the tables of ranges, which nobody holds in a store. If they
    /// would be more than `at_most`, rows and scopes are linked by their tables only.
    pub fn lasting_digests(&self, at_most: usize) -> Vec<Digest> {
        let is_short = self.digests().len() <= at_most;
        let mut digests = BTreeSet::new();
        if is_short {
            digests.extend(self.digests());
        }
        for dependency in self.iter().filter(|one| !is_short || one.is_held()) {
            let timeline = dependency.timeline();
            let is_narrow = matches!(dependency.atom(), Atom::Id { .. } | Atom::Scope { .. });
            if !is_narrow {
                digests.insert(dependency.digest());
            }
            // Every change of a row touches its table; what cannot be narrowed, all within it.
            if let Some(table) = dependency.about_table() {
                digests.insert(Digest::table(timeline, table));
                digests.insert(Digest::within(timeline, table));
            }
            digests.insert(Digest::everything(timeline));
        }
        digests.into_iter().collect()
    }
}

impl Dependency {
    /// What this has in common with all scopes that choose rows by the same columns and watch the
    /// same ones: to be registered in another life of the process, before anything is compared.
    /// `None` for what needs no registration, and for ranges, which a store links by their table.
    pub fn scheme(&self) -> Option<Self> {
        let Atom::Scope { table, terms, span: None, watch } = self.atom() else { return None };
        let columns = terms.iter().map(|(column, _)| (column.clone(), Value::Null));
        let scheme = Self::scope(self.timeline().clone(), table.clone(), columns);
        Some(scheme.narrow_to((None, watch.clone())))
    }

    /// The bytes of this dependency, checksum included.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_dependency(&mut out, self);
        seal(out)
    }

    /// Reads what [`Dependency::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = unseal(bytes, MAGIC, "dependency")?;
        let dependency = take_dependency(&mut reader)?;
        reader.finish()?;
        Ok(dependency)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::{
        Change, History, RowChange, Span,
        timeline::{Epoch, Position},
    };

    fn row(category: i64) -> Change {
        Change::Row(RowChange {
            table: "Article".into(),
            columns: ["category".into(), "id".into()].into(),
            key: [1].into(),
            old: None,
            new: Some(vec![category.into(), 7.into()]),
        })
    }

    /// What a change touches in a life that registered only the schemes.
    fn touched(change: Change, schemes: &DependencySet) -> Vec<Digest> {
        let mut history = History::new("shop".into(), Epoch(1), Position::START, 100);
        for scheme in schemes.iter().filter_map(Dependency::scheme) {
            history.register(&scheme);
        }
        history.apply(Position(1), &[change]).digests
    }

    fn meets(digests: &[Digest], links: &[Digest]) -> bool {
        digests.iter().any(|digest| links.contains(digest))
    }

    #[test]
    fn a_scope_is_met_in_another_life_by_its_scheme_and_only_by_its_own_rows() {
        let set: DependencySet =
            [Dependency::scope("shop", "Article", [("category", 3)])].into_iter().collect();
        let links = set.lasting_digests(100);
        assert!(meets(&touched(row(3), &set), &links));
        assert!(!meets(&touched(row(4), &set), &links));
        // Without the scheme nobody looks for it.
        assert!(!meets(&touched(row(3), &DependencySet::new()), &links));
    }

    #[test]
    fn a_range_is_met_by_its_table() {
        let all: [(&str, Value); 0] = [];
        let from = Span::between(Bound::Included(3.into()), Bound::Unbounded);
        let range = Dependency::scope("shop", "Article", all).within("category", from);
        assert_eq!(range.scheme(), None);
        let set: DependencySet = [range].into_iter().collect();
        assert!(meets(&touched(row(3), &set), &set.lasting_digests(100)));
    }

    #[test]
    fn a_long_set_is_linked_by_its_tables() {
        let ids = (0..50).map(|id: i64| Dependency::id("shop", "Article", [id]));
        let set: DependencySet = ids.chain([Dependency::tag("front")]).collect();
        let links = set.lasting_digests(10);
        assert!(links.len() <= 10, "{}", links.len());
        assert!(meets(&touched(row(3), &set), &links));
        let tag = Change::Touch(Dependency::tag("front"));
        assert!(meets(&touched(tag, &set), &links));
        let other = Change::Touch(Dependency::tag("back"));
        assert!(!meets(&touched(other, &set), &links));
    }

    #[test]
    fn a_dependency_comes_back_as_it_was() {
        let scope = Dependency::scope("shop", "Article", [("category", 3)]).watching(["price"]);
        assert_eq!(Dependency::decode(&scope.encode()).unwrap(), scope);
        assert!(Dependency::decode(&scope.encode()[1..]).is_err());
    }
}
