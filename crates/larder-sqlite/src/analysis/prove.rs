//! The proof: which rows of each table can enter, leave or change a result.
//!
//! A result of inner joins is a function of the combinations of rows that satisfy every equality at
//! the top of its conditions. So a row that fails one of them, in the place where it is used, does
//! not matter. `column = constant` says so directly; `column = column` carries the constant on, as
//! long as equality is transitive: same affinity, same bytes. **Invariant**: a scope names only
//! what every row that matters has; a name that could mean two columns means none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Operand, Scope, Term, Widening,
    catalog::{Kind, Schema, Table},
    column::Column,
    parse::{Block, Side, Source},
};

/// The scopes of each table, one for each place where it stands in `FROM`; `None` for a place
/// where any row may matter.
pub(super) type Proof = BTreeMap<Arc<str>, Vec<Option<Scope>>>;

/// Proves what it can about the tables of `block`.
pub(super) fn prove(schema: &Schema, block: &Block) -> Result<Proof, Widening> {
    let tables: Result<Vec<_>, _> =
        block.sources.iter().map(|source| find_table(schema, source)).collect();
    let places = Places::new(&block.sources, tables?, &block.using);
    let mut classes = Classes::default();
    for group in &places.groups {
        for (&left, &right) in group.members.iter().zip(group.members.iter().skip(1)) {
            let place = |source| places.within(source, &group.name);
            if let (Some(left), Some(right)) = (place(left), place(right)) {
                classes.join(&places, left, right);
            }
        }
    }
    let mut constants = Vec::new();
    for (left, right) in &block.equalities {
        match (places.resolve(left), places.resolve(right)) {
            (Meaning::Column(left), Meaning::Column(right)) => {
                classes.join(&places, left, right);
            }
            (Meaning::Column(place), Meaning::Constant(operand))
            | (Meaning::Constant(operand), Meaning::Column(place)) => {
                constants.push((place, operand));
            }
            _ => {}
        }
    }
    let mut known = HashMap::new();
    for (place, operand) in constants {
        if places.column(place).is_some_and(is_comparable) {
            known.entry(classes.root(place)).or_insert(operand);
        }
    }
    let mut proof = Proof::new();
    for (source, table) in places.tables.iter().enumerate() {
        let scope = scope_of(source, table, &classes, &known);
        proof.entry(table.name.clone()).or_default().push(scope);
    }
    Ok(proof)
}

/// Whether equal values of the column are the same bytes, and the column is stored as written.
fn is_comparable(column: &Column) -> bool {
    column.is_binary() && !column.generated
}

fn scope_of(
    source: usize,
    table: &Table,
    classes: &Classes,
    known: &HashMap<Place, &Operand>,
) -> Option<Scope> {
    let mut terms: Vec<Term> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_comparable(column))
        .filter_map(|(index, column)| {
            let equals = known.get(&classes.root(Place { source, column: index }))?;
            Some(Term { column: column.clone(), equals: (*equals).clone() })
        })
        .collect();
    terms.sort_by(|a, b| a.column.name.cmp(&b.column.name));
    (!terms.is_empty()).then_some(Scope { terms })
}

fn find_table<'a>(schema: &'a Schema, source: &Source) -> Result<&'a Arc<Table>, Widening> {
    let is_main =
        source.database.as_ref().is_none_or(|database| database.eq_ignore_ascii_case("main"));
    match schema.table(&source.table) {
        Some(table) if is_main && table.kind == Kind::Table => Ok(table),
        Some(table) if is_main && table.kind == Kind::View => Err(Widening::View),
        _ => Err(Widening::Unresolved),
    }
}

/// A column of one of the tables in `FROM`, both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    source: usize,
    column: usize,
}

/// What a side of an equality stands for.
enum Meaning<'a> {
    Column(Place),
    Constant(&'a Operand),
    Unknown,
}

/// The tables of `FROM`, and how a name finds its column among them.
struct Places<'a> {
    sources: &'a [Source],
    tables: Vec<&'a Arc<Table>>,
    groups: Vec<Group>,
}

/// Columns of one name that `USING` made one.
struct Group {
    name: String,
    members: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(sources: &'a [Source], tables: Vec<&'a Arc<Table>>, using: &[(usize, String)]) -> Self {
        let mut places = Self { sources, tables, groups: Vec::new() };
        for (right, name) in using {
            places.add_using(*right, name);
        }
        places
    }

