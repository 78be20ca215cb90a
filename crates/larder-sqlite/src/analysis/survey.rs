//! The survey: everything known about one statement, put together.
//!
//! Two witnesses say which tables are read, the authorizer and the compiled program; the parser
//! may only narrow what both of them and it agree on. **Invariant**: a table that any witness
//! names is in the result, with every column whose change could show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_core::{Error, timeline::Name};
use rusqlite::{Connection, OptionalExtension};

use super::{
    Analysis, Rows, TableRead, Widening,
    authorizer::Reads,
    bytecode::Opened,
    catalog::{Kind, Schema, Table},
    parse::{self, Parsed},
    prove::{self, Proof},
    volatile,
};
use crate::error::from_driver;

/// Virtual tables that compute their rows from their arguments and read nothing.
const PURE: [&str; 5] = ["json_each", "json_tree", "jsonb_each", "jsonb_tree", "generate_series"];

/// Analyses `sql` within the transaction that `connection` is in.
pub(super) fn analyse(
    connection: &mut Connection,
    timeline: &Name,
    sql: &str,
) -> Result<Analysis, Error> {
    let schema = Schema::read(connection)?;
    let reads = Reads::collect(connection, sql)?;
    let opened = Opened::collect(connection, sql)?;
    let parsed = parse::parse(sql);
    let survey = Survey { schema: &schema, reads: &reads, opened: &opened, parsed: &parsed };
    let views = survey.views();
    let tables = survey.tables();
    let proof = survey.proof(&views, &tables);
    let reads_of = tables.values().map(|table| TableRead {
        table: table.name.clone(),
        key: table.primary_key.clone(),
        columns: survey.columns(table, &views),
        rows: rows(&proof, table),
    });
    let tables = reads_of.collect();
    let row_sources = survey.row_sources(&proof);
    let rows_of = survey.rows_of(&proof);
    let untrackable = survey.untrackable();
    let mut texts = view_texts(connection, &views)?;
    texts.push(parsed);
    Ok(Analysis {
        timeline: timeline.clone(),
        tables,
        untrackable,
        row_sources,
        rows_of,
        time_dependent: volatile::reason(connection, &reads, &texts)?,
        parameters: reads.parameters.iter().map(|name| name.as_str().into()).collect(),
    })
}

struct Survey<'a> {
    schema: &'a Schema,
    reads: &'a Reads,
    opened: &'a Opened,
    parsed: &'a Option<Parsed>,
}

