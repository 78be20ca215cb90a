//! The statement's text, reduced to what a proof may use. Nobody else knows the SQL parser.
//!
//! The parser is not SQLite's own, so it is trusted for one thing only: to find equalities that
//! stand at the top of `WHERE` or of an inner join's condition in a single `SELECT` over plain
//! tables. **Invariant**: a node that is not known here by name, and empty in every clause that
//! SQLite does not have, yields a [`Widening`] or no equality, never a guess.

use std::{collections::BTreeSet, ops::ControlFlow};

use larder_core::Value;
use sqlparser::{
    ast::{
        BinaryOperator, Expr, Function, FunctionArguments, GroupByExpr, Ident, Join,
        JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr,
        Statement, TableFactor, UnaryOperator, Value as Literal, Visit, Visitor, visit_expressions,
    },
    dialect::SQLiteDialect,
    parser::Parser,
};

use super::{
    Operand, Widening,
    number::{self, Reading},
};

/// What the text says.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The tables and equalities, or why no proof is possible.
    pub(super) block: Result<Block, Widening>,
    /// Columns that some `USING` anywhere in the text compares.
    pub(super) using: BTreeSet<String>,
    /// Whether there is a `NATURAL` join anywhere.
    pub(super) is_natural: bool,
    /// The calls of functions for date and time.
    pub(super) clocks: Vec<ClockCall>,
}

/// A call of a function that reads the clock if its arguments say so.
#[derive(Debug)]
pub(super) struct ClockCall {
    /// The function, in lower case.
    pub(super) function: String,
    /// Whether the clock, or the machine's time zone, may be read.
    pub(super) reads_clock: bool,
}

/// One `SELECT` over plain tables that are joined by inner joins only.
#[derive(Debug)]
pub(super) struct Block {
    /// The tables in the order of `FROM`.
    pub(super) sources: Vec<Source>,
    /// Equalities that every row of the result satisfies.
    pub(super) equalities: Vec<(Side, Side)>,
    /// For each `USING` column: the place of the table on the right, and the name.
    pub(super) using: Vec<(usize, String)>,
    /// Whether each row of the result is one row of each source, and shows columns of them as they
    /// are.
    pub(super) is_row_by_row: bool,
    /// Whether there is a condition on the rows, in `WHERE` or in a join.
    pub(super) has_condition: bool,
}

/// A table in `FROM`.
#[derive(Debug)]
pub(super) struct Source {
    /// The database, if it is named.
    pub(super) database: Option<String>,
    /// The table as written.
    pub(super) table: String,
    /// The other name it is given.
    pub(super) alias: Option<String>,
}

/// One side of an equality.
#[derive(Debug)]
pub(super) enum Side {
    /// A name, with what stands before its dots.
    Name {
        /// At most database and table.
        qualifier: Vec<String>,
        /// The column.
        name: String,
    },
    /// A parameter or a literal.
    Operand(Operand),
}

/// Parses `sql`; `None` when the parser does not understand it.
pub(super) fn parse(sql: &str) -> Option<Parsed> {
    let statements = Parser::parse_sql(&SQLiteDialect {}, sql).ok()?;
    let [statement] = &*statements else { return None };
    let mut survey = Survey::default();
    let _: ControlFlow<()> = statement.visit(&mut survey);
    let block = match statement {
        Statement::Query(query) if survey.queries == 1 => read_query(query),
        Statement::Query(query) => Err(match *query.body {
            SetExpr::SetOperation { .. } => Widening::SetOperation,
            _ => Widening::Subquery,
        }),
        _ => Err(Widening::NotParsed),
    };
    let Survey { using, is_natural, clocks, .. } = survey;
    Some(Parsed { block, using, is_natural, clocks })
}

/// Walks over the whole statement, subqueries and all.
#[derive(Default)]
struct Survey {
    queries: usize,
    using: BTreeSet<String>,
    is_natural: bool,
    clocks: Vec<ClockCall>,
}

