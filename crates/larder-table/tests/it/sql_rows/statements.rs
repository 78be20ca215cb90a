//! Random statements over few items, so that they are in each other's way.

use larder_testkit::random::Random;

/// One to five statements: alone, or as a transaction that is committed or rolled back, some behind
/// a savepoint to which it may go back.
pub(super) fn transaction(random: &mut Random) -> Vec<String> {
    let count = 1 + random.below(5);
    let mut statements: Vec<String> = (0..count).map(|_| statement(random)).collect();
    if random.once_in(3) {
        return statements;
    }
    if random.once_in(2) {
        let from = usize::try_from(random.below(count)).expect("it is small");
        statements.insert(from, "SAVEPOINT s".to_owned());
        let end = if random.once_in(2) { "ROLLBACK TO s" } else { "RELEASE s" };
        statements.push(end.to_owned());
        statements.extend((0..random.below(2)).map(|_| statement(random)));
    }
    statements.insert(0, "BEGIN".to_owned());
    statements.push(if random.once_in(5) { "ROLLBACK" } else { "COMMIT" }.to_owned());
    statements
}

fn statement(random: &mut Random) -> String {
    let (id, code, row) = (id(random), code(random), row(random));
    let (value, other, policy) = (value(random), self::id(random), policy(random));
    match random.below(20) {
        0..3 => format!("INSERT OR {policy} INTO item VALUES {row}"),
        3 => format!("INSERT OR {policy} INTO item VALUES {row}, {}", self::row(random)),
        4 => format!("REPLACE INTO item VALUES {row}"),
        5 => format!(
            "INSERT INTO item VALUES {row} ON CONFLICT (id) DO UPDATE SET value = {value}, \
             code = excluded.code"
        ),
        6 => format!(
            "INSERT INTO item VALUES {row} ON CONFLICT (code) DO UPDATE SET extra = {value} \
             WHERE value > 2"
        ),
        7 => format!("INSERT INTO item VALUES {row} ON CONFLICT DO NOTHING"),
        8 => format!("UPDATE OR {policy} item SET id = {other} WHERE id = {id}"),
        9 => format!("UPDATE OR {policy} item SET id = id + 1 WHERE id > {id}"),
        10 => format!("UPDATE OR {policy} item SET code = '{code}' WHERE id = {id}"),
        11 => format!("UPDATE OR {policy} item SET code = '{code}', value = {value}"),
        12 => format!("UPDATE item SET value = {value}, extra = {value} WHERE id = {id}"),
        13 => format!("UPDATE item SET value = value + 1 WHERE id > {id}"),
        14 => format!("DELETE FROM item WHERE id = {id}"),
        15 => format!("DELETE FROM item WHERE id > {id}; INSERT INTO item VALUES {row}"),
        16 => format!("REPLACE INTO parent VALUES ({}, 'again')", parent(random)),
        17 => format!("DELETE FROM parent WHERE id = {}", parent(random)),
        18 => format!("UPDATE OR IGNORE parent SET id = {} WHERE id = {id}", parent(random)),
        _ => format!(
            "INSERT OR {policy} INTO item SELECT id + 1, code || 'x', parent, extra, value \
             FROM item WHERE id > {id}"
        ),
    }
}

fn id(random: &mut Random) -> u64 {
    1 + random.below(8)
}

fn parent(random: &mut Random) -> u64 {
    1 + random.below(4)
}

fn code(random: &mut Random) -> char {
    *random.pick(&['a', 'b', 'c', 'd', 'e', 'f'])
}

/// Of each kind, and those among them that SQLite stores otherwise than they are given.
fn value(random: &mut Random) -> &'static str {
    random.pick::<&str>(&[
        "NULL", "0", "1", "1.0", "-0.0", "2.5", "'3'", "'4.0'", "'text'", "x'00ff'", "9e18", "5",
        "'6 '",
    ])
}

fn policy(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["ABORT", "IGNORE", "REPLACE", "FAIL"])
}

fn row(random: &mut Random) -> String {
    let (id, code) = (id(random), code(random));
    let parent = if random.once_in(2) { "NULL".to_owned() } else { parent(random).to_string() };
    format!("({id}, '{code}', {parent}, {}, {})", value(random), value(random))
}