    /// Joins `right.name` to the column of that name on the left, if that is one column.
    fn add_using(&mut self, right: usize, name: &str) {
        let left: Vec<usize> = self.sources_with(name).filter(|&source| source < right).collect();
        let is_same = |group: &&mut Group| group.name.eq_ignore_ascii_case(name);
        if let Some(group) = self.groups.iter_mut().find(is_same) {
            if group.members == left {
                group.members.push(right);
            } else {
                // Two columns of the name stand on the left: nothing is known about any of them.
                group.members.clear();
            }
        } else if let [only] = *left {
            self.groups.push(Group { name: name.to_owned(), members: vec![only, right] });
        } else {
            self.groups.push(Group { name: name.to_owned(), members: Vec::new() });
        }
    }

    fn sources_with(&self, name: &str) -> impl Iterator<Item = usize> {
        let tables = self.tables.iter().enumerate();
        tables.filter(move |(_, table)| table.column(name).is_some()).map(|(index, _)| index)
    }

    fn resolve<'b>(&self, side: &'b Side) -> Meaning<'b> {
        let (qualifier, name) = match side {
            Side::Operand(operand) => return Meaning::Constant(operand),
            Side::Name { qualifier, name } => (&**qualifier, &**name),
        };
        let source = match qualifier {
            [] => self.unqualified(name),
            [table] => self.named(|source| source.alias.as_ref().unwrap_or(&source.table), table),
            [database, table] if database.eq_ignore_ascii_case("main") => {
                let own = |source: &'a Source| match source.alias {
                    None => &*source.table,
                    Some(_) => "",
                };
                self.named(own, table)
            }
            _ => None,
        };
        source
            .and_then(|source| self.within(source, name))
            .map_or(Meaning::Unknown, Meaning::Column)
    }

    /// The one source that has a column of that name, or the first of those that `USING` made one.
    fn unqualified(&self, name: &str) -> Option<usize> {
        let sources: Vec<usize> = self.sources_with(name).collect();
        match *sources {
            [only] => Some(only),
            [] if self.sources.len() == 1 => Some(0),
            [] => None,
            [first, ..] => {
                let mut groups = self.groups.iter();
                let group = groups.find(|group| group.name.eq_ignore_ascii_case(name))?;
                (group.members == sources).then_some(first)
            }
        }
    }

    fn named<N: AsRef<str> + ?Sized + 'a>(
        &self,
        own: impl Fn(&'a Source) -> &'a N,
        name: &str,
    ) -> Option<usize> {
        let mut found = (0..)
            .zip(self.sources)
            .filter(|(_, source)| own(source).as_ref().eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    }

    /// The column of that name in a source; the names of the rowid mean its alias.
    fn within(&self, source: usize, name: &str) -> Option<Place> {
        let table = self.tables.get(source)?;
        let find = |name: &str| {
            table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
        };
        let is_rowid = || ["rowid", "_rowid_", "oid"].iter().any(|n| n.eq_ignore_ascii_case(name));
        let column = match find(name) {
            Some(column) => column,
            None if is_rowid() => find(table.rowid_alias.as_ref()?)?,
            None => return None,
        };
        Some(Place { source, column })
    }

    fn column(&self, place: Place) -> Option<&Column> {
        self.tables.get(place.source)?.columns.get(place.column)
    }
}

/// Columns that are equal in every row of the result: a forest, each column pointing at another.
#[derive(Default)]
struct Classes {
    parents: HashMap<Place, Place>,
}

impl Classes {
    fn root(&self, mut place: Place) -> Place {
        while let Some(&parent) = self.parents.get(&place) {
            place = parent;
        }
        place
    }

    /// Makes two columns one, if equality of the one carries over to the other.
    fn join(&mut self, places: &Places<'_>, left: Place, right: Place) {
        let (Some(a), Some(b)) = (places.column(left), places.column(right)) else { return };
        if !is_comparable(a) || !is_comparable(b) || a.affinity != b.affinity {
            return;
        }
        let (left, right) = (self.root(left), self.root(right));
        if left != right {
            self.parents.insert(right, left);
        }
    }
}
