//! What the analysis says of single statements: one line per rule and per trap.
//!
//! The differential test looks for what nobody thought of; this one pins what was. Dependencies
//! are written as `explain` shows them, without the timeline.

use larder_core::{ErrorKind, Value, timeline::Name};
use rusqlite::Connection;

use super::{Affinity, Analysis, Column, Schema, analyse, canonical};

const SCHEMA: &str = "
    CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT);
    CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT NOT NULL,
        ArtistId INTEGER NOT NULL REFERENCES Artist, Year NUMERIC);
    CREATE INDEX AlbumByArtist ON Album(ArtistId, Title);
    CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, Name TEXT, AlbumId INTEGER, Seconds REAL,
        Genre TEXT COLLATE NOCASE, Price NUMERIC, Raw BLOB, Any);
    CREATE TABLE PlaylistTrack (PlaylistId INTEGER, TrackId INTEGER,
        PRIMARY KEY (TrackId, PlaylistId)) WITHOUT ROWID;
    CREATE TABLE Country (Code TEXT PRIMARY KEY, Name TEXT UNIQUE COLLATE NOCASE) STRICT;
    CREATE TABLE Label (Code TEXT COLLATE NOCASE PRIMARY KEY, Country TEXT);
    CREATE TABLE Heap (a INTEGER, b TEXT, \"select\" INTEGER);
    CREATE TABLE Sum (Id INTEGER PRIMARY KEY, a INTEGER, b INTEGER AS (a + 1), c INTEGER);
    CREATE TABLE Left1 (Code INTEGER, l INTEGER);
    CREATE TABLE Right1 (Code INTEGER, r INTEGER);
    CREATE TABLE Text1 (Code TEXT, t INTEGER);
    CREATE VIEW AlbumArtist AS SELECT * FROM Album JOIN Artist USING (ArtistId);
    CREATE VIEW Today AS SELECT date('now') AS Day;
    CREATE VIEW Years AS SELECT strftime('%Y', Title) AS Year FROM Album;
    CREATE VIRTUAL TABLE Lyrics USING fts5(Words);
";

fn open() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn analysis(sql: &str) -> Analysis {
    analyse(&mut open(), &Name::from("shop"), sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

fn dependencies(sql: &str) -> Vec<String> {
    let values: [(&str, Value); 9] = [
        ("x", 90.into()),
        ("y", 7.into()),
        ("s", "rock".into()),
        ("t", " 90 ".into()),
        ("r", 90.0.into()),
        ("h", 2.5.into()),
        ("long", "0.12345678901234567".into()),
        ("n", Value::Null),
        ("b", Value::Blob([1, 2].as_slice().into())),
    ];
    let given: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let found = analysis(sql).dependencies(&given);
    let found = found.iter().map(|dependency| dependency.to_string().replacen("shop/", "", 1));
    found.collect()
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    assert_eq!(dependencies(sql), expected, "{sql}");
}

#[test]
fn one_table_narrows_by_its_equalities() {
    check("SELECT * FROM Artist WHERE ArtistId = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM Artist WHERE :x = ArtistId", &["Id(Artist, 90)"]);
    check("SELECT * FROM Artist WHERE ArtistId == :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM Artist WHERE (ArtistId = (:x))", &["Id(Artist, 90)"]);
    check("SELECT * FROM Artist WHERE rowid = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM Album WHERE ArtistId = :x", &["Scope(Album, ArtistId = 90)"]);
    check("SELECT * FROM Album WHERE ArtistId = @x", &["Scope(Album, ArtistId = 90)"]);
    check("SELECT * FROM Album WHERE ArtistId = 12", &["Scope(Album, ArtistId = 12)"]);
    check("SELECT * FROM Album WHERE ArtistId = -12", &["Scope(Album, ArtistId = -12)"]);
    check("SELECT * FROM Album WHERE Title = 'It''s'", &["Scope(Album, Title = \"It's\")"]);
    check(
        "SELECT * FROM Album WHERE ArtistId = :x AND Title = :s",
        &["Scope(Album, ArtistId = 90, Title = \"rock\")"],
    );
    check(
        "SELECT * FROM Album WHERE ArtistId = :x AND (Title > :s OR Year = 3) AND AlbumId < 9",
        &["Scope(Album, ArtistId = 90)"],
    );
    check("SELECT * FROM Album WHERE AlbumId = :x AND Title = :s", &["Id(Album, 90)"]);
    check("SELECT * FROM Country WHERE Code = :s", &["Id(Country, \"rock\")"]);
    check(
        "SELECT 1 FROM PlaylistTrack WHERE PlaylistId = :x AND TrackId = :y",
        &["Id(PlaylistTrack, 7, 90)"],
    );
    check(
        "SELECT 1 FROM PlaylistTrack WHERE PlaylistId = :x",
        &["Scope(PlaylistTrack, PlaylistId = 90)"],
    );
    check("SELECT * FROM Heap WHERE a = :x", &["Scope(Heap, a = 90)"]);
}

#[test]
fn what_is_done_with_the_rows_keeps_the_scope() {
    let scope = &["Scope(Album, ArtistId = 90)"];
    check("SELECT count(*) FROM Album WHERE ArtistId = :x", scope);
    check("SELECT DISTINCT Title FROM Album WHERE ArtistId = :x", scope);
    check("SELECT Title FROM Album WHERE ArtistId = :x ORDER BY Year LIMIT 3 OFFSET :y", scope);
    check("SELECT Year, max(Title) FROM Album WHERE ArtistId = :x GROUP BY Year", scope);
    check("SELECT Year FROM Album WHERE ArtistId = :x GROUP BY Year HAVING count(*) > :y", scope);
    check("SELECT rank() OVER (ORDER BY Year) FROM Album WHERE ArtistId = :x", scope);
    check("SELECT Title || :s AS t FROM Album WHERE ArtistId = :x AND t LIKE 'a%'", scope);
    // The key in the result, or in HAVING, says nothing about rows that are not there yet.
    check("SELECT AlbumId FROM Album", &["Table(Album)"]);
    check("SELECT AlbumId FROM Album GROUP BY AlbumId HAVING AlbumId = :x", &["Table(Album)"]);
    check("SELECT max(AlbumId) FROM Album", &["Table(Album)"]);
}

#[test]
fn what_is_no_plain_equality_proves_nothing() {
    for condition in [
        "AlbumId = :x OR ArtistId = :y",
        "NOT AlbumId = :x",
        "AlbumId + 0 = :x",
        "+AlbumId = :x",
        "AlbumId = :x + 0",
        "AlbumId = abs(:x)",
        "AlbumId = +:x",
        "AlbumId IN (:x)",
        "AlbumId IN (:x, :y)",
        "AlbumId BETWEEN :x AND :x",
        "AlbumId >= :x AND AlbumId <= :x",
        "AlbumId IS :x",
        "AlbumId IS NOT DISTINCT FROM :x",
        "(AlbumId, ArtistId) = (:x, :y)",
        "(AlbumId = :x) = 1",
        "AlbumId = :x IS NULL",
        "AlbumId = :x IN (0, 1)",
        "CASE WHEN AlbumId = :x THEN 1 ELSE 1 END",
        "CAST(AlbumId AS INTEGER) = :x",
        "Title = :s COLLATE NOCASE",
        "Title COLLATE NOCASE = :s",
        "Title COLLATE BINARY = :s",
        "Title LIKE :s",
        "Title GLOB 'abc'",
        "Title = \"no such column\"",
        "Title = AlbumId",
        "AlbumId = ?",
        "AlbumId = ?1",
        "AlbumId = 0x10",
        "Year = x'10'",
        "AlbumId <> :x",
        "1 = 1 AND :x = :y",
        "AlbumId = :x ISNULL",
        "Title -> '$' = :s",
        "AlbumId = :x -> '$'",
        "AlbumId BETWEEN 1 AND ArtistId = :x",
    ] {
        check(&format!("SELECT * FROM Album WHERE {condition}"), &["Table(Album)"]);
    }
}

#[test]
fn collation_and_affinity_decide_what_equal_means() {
    check("SELECT * FROM Track WHERE Genre = :s", &["Table(Track)"]);
    check("SELECT * FROM Track WHERE Genre = :s COLLATE BINARY", &["Table(Track)"]);
    check("SELECT * FROM Label WHERE Code = :s", &["Table(Label)"]);
    check("SELECT * FROM Country WHERE Name = :s", &["Table(Country)"]);
    // Text, spaces and all, is a number to a numeric column; whole reals are integers.
    check("SELECT * FROM Album WHERE AlbumId = :t", &["Id(Album, 90)"]);
    check("SELECT * FROM Album WHERE AlbumId = '90'", &["Id(Album, 90)"]);
    check("SELECT * FROM Album WHERE AlbumId = :r", &["Id(Album, 90)"]);
    check("SELECT * FROM Album WHERE AlbumId = 9e1", &["Id(Album, 90)"]);
    check("SELECT * FROM Album WHERE AlbumId = :h", &["Id(Album, 2.5)"]);
    check("SELECT * FROM Album WHERE AlbumId = :s", &["Id(Album, \"rock\")"]);
    check("SELECT * FROM Album WHERE Year = :h", &["Scope(Album, Year = 2.5)"]);
    check("SELECT * FROM Track WHERE Seconds = :x", &["Scope(Track, Seconds = 90.0)"]);
    check("SELECT * FROM Track WHERE Seconds = :t", &["Scope(Track, Seconds = 90.0)"]);
    check("SELECT * FROM Track WHERE Name = :x", &["Scope(Track, Name = \"90\")"]);
    check("SELECT * FROM Track WHERE Name = :r", &["Scope(Track, Name = \"90.0\")"]);
    check("SELECT * FROM Track WHERE Any = :r", &["Scope(Track, Any = 90)"]);
    check("SELECT * FROM Track WHERE Any = :t", &["Scope(Track, Any = \" 90 \")"]);
    check("SELECT * FROM Track WHERE Raw = :b", &["Scope(Track, Raw = x'0102')"]);
    check("SELECT * FROM Album WHERE ArtistId = :n", &["Scope(Album, ArtistId = null)"]);
    // More digits than a double keeps: SQLite's rounding is not ours to repeat.
    check("SELECT * FROM Album WHERE Year = :long", &["Table(Album)"]);
    check(
        "SELECT * FROM Album WHERE Year = :long AND ArtistId = :x",
        &["Scope(Album, ArtistId = 90)"],
    );
    check("SELECT * FROM Album WHERE ArtistId = :missing", &["Table(Album)"]);
    check("SELECT * FROM Sum WHERE b = :x", &["Table(Sum)"]);
    check("SELECT * FROM Sum WHERE b = :x AND c = :y", &["Scope(Sum, c = 7)"]);
}

#[test]
fn inner_joins_carry_constants_from_table_to_table() {
    let both = &["Scope(Album, ArtistId = 90)", "Id(Artist, 90)"];
    check(
        "SELECT al.AlbumId, al.Title, ar.Name FROM Album al JOIN Artist ar USING (ArtistId) \
         WHERE ArtistId = :x",
        both,
    );
    check("SELECT 1 FROM Album JOIN Artist USING (ArtistId) WHERE Artist.ArtistId = :x", both);
    check(
        "SELECT 1 FROM Album a, Artist b WHERE a.ArtistId = b.ArtistId AND b.ArtistId = :x",
        both,
    );
    check(
        "SELECT 1 FROM Album a CROSS JOIN Artist b WHERE a.ArtistId = b.ArtistId AND b.rowid = :x",
        both,
    );
    check(
        "SELECT 1 FROM Album a INNER JOIN Artist b ON b.ArtistId = :x \
         WHERE a.ArtistId = b.ArtistId",
        both,
    );
    check(
        "SELECT 1 FROM Album a JOIN Artist b ON a.ArtistId = b.ArtistId WHERE a.AlbumId = :x",
        &["Id(Album, 90)", "Table(Artist)"],
    );
    check(
        "SELECT t.Name FROM Artist a JOIN Album b ON b.ArtistId = a.ArtistId \
         JOIN Track t ON t.AlbumId = b.AlbumId WHERE a.ArtistId = :x AND b.AlbumId = :y",
        &["Id(Album, 7)", "Id(Artist, 90)", "Scope(Track, AlbumId = 7)"],
    );
    check(
        "SELECT sum(Seconds) FROM PlaylistTrack p JOIN Track t USING (TrackId) \
         JOIN Album USING (AlbumId) JOIN Artist USING (ArtistId) WHERE PlaylistId = :x",
        &["Table(Album)", "Table(Artist)", "Scope(PlaylistTrack, PlaylistId = 90)", "Table(Track)"],
    );
    check(
        "SELECT 1 FROM Left1 JOIN Right1 USING (Code) WHERE Code = :x",
        &["Scope(Left1, Code = 90)", "Scope(Right1, Code = 90)"],
    );
    // Different affinity: equal to one need not be equal to the other.
    check(
        "SELECT 1 FROM Left1 JOIN Text1 USING (Code) WHERE Left1.Code = :x",
        &["Scope(Left1, Code = 90)", "Table(Text1)"],
    );
    check(
        "SELECT 1 FROM Left1 JOIN Text1 USING (Code) WHERE Code = :x",
        &["Scope(Left1, Code = 90)", "Table(Text1)"],
    );
    // Different collation.
    check(
        "SELECT 1 FROM Country c JOIN Label l ON c.Code = l.Code WHERE c.Code = :s",
        &["Id(Country, \"rock\")", "Table(Label)"],
    );
    check(
        "SELECT 1 FROM Country c JOIN Label l ON c.Code = l.Country WHERE c.Code = :s",
        &["Id(Country, \"rock\")", "Scope(Label, Country = \"rock\")"],
    );
    check("SELECT 1 FROM Album, Artist", &["Table(Album)", "Table(Artist)"]);
}

#[test]
fn other_joins_prove_nothing() {
    let both = &["Table(Album)", "Table(Artist)"];
    for join in [
        "Album a LEFT JOIN Artist b ON a.ArtistId = b.ArtistId",
        "Album a LEFT OUTER JOIN Artist b USING (ArtistId)",
        "Artist b RIGHT JOIN Album a ON a.ArtistId = b.ArtistId",
        "Album a FULL JOIN Artist b ON a.ArtistId = b.ArtistId",
        "Album a NATURAL JOIN Artist b",
        "Album a NATURAL LEFT JOIN Artist b",
        "(Album a JOIN Artist b USING (ArtistId))",
    ] {
        check(&format!("SELECT 1 FROM {join} WHERE a.ArtistId = :x"), both);
    }
}

#[test]
fn a_table_used_twice_needs_a_scope_each_time() {
    check(
        "SELECT 1 FROM Album a JOIN Album b ON a.Title = b.Title \
         WHERE a.ArtistId = :x AND b.ArtistId = :y",
        &["Scope(Album, ArtistId = 90)", "Scope(Album, ArtistId = 7)"],
    );
    check(
        "SELECT 1 FROM Album a JOIN Album b ON a.Year = b.AlbumId WHERE a.AlbumId = :x",
        &["Table(Album)"],
    );
    check(
        "SELECT 1 FROM Album a JOIN Album b USING (ArtistId) WHERE ArtistId = :x",
        &["Scope(Album, ArtistId = 90)", "Scope(Album, ArtistId = 90)"],
    );
}

#[test]
fn subqueries_and_combined_queries_prove_nothing() {
    let both = &["Table(Album)", "Table(Artist)"];
    for sql in [
        "SELECT 1 FROM Album WHERE ArtistId = :x AND EXISTS (SELECT 1 FROM Artist)",
        "SELECT (SELECT Name FROM Artist) FROM Album WHERE ArtistId = :x",
        "SELECT 1 FROM Album WHERE ArtistId = :x ORDER BY (SELECT 1 FROM Artist)",
        "SELECT 1 FROM Album WHERE ArtistId = :x LIMIT (SELECT count(*) FROM Artist)",
        "SELECT 1 FROM Album WHERE ArtistId = :x AND AlbumId IN (SELECT ArtistId FROM Artist)",
        "SELECT 1 FROM (SELECT * FROM Album WHERE ArtistId = :x) JOIN Artist b ON b.ArtistId = :x",
        "WITH c AS (SELECT * FROM Album WHERE ArtistId = :x) SELECT 1 FROM c JOIN Artist",
        "WITH Artist AS (SELECT 1) SELECT 1 FROM Album JOIN main.Artist ON Album.ArtistId = :x",
        "SELECT Name FROM Artist WHERE ArtistId = :x UNION SELECT Title FROM Album",
        "SELECT Name FROM Artist WHERE ArtistId = :x EXCEPT SELECT Title FROM Album",
        "SELECT * FROM AlbumArtist WHERE ArtistId = :x",
        "SELECT 1 FROM AlbumArtist v JOIN Artist a USING (ArtistId) WHERE a.ArtistId = :x",
    ] {
        check(sql, both);
    }
    check("SELECT 1 FROM Album WHERE ArtistId = (SELECT :x)", &["Table(Album)"]);
    check(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) \
         SELECT i FROM n JOIN Heap ON a = i",
        &["Table(Heap)"],
    );
    check("VALUES (1), (2)", &["Everything"]);
    check("SELECT 1", &["Everything"]);
}

#[test]
fn names_are_found_as_sqlite_finds_them() {
    check("SELECT * FROM artist WHERE ARTISTID = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM main.Artist WHERE Artist.ArtistId = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM \"MAIN\".\"artist\" AS a WHERE a.[ArtistId] = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM main.Artist WHERE main.Artist.ArtistId = :x", &["Id(Artist, 90)"]);
    check("SELECT * FROM `Heap` WHERE \"select\" = :x", &["Scope(Heap, select = 90)"]);
    check("SELECT * FROM 'Heap' WHERE a = :x", &["Scope(Heap, a = 90)"]);
    // A name in single quotes is a string.
    check("SELECT * FROM Heap WHERE 'a' = :x", &["Table(Heap)"]);
    // Each is known by the other's name.
    check(
        "SELECT 1 FROM Album AS Artist JOIN Artist AS Album ON Artist.AlbumId = :x",
        &["Id(Album, 90)", "Table(Artist)"],
    );
    // A column of the table goes before an alias of the result, an alias is no column.
    check("SELECT a + 1 AS b FROM Heap WHERE b = :s", &["Scope(Heap, b = \"rock\")"]);
    check("SELECT a AS z FROM Heap WHERE z = :x", &["Table(Heap)"]);
    check("SELECT Name FROM Artist -- WHERE ArtistId = :x\n", &["Table(Artist)"]);
    check("SELECT Name FROM Artist WHERE /* /* */ ArtistId = :x", &["Id(Artist, 90)"]);
    // The parser does not know these; SQLite's own account is enough for the table.
    check("SELECT a FROM Heap NOT INDEXED WHERE a = :x", &["Table(Heap)"]);
    check("SELECT a FROM Heap WHERE a = :x AND b ISNULL", &["Table(Heap)"]);
}

#[test]
fn what_cannot_be_watched_is_the_whole_database() {
    for sql in [
        "SELECT * FROM Lyrics WHERE Words MATCH :s",
        "SELECT name FROM sqlite_master",
        "SELECT type FROM sqlite_schema JOIN Artist ON ArtistId = :x",
        "SELECT * FROM pragma_table_info('Artist')",
        "SELECT count(*) FROM dbstat",
        "SELECT * FROM Lyrics_data",
        "SELECT rowid FROM Heap WHERE a = :x",
    ] {
        check(sql, &["Everything"]);
        assert!(analysis(sql).reads_untrackable(), "{sql}");
    }
    check(
        "SELECT Name FROM Artist JOIN json_each(:s) ON value = ArtistId WHERE ArtistId = :x",
        &["Table(Artist)"],
    );
    let mut connection = open();
    connection
        .execute_batch(
            "CREATE TEMP TABLE Artist (a); ATTACH ':memory:' AS other; CREATE TABLE other.Far (a);",
        )
        .unwrap();
    for sql in [
        "SELECT 1 FROM Artist",
        "SELECT a FROM Artist",
        "SELECT 1 FROM other.Far",
        "SELECT a FROM Far",
    ] {
        let analysis = analyse(&mut connection, &Name::from("shop"), sql).unwrap();
        assert!(analysis.reads_untrackable(), "{sql}");
    }
}

#[test]
fn what_changes_by_itself_is_found() {
    for sql in [
        "SELECT random()",
        "SELECT hex(randomblob(4)) FROM Artist",
        "SELECT changes() FROM Artist",
        "SELECT last_insert_rowid()",
        "SELECT current_timestamp",
        "SELECT CURRENT_DATE FROM Artist",
        "SELECT date('now')",
        "SELECT datetime()",
        "SELECT strftime('%s')",
        "SELECT strftime('%s', 'NOW', '-1 day')",
        "SELECT unixepoch('subsec')",
        "SELECT datetime(Title, 'localtime') FROM Album",
        "SELECT 1 FROM Album WHERE Title > date(:s)",
        "SELECT 1 FROM Album WHERE Title > date('no' || :s)",
        "SELECT 1 FROM Album ORDER BY julianday(\"now\")",
        "SELECT * FROM Today",
        "SELECT * FROM pragma_user_version",
        "SELECT 1 FROM Album WHERE date('now') ISNULL",
    ] {
        assert!(analysis(sql).time_dependent.is_some(), "{sql}");
    }
    for sql in [
        "SELECT date(Title) FROM Album",
        "SELECT strftime('%Y', Title, '+1 day') FROM Album",
        "SELECT date('2024-01-01'), abs(-1), json_extract('{}', '$'), lower(:s), sqlite_version()",
        "SELECT count(*), sum(Year), group_concat(Title), row_number() OVER () FROM Album",
        "SELECT * FROM Years",
        "SELECT * FROM Lyrics WHERE Words MATCH :s ORDER BY bm25(Lyrics)",
    ] {
        assert_eq!(analysis(sql).time_dependent, None, "{sql}");
    }
}

#[test]
fn columns_are_all_that_can_show() {
    let columns = |sql: &str, table: &str| {
        let analysis = analysis(sql);
        let read = analysis.tables.iter().find(|read| &*read.table == table).unwrap();
        read.columns.join(" ")
    };
    assert_eq!(columns("SELECT * FROM Artist", "Artist"), "ArtistId Name");
    assert_eq!(columns("SELECT count(*) FROM Artist", "Artist"), "ArtistId");
    assert_eq!(columns("SELECT Year FROM Album WHERE AlbumId = :x", "Album"), "AlbumId Year");
    assert_eq!(columns("SELECT 1 FROM Album ORDER BY Year", "Album"), "AlbumId Year");
    // The index decides which rows come first.
    assert_eq!(
        columns("SELECT Title FROM Album WHERE ArtistId = :x LIMIT 1", "Album"),
        "AlbumId ArtistId Title"
    );
    // SQLite's authorizer says nothing at all of these two tables.
    let using = "SELECT 1 FROM Left1 JOIN Right1 USING (Code)";
    assert_eq!(columns(using, "Left1"), "Code");
    assert_eq!(columns(using, "Right1"), "Code");
    assert_eq!(columns("SELECT 1 FROM Left1 NATURAL JOIN Right1", "Right1"), "Code r");
    assert_eq!(columns("SELECT Name FROM AlbumArtist", "Album"), "AlbumId ArtistId Title Year");
    assert_eq!(columns("SELECT b FROM Sum", "Sum"), "Id a b c");
    assert_eq!(columns("SELECT c FROM Sum", "Sum"), "Id c");
    assert_eq!(columns("SELECT a FROM Heap WHERE b ISNULL", "Heap"), "a b select");
}

#[test]
fn scope_columns_leave_out_the_key() {
    let analysis = analysis(
        "SELECT 1 FROM Album a JOIN Track t USING (AlbumId) WHERE AlbumId = :x AND a.Title = :s",
    );
    let columns: Vec<(String, String)> = analysis
        .scope_columns()
        .into_iter()
        .map(|(table, columns)| (table.to_string(), columns.join(" ")))
        .collect();
    let expected = [("Album", "Title"), ("Track", "AlbumId")];
    assert_eq!(columns, expected.map(|(table, columns)| (table.to_owned(), columns.to_owned())));
    assert_eq!(analysis.parameters.join(" "), "x s");
}

#[test]
fn only_one_reading_statement_is_analysed() {
    let kind = |sql: &str| {
        let mut connection = open();
        analyse(&mut connection, &Name::from("shop"), sql).unwrap_err().kind()
    };
    for sql in [
        "DELETE FROM Artist",
        "INSERT INTO Artist VALUES (1, 'a') RETURNING *",
        "PRAGMA user_version",
        "EXPLAIN SELECT 1",
        "BEGIN",
        "ATTACH ':memory:' AS m",
        "SELECT 1; SELECT 2",
    ] {
        assert_eq!(kind(sql), ErrorKind::Unsupported, "{sql}");
    }
    assert_eq!(kind("SELECT nonsense FROM Artist"), ErrorKind::Origin);
    let ambiguous = "SELECT 1 FROM Album WHERE ArtistId = :x AND AlbumId = @x";
    check(ambiguous, &["Table(Album)"]);
}

#[test]
fn conversion_is_sqlites_own() {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch("CREATE TABLE T (i INTEGER, n NUMERIC, r REAL, t TEXT, b BLOB, a)")
        .unwrap();
    let schema = Schema::read(&connection).unwrap();
    let values = awkward_values();
    let mut exact = 0;
    for column in &schema.table("t").unwrap().columns {
        for value in &values {
            let Ok(ours) = schema.convert("T", &column.name, value.clone()) else { continue };
            exact += 1;
            let stored = store(&connection, column, value);
            let place = format!("{value} in {}", column.name);
            assert_eq!(canonical(column, stored), ours, "{place}");
            assert_eq!(canonical(column, ours.clone()), ours, "twice: {place}");
            // Equal to SQLite is equal here, and the other way round.
            for other in &values {
                let Ok(theirs) = column.convert(other.clone()) else { continue };
                let is_equal = is_found(&connection, column, other);
                let expected = ours == theirs && ours != Value::Null;
                // A real column rounds large integers; two of them are then one here.
                let is_rounded = column.affinity == Affinity::Real && is_large(other);
                assert!(is_equal == expected || (is_rounded && !is_equal), "{place}: {other}");
            }
        }
    }
    assert!(exact > 250, "only {exact} conversions were exact");
}

fn awkward_values() -> Vec<Value> {
    let integers = [0, 1, -7, i64::MAX, i64::MIN, 9_007_199_254_740_993];
    let reals = [
        0.0,
        -0.0,
        1.0,
        1.5,
        -2.25,
        0.1,
        1e14,
        9.007_199_254_740_992e15,
        9.3e18,
        -9.223_372_036_854_776e18,
        1e300,
        f64::INFINITY,
        f64::NAN,
        123_456.789,
        0.0001,
        5e-5,
    ];
    let texts = "|1|+1|-1|1.0|1.|.5|1e3|1E-2|1e|e1|-|1 2|12abc|abc|0x10|1_0|00012|0.1|1.50|-0|\
                 -0.0|inf|nan|123456789.125|1e22|9223372036854775807|9223372036854775808| |\
                  1 |\t5\n|1\u{a0}";
    let mut values = vec![Value::Null, Value::Blob([49].as_slice().into())];
    values.extend(integers.map(Value::from));
    values.extend(reals.map(Value::from));
    values.extend(texts.split('|').map(Value::from));
    values.push(" 1 ".into());
    values
}

/// Whether an integer is beyond what a double can hold: a real column then matches more here.
fn is_large(value: &Value) -> bool {
    match value {
        Value::Integer(number) => number.unsigned_abs() > 1 << 53,
        Value::Text(text) => text.len() > 15,
        _ => false,
    }
}

fn bind(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Sql;
    match value {
        Value::Null => Sql::Null,
        Value::Integer(number) => Sql::Integer(*number),
        Value::Real(number) => Sql::Real(*number),
        Value::Text(text) => Sql::Text(text.to_string()),
        Value::Blob(bytes) => Sql::Blob(bytes.to_vec()),
    }
}

fn store(connection: &Connection, column: &Column, value: &Value) -> Value {
    use rusqlite::types::Value as Sql;
    connection.execute("DELETE FROM T", []).unwrap();
    let insert = format!("INSERT INTO T ({}) VALUES (?1)", column.name);
    connection.execute(&insert, [bind(value)]).unwrap();
    let select = format!("SELECT {} FROM T", column.name);
    match connection.query_row(&select, [], |row| row.get::<_, Sql>(0)).unwrap() {
        Sql::Null => Value::Null,
        Sql::Integer(number) => number.into(),
        Sql::Real(number) => number.into(),
        Sql::Text(text) => text.into(),
        Sql::Blob(bytes) => Value::Blob(bytes.into()),
    }
}

/// Whether the stored row, which is the only one, satisfies `column = other`.
fn is_found(connection: &Connection, column: &Column, other: &Value) -> bool {
    let sql = format!("SELECT count(*) FROM T WHERE {} = ?1", column.name);
    connection.query_row(&sql, [bind(other)], |row| row.get::<_, i64>(0)).unwrap() == 1
}
