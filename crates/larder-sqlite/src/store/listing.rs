//! Finding entries by pattern and tags: the one place where a selection becomes SQL.
//!
//! Listing, counting and deleting share it, so that they mean the same entries. **Invariant**:
//! names and patterns are bound, never written into the statement, and there are as many parameters
//! however many tags are named (SD19).

use larder_core::{Error, clock::WallMillis};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, types::Value};

use super::{
    counters::TagStats,
    entry::Meta,
    find::{IS_THERE, META, meta},
    put::millis,
    select::Select,
    writer::Writing,
};

/// A selection in one region at one time, as the condition of a statement.
#[derive(Debug)]
pub(crate) struct Query {
    condition: String,
    params: Vec<Value>,
}

impl Query {
    /// `None` when nothing can match.
    pub(crate) fn new(
        connection: &Connection,
        region: i64,
        select: &Select,
        now: WallMillis,
    ) -> Result<Option<Self>, Error> {
        let failed = Writing::failed("find entries");
        if select.is_nothing() {
            return Ok(None);
        }
        let mut query = Self {
            condition: String::new(),
            params: vec![Value::Integer(region), Value::Integer(millis(now))],
        };
        // With tags the rows are found by their numbers; the plus keeps SQLite from walking through
        // the region instead.
        let by_tags = select.any.is_some() || select.all.is_some();
        query.condition.push_str(if by_tags { "+entry.region = ?1" } else { "entry.region = ?1" });
        query.condition.push_str(" AND ");
        query.condition.push_str(IS_THERE);
        if let Some(pattern) = &select.pattern {
            let (from, to) = pattern.range();
            let column = if by_tags { "+entry.key" } else { "entry.key" };
            query.and(&format!("{column} >= ?"), Value::Text(from.to_owned()));
            if let Some(to) = to {
                query.and(&format!("{column} < ?"), Value::Text(to));
            }
            // A blob sorts after every text, and a pattern would read it as one.
            query.condition.push_str(" AND entry.key < x''");
            if let Some(glob) = pattern.as_glob()? {
                query.and("entry.key GLOB ?", Value::Text(glob.to_owned()));
                // The matcher would take such a key for its beginning.
                query.condition.push_str(" AND instr(entry.key, char(0)) = 0");
            }
        }
        let ids = |names| tag_numbers(connection, region, names).map_err(failed);
        if let Some(names) = &select.any {
            let (numbers, _) = ids(names)?;
            let of = "(SELECT entry FROM tagged WHERE tag IN (SELECT value FROM json_each(?)))";
            query.and(&format!("entry.id IN {of}"), numbers);
        }
        if let Some(names) = &select.all {
            let (numbers, count) = ids(names)?;
            if count < distinct(names) {
                return Ok(None);
            }
            let of = "(SELECT entry FROM tagged WHERE tag IN (SELECT value FROM json_each(?)) \
                 GROUP BY entry HAVING count(*) = ";
            query.and(&format!("entry.id IN {of}{count})"), numbers);
        }
        if !select.none.is_empty() {
            let (numbers, _) = ids(&select.none)?;
            let of = "(SELECT 1 FROM tagged WHERE tag IN (SELECT value FROM json_each(?)) \
                 AND tagged.entry = entry.id)";
            query.and(&format!("NOT EXISTS {of}"), numbers);
        }
        Ok(Some(query))
    }

    /// Adds a condition whose question mark is `value`.
    pub(crate) fn and(&mut self, condition: &str, value: Value) {
        self.params.push(value);
        let number = format!("?{}", self.params.len());
        self.condition.push_str(" AND ");
        self.condition.push_str(&condition.replacen('?', &number, 1));
    }

    /// The statement that begins with `head` and ends with `tail`.
    pub(crate) fn sql(&self, head: &str, tail: &str) -> String {
        format!("{head} FROM entry WHERE {} {tail}", self.condition)
    }

    pub(crate) fn execute(&self, connection: &Connection, sql: &str) -> Result<usize, Error> {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(&*self.bound()))
            .map_err(Writing::failed("change what was selected"))
    }

    fn rows<T>(
        &self,
        connection: &Connection,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(&*self.bound(), read)?.collect())
            .map_err(Writing::failed("find entries"))
    }

    fn bound(&self) -> Vec<&dyn ToSql> {
        self.params.iter().map(|value| value as &dyn ToSql).collect()
    }
}

fn distinct(names: &[String]) -> usize {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// The numbers of those of `names` that any entry ever had, as a JSON list, and how many they are.
fn tag_numbers(
    connection: &Connection,
    region: i64,
    names: &[String],
) -> rusqlite::Result<(Value, usize)> {
    let mut find =
        connection.prepare_cached("SELECT id FROM tag WHERE region = ?1 AND name = ?2")?;
    let mut numbers: Vec<i64> = Vec::with_capacity(names.len());
    for name in names {
        numbers.extend(find.query_row((region, name), |row| row.get::<_, i64>(0)).optional()?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
    Ok((Value::Text(format!("[{}]", words.join(","))), numbers.len()))
}

/// How many entries `select` names.
pub(crate) fn count(
    connection: &Connection,
    region: i64,
    select: &Select,
    now: WallMillis,
) -> Result<u64, Error> {
    let Some(query) = Query::new(connection, region, select, now)? else { return Ok(0) };
    let counts = query.rows(connection, &query.sql("SELECT count(*)", ""), |row| row.get(0))?;
    let count: i64 = counts.into_iter().next().unwrap_or(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// At most `limit` entries that `select` names, by key, from the one after `after` on. Those whose
/// keys are bytes are counted and removed, but nobody could read a list of them.
pub(crate) fn page(
    connection: &Connection,
    region: i64,
    select: &Select,
    now: WallMillis,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Meta)>, Error> {
    let Some(mut query) = Query::new(connection, region, select, now)? else {
        return Ok(Vec::new());
    };
    query.condition.push_str(" AND entry.key < x''");
    if let Some(after) = after {
        query.and("entry.key > ?", Value::Text(after.to_owned()));
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = query.sql(&format!("SELECT {META}"), &format!("ORDER BY entry.key LIMIT {limit}"));
    query.rows(connection, &sql, |row| meta(connection, row))
}

/// The tags of a region with what is known of the entries of each, by name, from the one after
/// `after` on.
pub(crate) fn tags(
    connection: &Connection,
    region: i64,
    now: WallMillis,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TagStats>, Error> {
    // By tag, so that a page looks at the entries of its tags and at no others.
    let sql = format!(
        "SELECT tag.name, count(*), total(entry.size), total(entry.reads) \
         FROM (SELECT id, name FROM tag WHERE region = ?1 AND (?3 IS NULL OR name > ?3) AND \
           EXISTS(SELECT 1 FROM tagged JOIN entry ON entry.id = tagged.entry \
             WHERE tagged.tag = tag.id AND {IS_THERE}) ORDER BY name LIMIT ?4) AS tag \
         JOIN tagged ON tagged.tag = tag.id JOIN entry ON entry.id = tagged.entry \
         WHERE {IS_THERE} GROUP BY tag.id ORDER BY tag.name"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            statement
                .query_map((region, millis(now), after, limit), |row| {
                    let entries: i64 = row.get(1)?;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "sums of small numbers that are not negative"
                    )]
                    let sum = |at| row.get(at).map(|sum: f64| sum as u64);
                    Ok(TagStats {
                        name: row.get(0)?,
                        entries: u64::try_from(entries).unwrap_or(0),
                        bytes: sum(2)?,
                        reads: sum(3)?,
                    })
                })?
                .collect()
        })
        .map_err(Writing::failed("list tags"))
}