impl Visitor for Survey {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.from {
            self.note_joins(&item.joins);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.note_joins(&table_with_joins.joins);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let name = function.name.to_string().to_ascii_lowercase();
            if super::volatile::CLOCKS.contains(&&*name) {
                let reads_clock = reads_clock(&name, function);
                self.clocks.push(ClockCall { function: name, reads_clock });
            }
        }
        ControlFlow::Continue(())
    }
}

impl Survey {
    fn note_joins(&mut self, joins: &[Join]) {
        for join in joins {
            match constraint(&join.join_operator) {
                Some(JoinConstraint::Using(columns)) => {
                    let names = columns.iter().filter_map(only_part);
                    self.using.extend(names.map(|name| name.value.clone()));
                }
                Some(JoinConstraint::On(_) | JoinConstraint::None) => {}
                Some(JoinConstraint::Natural) | None => self.is_natural = true,
            }
        }
    }
}

/// Whether a call's arguments may make it read the clock or the machine's time zone.
///
/// A value from a column is taken for a point in time; what a client sends may be the word `now`.
fn reads_clock(name: &str, function: &Function) -> bool {
    const WORDS: [&str; 4] = ["now", "localtime", "utc", "subsec"];
    let FunctionArguments::List(list) = &function.args else { return true };
    let wanted = if name == "strftime" { 2 } else { 1 };
    if list.args.len() < wanted {
        return true;
    }
    let has_word = |text: &str| {
        let text = text.to_ascii_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    };
    let found = visit_expressions(&list.args, |expr| {
        let is_clock = match expr {
            Expr::Value(value) => match &value.value {
                Literal::Placeholder(_) => true,
                Literal::SingleQuotedString(text) => has_word(text),
                _ => false,
            },
            // SQLite takes a quoted name that is no column for a string.
            Expr::Identifier(name) => name.quote_style.is_some() && has_word(&name.value),
            _ => false,
        };
        if is_clock { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// The constraint of a join that is an inner or an outer join of SQLite's.
fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn read_query(query: &Query) -> Result<Block, Widening> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    if with.is_some() {
        return Err(Widening::Subquery);
    }
    let is_foreign = fetch.is_some()
        || !locks.is_empty()
        || for_clause.is_some()
        || settings.is_some()
        || format_clause.is_some()
        || !pipe_operators.is_empty();
    match &**body {
        _ if is_foreign => Err(Widening::NotParsed),
        SetExpr::Select(select) => {
            let block = read_select(select)?;
            // A sum in ORDER BY makes one row of all; a limit lets other rows in.
            let is_plain = order_by.is_none() && limit_clause.is_none();
            Ok(Block { is_row_by_row: is_plain && shows_columns(select), ..block })
        }
        SetExpr::SetOperation { .. } | SetExpr::Values(_) => Err(Widening::SetOperation),
        _ => Err(Widening::NotParsed),
    }
}

fn read_select(select: &Select) -> Result<Block, Widening> {
    let is_foreign = select.top.is_some()
        || select.select_modifiers.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || select.prewhere.is_some()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.flavor != SelectFlavor::Standard
        || !select.lateral_views.is_empty()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty();
    if is_foreign {
        return Err(Widening::NotParsed);
    }
    let (sources, equalities, using) = (Vec::new(), Vec::new(), Vec::new());
    let has_condition = select.selection.is_some();
    let mut block = Block { sources, equalities, using, is_row_by_row: false, has_condition };
    for item in &select.from {
        block.sources.push(read_source(&item.relation)?);
        for join in &item.joins {
            block.sources.push(read_source(&join.relation)?);
            block.add_join(join)?;
        }
    }
    if let Some(condition) = &select.selection {
        block.add_condition(condition);
    }
    Ok(block)
}

/// Whether rows are neither put together nor left out as doubles, and nothing is computed of them.
fn shows_columns(select: &Select) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let is_shown = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => is_column(expr),
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::ExprWithAliases { .. } => false,
    };
    let is_grouped = match &select.group_by {
        GroupByExpr::Expressions(columns, modifiers) => {
            !columns.is_empty() || !modifiers.is_empty()
        }
        GroupByExpr::All(_) => true,
    };
    let is_whole = select.distinct.is_none() && select.having.is_none() && !is_grouped;
    is_whole && select.named_window.is_empty() && select.projection.iter().all(is_shown)
}

impl Block {
    fn add_join(&mut self, join: &Join) -> Result<(), Widening> {
        let constraint = match &join.join_operator {
            _ if join.global => return Err(Widening::NotParsed),
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint) => constraint,
            JoinOperator::Left(_)
            | JoinOperator::LeftOuter(_)
            | JoinOperator::Right(_)
            | JoinOperator::RightOuter(_)
            | JoinOperator::FullOuter(_) => return Err(Widening::OuterJoin),
            _ => return Err(Widening::NotParsed),
        };
        self.has_condition |= !matches!(constraint, JoinConstraint::None);
        match constraint {
            JoinConstraint::On(condition) => self.add_condition(condition),
            JoinConstraint::Using(columns) => {
                let right = self.sources.len().saturating_sub(1);
                for column in columns {
                    let name = only_part(column).ok_or(Widening::NotParsed)?;
                    self.using.push((right, name.value.clone()));
                }
            }
            JoinConstraint::Natural => return Err(Widening::NaturalJoin),
            JoinConstraint::None => {}
        }
        Ok(())
    }

    /// Adds the equalities that follow from `condition` being true.
    fn add_condition(&mut self, condition: &Expr) {
        match condition {
            Expr::Nested(inner) => self.add_condition(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.add_condition(left);
                self.add_condition(right);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                if let (Some(left), Some(right)) = (read_side(left), read_side(right)) {
                    self.equalities.push((left, right));
                }
            }
            _ => {}
        }
    }
}

