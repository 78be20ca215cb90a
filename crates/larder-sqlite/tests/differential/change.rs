//! Random transactions: every way in which SQLite moves a row, on purpose or as a side effect.
//!
//! They are text that does not look at the data, so that a failing case can be replayed with fewer
//! of them. A statement that fails is part of the game: the application goes on.

use crate::{
    random::Random,
    schema::{Schema, Table, value},
};

/// The statements of one transaction, `BEGIN` and its end included.
pub type Transaction = Vec<String>;

pub fn transaction(random: &mut Random, schema: &Schema) -> Transaction {
    let mut statements = Vec::new();
    let alone = random.chance(40);
    if !alone {
        statements.push("BEGIN".to_owned());
    }
    // Triggers can double a table with every statement; joins of large ones take long and find
    // nothing that those of small ones do not.
    for Table { name, .. } in &schema.tables {
        statements.push(format!(
            "DELETE FROM {name} WHERE (SELECT count(*) FROM {name}) > \
             CASE WHEN g = 1 THEN 30 ELSE 14 END"
        ));
    }
    for _ in 0..if alone { 1 } else { 1 + random.below(4) } {
        if !alone && random.chance(12) {
            statements.push("SAVEPOINT s".to_owned());
            statements.push(change(random, schema));
            if random.chance(60) {
                statements.push("ROLLBACK TO s".to_owned());
            }
            statements.push("RELEASE s".to_owned());
        } else {
            statements.push(change(random, schema));
        }
    }
    if !alone {
        statements.push(if random.chance(15) { "ROLLBACK" } else { "COMMIT" }.to_owned());
    }
    statements
}

/// Deletes the newest lines of the log in some transactions, and changes again what they changed.
///
/// The second half must not get the numbers of the first, of which nobody has read.
pub fn delete_from_the_log(random: &mut Random, transactions: &mut [Transaction]) {
    const DELETIONS: [&str; 3] = [
        "DELETE FROM larder_log",
        "DELETE FROM larder_log WHERE seq = (SELECT max(seq) FROM larder_log)",
        "DELETE FROM larder_log WHERE seq > (SELECT max(seq) - 2 FROM larder_log)",
    ];
    for transaction in transactions {
        if random.chance(25) {
            let again = transaction.clone();
            transaction.push((*random.pick(&DELETIONS)).to_owned());
            transaction.extend(again);
        }
    }
}

fn change(random: &mut Random, schema: &Schema) -> String {
    let table = random.pick(&schema.tables);
    let name = &table.name;
    match random.below(22) {
        0..=6 => insert(random, "INSERT", table),
        7 => insert(random, "INSERT OR IGNORE", table),
        8..=10 => insert(random, "INSERT OR REPLACE", table),
        11 => {
            let target = match &*table.targets {
                [] => String::new(),
                targets => format!("({})", random.pick(targets)),
            };
            let insert = insert(random, "INSERT", table);
            if random.chance(20) {
                return format!("{insert} ON CONFLICT {target} DO NOTHING");
            }
            let set = assignments(random, table);
            format!("{insert} ON CONFLICT {target} DO UPDATE SET {set}")
        }
        12..=15 => format!(
            "UPDATE {name} SET {} WHERE {}",
            assignments(random, table),
            filter(random, table)
        ),
        16 => format!("UPDATE OR IGNORE {name} SET {}", assignments(random, table)),
        17 => format!(
            "UPDATE OR REPLACE {name} SET {} WHERE {}",
            assignments(random, table),
            filter(random, table)
        ),
        18 => format!("UPDATE OR REPLACE {name} SET {}", assignments(random, table)),
        19 if random.chance(30) => format!("DELETE FROM {name}"),
        _ => format!("DELETE FROM {name} WHERE {}", filter(random, table)),
    }
}

fn insert(random: &mut Random, verb: &str, table: &Table) -> String {
    let columns: Vec<&str> = table
        .columns
        .iter()
        .map(String::as_str)
        .filter(|column| table.key.iter().any(|key| key == column) || random.chance(85))
        .collect();
    let columns = if columns.is_empty() { vec!["g"] } else { columns };
    let rows: Vec<String> = (0..1 + random.below(2))
        .map(|_| {
            let values: Vec<&str> = columns.iter().map(|_| value(random).0).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    format!("{verb} INTO {}({}) VALUES {}", table.name, columns.join(", "), rows.join(", "))
}

fn assignments(random: &mut Random, table: &Table) -> String {
    let first = random.pick(&table.columns);
    let second = random.pick(&table.columns);
    let one = format!("{first} = {}", value(random).0);
    match random.below(4) {
        0 if first != second => format!("{one}, {second} = {}", value(random).0),
        1 => format!("{first} = {first} + 1"),
        _ => one,
    }
}

fn filter(random: &mut Random, table: &Table) -> String {
    let column = random.pick(&table.columns);
    match random.below(4) {
        0 => format!("{column} IS NULL"),
        1 => format!("{column} > {}", value(random).0),
        _ => format!("{column} = {}", value(random).0),
    }
}
