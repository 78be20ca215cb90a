//! Random resources: the grammar that can be narrowed, and everything around it that cannot.
//!
//! Many texts are refused by SQLite (an ambiguous name, a type error); those are thrown away. What
//! remains is meant to look provable as often as it is.

use larder_core::Value;

use crate::{
    random::Random,
    schema::{Schema, value},
};

/// A statement and the values it is asked with.
#[derive(Clone, Debug)]
pub struct Resource {
    pub sql: String,
    pub parameters: Vec<(String, Value)>,
}

struct Source {
    alias: String,
    columns: Vec<String>,
}

impl Resource {
    pub fn random(random: &mut Random, schema: &Schema) -> Self {
        let mut writer = Writer { random, schema, parameters: Vec::new(), sources: Vec::new() };
        let sql = match writer.random.below(24) {
            0 => format!("{} UNION ALL {}", writer.select("a"), writer.select("b")),
            1 => format!("{} EXCEPT {}", writer.select("a"), writer.select("b")),
            2 => format!("WITH q AS ({}) SELECT * FROM q", writer.select("g")),
            3 => format!("SELECT * FROM ({}) WHERE g = 1", writer.select("g")),
            _ => {
                let result = writer.result();
                let core = writer.select(&result);
                let tail = writer.tail();
                format!("{core}{tail}")
            }
        };
        let used = |(name, _): &(String, Value)| sql.contains(&format!(":{name}"));
        let parameters = writer.parameters.into_iter().filter(used).collect();
        Self { sql, parameters }
    }
}

struct Writer<'a> {
    random: &'a mut Random,
    schema: &'a Schema,
    parameters: Vec<(String, Value)>,
    sources: Vec<Source>,
}

