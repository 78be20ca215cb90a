//! Users and the cities they live in: a join kept in memory, found by user and by city, that hears
//! of changes by itself.
//!
//! The application writes with SQLite and knows nothing of the cache. A changed row of `user` is
//! found out to be one record; a changed row of `city` goes into all users of that city, which is
//! said with one rule.

use std::{error::Error as StdError, path::PathBuf, time::Duration};

use larder::{
    Clock,
    sqlite::{OriginOptions, SqliteOrigin, Track, track},
    table::{
        Index, Ranges, Record, Table,
        sql::{FromRow, SqlSource},
    },
};
use rusqlite::Connection;

/// A user, with what is known of the city.
#[derive(Debug, Record, FromRow)]
struct User {
    #[record(key)]
    id: i64,
    name: String,
    #[record(column = "city_id")]
    city: i64,
    #[record(column = "city_name")]
    city_name: String,
}

const USERS: &str = "SELECT u.id, u.name, c.id AS city_id, c.name AS city_name
    FROM user u JOIN city c ON c.id = u.city";

/// The table, and how its users are found by city.
struct Users {
    table: Table<User, i64>,
    by_city: Index<User, i64>,
}

impl Users {
    async fn open(path: &PathBuf) -> Result<Self, Box<dyn StdError>> {
        let options = OriginOptions::new("people", path);
        let origin = SqliteOrigin::open(OriginOptions { track: Track::Rows, ..options })?;
        let mut users = SqlSource::new(&origin, USERS)?.typed::<User>("users")?;
        let by_id = users.definition().primary();
        let by_city = users.index("city", &["city_id"], |user: &User| user.city)?;
        users.follows("city", &["id"], &by_city)?;
        // Every read sees what was committed before it began.
        users.max_staleness(Duration::ZERO);

        // Triggers that tell of the rows of both tables, with the columns that rules look at.
        let (name, asked) = ("people".into(), [users.statement().clone()]);
        track::plan_with(path, &name, &asked, &users.looks_at())?.apply(path)?;

        let feed = origin.feed().ok_or("an origin that is tracked has a feed")?;
        let table = users.follow(&by_id, feed, Clock::system())?;
        table.load(Ranges::all()).await?;
        Ok(Self { table, by_city })
    }

    /// Who lives in a city, and what it is called there.
    async fn of_city(&self, city: i64) -> Result<Vec<String>, larder::Error> {
        let found = self.table.select(&self.by_city, Ranges::only([city])).read().await?;
        Ok(found.iter().map(|user| format!("{} of {}", user.name, user.city_name)).collect())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let dir = std::env::temp_dir().join(format!("larder-users-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("people.sqlite");
    let application = Connection::open(&path)?;
    application.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city INTEGER NOT NULL);
         INSERT INTO city VALUES (1, 'Leningrad'), (2, 'Bologna');
         INSERT INTO user VALUES (1, 'Anna', 1), (2, 'Boris', 1), (3, 'Carla', 2);",
    )?;
    let users = Users::open(&path).await?;

    let carla = users.table.get(&3).await?.ok_or("there is a user 3")?;
    println!("user 3 is {} of {}", carla.name, carla.city_name);
    assert_eq!((&*carla.name, &*carla.city_name), ("Carla", "Bologna"));
    assert_eq!(users.of_city(1).await?, ["Anna of Leningrad", "Boris of Leningrad"]);

    // One row of the parent: all users of it are loaded again, by the next read that wants one.
    application.execute("UPDATE city SET name = 'Saint Petersburg' WHERE id = 1", [])?;
    assert_eq!(users.of_city(2).await?, ["Carla of Bologna"]);
    assert_eq!(users.table.stats().refreshes, 0, "nothing of Bologna is in doubt");
    let renamed = users.of_city(1).await?;
    println!("the city was renamed: {renamed:?}");
    assert_eq!(renamed, ["Anna of Saint Petersburg", "Boris of Saint Petersburg"]);
    assert_eq!(users.table.stats().refreshes, 1, "one question for both");

    // A user moves, one comes, one goes, in one transaction.
    application.execute_batch(
        "BEGIN;
         UPDATE user SET city = 2 WHERE id = 1;
         INSERT INTO user VALUES (4, 'Dario', 2);
         DELETE FROM user WHERE id = 3;
         COMMIT;",
    )?;
    let (left, right) = (users.of_city(1).await?, users.of_city(2).await?);
    println!("some moved: {left:?} and {right:?}");
    assert_eq!(left, ["Boris of Saint Petersburg"]);
    assert_eq!(right, ["Anna of Bologna", "Dario of Bologna"]);
    // What a reader holds stays what it was.
    assert_eq!(carla.name, "Carla");
    assert!(users.table.get(&3).await?.is_none());
    let stats = users.table.stats();
    println!("{} reads, {} of them asked the database first", stats.hits, stats.hits_with_refresh);

    drop(application);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