fn read_source(factor: &TableFactor) -> Result<Source, Widening> {
    let TableFactor::Table {
        name,
        alias,
        args,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_hints,
    } = factor
    else {
        return Err(Widening::Subquery);
    };
    if args.is_some() {
        return Err(Widening::TableFunction);
    }
    let is_plain = with_hints.is_empty()
        && version.is_none()
        && !with_ordinality
        && partitions.is_empty()
        && json_path.is_none()
        && sample.is_none()
        && index_hints.is_empty()
        && alias.as_ref().is_none_or(|alias| alias.columns.is_empty() && alias.at.is_none());
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    let (database, table) = match parts.as_deref() {
        _ if !is_plain => return Err(Widening::NotParsed),
        Some([table]) => (None, table.value.clone()),
        Some([database, table]) => (Some(database.value.clone()), table.value.clone()),
        _ => return Err(Widening::NotParsed),
    };
    let alias = alias.as_ref().map(|alias| alias.name.value.clone());
    Ok(Source { database, table, alias })
}

fn read_side(expr: &Expr) -> Option<Side> {
    match expr {
        Expr::Nested(inner) => read_side(inner),
        Expr::Identifier(name) => {
            Some(Side::Name { qualifier: Vec::new(), name: name.value.clone() })
        }
        Expr::CompoundIdentifier(parts) => {
            let (name, qualifier) = parts.split_last()?;
            let qualifier = qualifier.iter().map(|part| part.value.clone()).collect();
            Some(Side::Name { qualifier, name: name.value.clone() })
        }
        Expr::Value(value) => read_literal(&value.value, "").map(Side::Operand),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(value) if matches!(value.value, Literal::Number(..)) => {
                read_literal(&value.value, "-").map(Side::Operand)
            }
            _ => None,
        },
        _ => None,
    }
}

fn read_literal(literal: &Literal, sign: &str) -> Option<Operand> {
    let value = match literal {
        Literal::Placeholder(name) => {
            let name = name.strip_prefix([':', '@', '$'])?;
            return Some(Operand::Parameter(name.into()));
        }
        Literal::Number(digits, false) => match number::read(&format!("{sign}{digits}")) {
            Reading::Number(value) => value,
            Reading::NotANumber | Reading::Unsure => return None,
        },
        Literal::SingleQuotedString(text) => Value::from(&**text),
        // The parser's hex literal may be the blob x'10' or the integer 0x10: it proves nothing.
        _ => return None,
    };
    Some(Operand::Literal(value))
}

fn only_part(name: &ObjectName) -> Option<&Ident> {
    match &*name.0 {
        [part] => part.as_ident(),
        _ => None,
    }
}