impl Writer<'_> {
    fn select(&mut self, result: &str) -> String {
        let (from, mut conditions) = self.from();
        for _ in 0..*self.random.pick(&[0, 1, 1, 1, 2, 2, 3]) {
            conditions.push(self.condition(2));
        }
        let mut sql = format!("SELECT {result} FROM {from}");
        if !conditions.is_empty() {
            let or = self.random.chance(8);
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(if or { " OR " } else { " AND " }));
        }
        sql
    }

    /// The sources, and conditions that join those which were only listed.
    fn from(&mut self) -> (String, Vec<String>) {
        self.sources.clear();
        let mut text = self.source();
        let mut conditions = Vec::new();
        let more = *self.random.pick(&[0, 0, 0, 1, 1, 2]);
        for _ in 0..more {
            let left = self.column();
            let next = self.source();
            let right = self.last_column();
            let equal = if self.random.chance(60) {
                let (left, right) =
                    (&self.sources[0].alias, &self.sources[self.sources.len() - 1].alias);
                format!("{left}.g = {right}.g")
            } else {
                format!("{left} = {right}")
            };
            let kind = self.random.below(15);
            match kind {
                0..=3 => text = format!("{text} JOIN {next} ON {equal}"),
                4..=6 => text = format!("{text} JOIN {next} USING (g)"),
                7 | 8 => {
                    text = format!("{text}, {next}");
                    conditions.push(equal);
                }
                9 => text = format!("{text} JOIN {next} USING (g, a)"),
                10 => text = format!("{text} LEFT JOIN {next} ON {equal}"),
                11 => text = format!("{text} LEFT JOIN {next} USING (g)"),
                12 => {
                    text = format!("{text} LEFT JOIN {next} ON {equal} AND {}", self.condition(1));
                }
                13 => text = format!("{text} JOIN {next} ON {equal} AND {}", self.condition(1)),
                _ => text = format!("{text} NATURAL JOIN {next}"),
            }
        }
        (text, conditions)
    }

    fn source(&mut self) -> String {
        let number = self.sources.len();
        let view = self.schema.views.first().filter(|_| self.random.chance(8));
        let (name, columns) = match view {
            Some((name, columns)) => (name.clone(), columns.clone()),
            None => {
                let table = self.random.pick(&self.schema.tables);
                let columns = table.columns.iter().chain(&table.generated).cloned().collect();
                (table.name.clone(), columns)
            }
        };
        let is_taken = self.sources.iter().any(|source| source.alias == name);
        let alias =
            if is_taken || self.random.chance(50) { format!("s{number}") } else { name.clone() };
        let text = if alias == name { name } else { format!("{name} AS {alias}") };
        self.sources.push(Source { alias, columns });
        text
    }

    fn column(&mut self) -> String {
        let source = self.random.below(self.sources.len());
        self.column_of(source)
    }

    fn last_column(&mut self) -> String {
        self.column_of(self.sources.len() - 1)
    }

    fn column_of(&mut self, source: usize) -> String {
        let source = &self.sources[source];
        let column = if self.random.chance(40) { "g" } else { self.random.pick(&source.columns) };
        if self.random.chance(15) {
            column.to_owned()
        } else {
            format!("{}.{column}", source.alias)
        }
    }

    fn operand(&mut self) -> String {
        let (literal, value) = value(self.random);
        if self.random.chance(20) {
            return literal.to_owned();
        }
        let name = format!("p{}", self.parameters.len());
        self.parameters.push((name.clone(), value));
        format!(":{name}")
    }

    fn condition(&mut self, depth: usize) -> String {
        let (column, operand) = (self.column(), self.operand());
        match self.random.below(if depth == 0 { 12 } else { 27 }) {
            0..=8 => format!("{column} = {operand}"),
            9 => format!("{operand} = {column}"),
            10 => format!("({column} = {operand})"),
            11 => format!("{column} = {}", self.column()),
            12 => format!("{column} + 0 = {operand}"),
            13 => format!("({} OR {})", self.condition(depth - 1), self.condition(depth - 1)),
            14 => format!("{column} > {operand}"),
            15 => format!("{column} IN ({operand}, {})", self.operand()),
            16 => format!("{column} IN ({operand})"),
            17 => format!("{column} IS {operand}"),
            18 => format!("{column} = {operand} COLLATE NOCASE"),
            19 => format!("{column} COLLATE BINARY = {operand}"),
            20 => format!("NOT {}", self.condition(depth - 1)),
            21 => format!("({} AND {})", self.condition(depth - 1), self.condition(depth - 1)),
            22 => {
                let table = &self.random.pick(&self.schema.tables).name;
                format!("EXISTS (SELECT 1 FROM {table} e WHERE e.g = {column})")
            }
            23 => {
                let table = &self.random.pick(&self.schema.tables).name;
                format!("{column} = (SELECT max(e.a) FROM {table} e)")
            }
            24 => format!("+{column} = {operand}"),
            25 => format!("{column} BETWEEN {operand} AND {}", self.operand()),
            _ => format!("({column} = {operand}) = 1"),
        }
    }

    fn result(&mut self) -> String {
        let results = [
            "*",
            "*",
            "*",
            "count(*)",
            "count(*), max(g)",
            "a, b",
            "a, c",
            "b",
            "id",
            "DISTINCT g",
            "1",
            "total(a), group_concat(b)",
            "g, min(a)",
            "a, row_number() OVER (ORDER BY b)",
            "g, count(*) OVER (PARTITION BY a)",
            "coalesce(a, 0) || 'x'",
        ];
        (*self.random.pick(&results)).to_owned()
    }

    fn tail(&mut self) -> String {
        let tails = [
            "",
            "",
            "",
            "",
            "",
            " ORDER BY 1",
            " ORDER BY 1 DESC LIMIT 2",
            " LIMIT 2",
            " LIMIT 1 OFFSET 1",
            " GROUP BY 1",
            " GROUP BY g HAVING count(*) > 1",
            " GROUP BY g HAVING g = 1",
            " ORDER BY b, a LIMIT 3",
        ];
        (*self.random.pick(&tails)).to_owned()
    }
}