impl Survey<'_> {
    /// Every name that a witness gave, whatever it stands for.
    fn names(&self) -> impl Iterator<Item = &String> {
        self.reads.tables.keys().chain(self.opened.tables.keys())
    }

    /// The views that are read, directly or through another.
    fn views(&self) -> Vec<Arc<str>> {
        let names = self.names().chain(&self.reads.accessors);
        let tables = names.filter_map(|name| self.schema.table(name));
        let views = tables.filter(|table| table.kind == Kind::View);
        let views: BTreeSet<Arc<str>> = views.map(|table| table.name.clone()).collect();
        views.into_iter().collect()
    }

    /// The ordinary tables that are read, by declared name.
    fn tables(&self) -> BTreeMap<Arc<str>, Arc<Table>> {
        let tables = self.names().filter_map(|name| self.schema.table(name));
        let tables = tables.filter(|table| table.kind == Kind::Table);
        tables.map(|table| (table.name.clone(), Arc::clone(table))).collect()
    }

    /// What can be proven, provided that all witnesses see the same tables.
    fn proof(
        &self,
        views: &[Arc<str>],
        tables: &BTreeMap<Arc<str>, Arc<Table>>,
    ) -> Result<Proof, Widening> {
        let parsed = self.parsed.as_ref().ok_or(Widening::NotParsed)?;
        if !views.is_empty() {
            return Err(Widening::View);
        }
        if self.reads.has_ambiguous_parameters {
            return Err(Widening::AmbiguousParameters);
        }
        let block = parsed.block.as_ref().map_err(|widening| *widening)?;
        let proof = prove::prove(self.schema, block)?;
        if !proof.keys().eq(tables.keys()) {
            return Err(Widening::Disagreement);
        }
        Ok(proof)
    }

    /// See [`Analysis::row_sources`].
    fn row_sources(&self, proof: &Result<Proof, Widening>) -> Vec<Arc<str>> {
        let block = self.parsed.as_ref().and_then(|parsed| parsed.block.as_ref().ok());
        let is_row_by_row = block.is_some_and(|block| block.is_row_by_row);
        // For each place in `FROM` the proof has what it knows of the rows there.
        let proof = proof.iter().filter(|_| is_row_by_row).flatten();
        let once = proof.filter(|(_, places)| places.len() == 1);
        once.map(|(table, _)| table.clone()).collect()
    }

    /// See [`Analysis::rows_of`].
    fn rows_of(&self, proof: &Result<Proof, Widening>) -> Option<Arc<str>> {
        let block = self.parsed.as_ref()?.block.as_ref().ok()?;
        let is_alone = block.sources.len() == 1 && block.is_row_by_row && !block.has_condition;
        let mut sources = self.row_sources(proof).into_iter();
        sources.next().filter(|_| is_alone)
    }

    /// Every column whose change can change the result.
    ///
    /// The key and the columns of the indexes in use are among them even if nothing reads them:
    /// they decide the order in which rows are met, and so which rows a `LIMIT` keeps.
    fn columns(&self, table: &Table, views: &[Arc<str>]) -> Vec<Arc<str>> {
        let named = |name: &&String| name.eq_ignore_ascii_case(&table.name);
        let reported: Vec<&BTreeSet<String>> = self
            .reads
            .tables
            .iter()
            .filter(|(name, _)| named(name))
            .map(|(_, columns)| columns)
            .collect();
        let used = |name: &str| reported.iter().any(|columns| columns.contains(name));
        let is_guess = self.parsed.as_ref().is_none_or(|parsed| parsed.is_natural)
            || !views.is_empty()
            || table.columns.iter().any(|column| column.generated && used(&column.name));
        let using = self.parsed.iter().flat_map(|parsed| &parsed.using);
        let using: Vec<&String> = using.collect();
        let indexes = self.opened.tables.get(&*table.name);
        let ordered = table
            .indexes
            .iter()
            .filter(|index| indexes.is_some_and(|opened| opened.contains(&*index.name)));
        let ordered: Vec<_> = ordered.collect();
        let is_guess = is_guess || ordered.iter().any(|index| index.expression || index.partial);
        let mut columns: Vec<Arc<str>> = table
            .columns
            .iter()
            .map(|column| column.name.clone())
            .filter(|name| {
                is_guess
                    || used(name)
                    || table.primary_key.contains(name)
                    || using.iter().any(|column| column.eq_ignore_ascii_case(name))
                    || ordered.iter().flat_map(|i| &i.columns).any(|part| part.name == *name)
            })
            .collect();
        columns.sort();
        columns
    }

    /// What no trigger can watch.
    fn untrackable(&self) -> Vec<Arc<str>> {
        let mut found: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut pure = 0;
        for name in self.names() {
            match self.schema.table(name) {
                Some(table) if matches!(table.kind, Kind::Table | Kind::View) => {}
                Some(table) => {
                    found.insert(table.name.clone());
                }
                None if name.to_ascii_lowercase().starts_with("sqlite_")
                    || volatile::is_pragma(name) =>
                {
                    found.insert(name.as_str().into());
                }
                None if PURE.contains(&&**name) && !self.reads.accessors.contains(name) => {
                    pure += 1;
                }
                // A common table expression, or a virtual table that is counted below.
                None => {}
            }
        }
        found.extend(self.reads.foreign.iter().map(|name| Arc::from(name.as_str())));
        if self.opened.has_foreign {
            found.insert("something outside the main database".into());
        }
        if pure < self.opened.virtual_tables && found.is_empty() {
            found.insert("a virtual table".into());
        }
        for (name, columns) in &self.reads.tables {
            let table = self.schema.table(name).filter(|table| table.kind == Kind::Table);
            // The rowid of a table that has no other name for it: no UPDATE trigger can name it.
            let unknown = |table: &&Arc<Table>| columns.iter().any(|c| table.column(c).is_none());
            if let Some(table) = table.filter(unknown) {
                found.insert(format!("{}.rowid", table.name).into());
            }
        }
        found.into_iter().collect()
    }
}

/// The rows of a table that matter: all of them as soon as any may matter in one of its places.
fn rows(proof: &Result<Proof, Widening>, table: &Table) -> Rows {
    match proof {
        Err(widening) => Rows::All(*widening),
        Ok(proof) => match proof.get(&table.name).map(|scopes| scopes.iter().cloned().collect()) {
            Some(Some(scopes)) => Rows::Within(scopes),
            Some(None) => Rows::All(Widening::NoCondition),
            None => Rows::All(Widening::Disagreement),
        },
    }
}

fn view_texts(connection: &Connection, views: &[Arc<str>]) -> Result<Vec<Option<Parsed>>, Error> {
    let read = |name: &Arc<str>| {
        connection
            .query_row(
                "SELECT sql FROM main.sqlite_schema WHERE type = 'view' AND name = ?1",
                [&**name],
                |row| row.get::<_, String>(0),
            )
            .optional()
    };
    let texts: rusqlite::Result<Vec<_>> = views.iter().map(read).collect();
    let texts = texts.map_err(|error| from_driver("read", "the text of a view", &error))?;
    Ok(texts.into_iter().map(|text| parse::parse(&text?)).collect())
}
