//! The whole way: real triggers, the real log, the real origin and its feed.
//!
//! Entries are filled through the origin with the stamps it gives, and kept for as long as they
//! are valid, so that one stays for many transactions and a touch lost earlier shows later.

use std::sync::Arc;

use larder_core::origin::Answer;
use larder_sqlite::{ParamKind, Query, Rows, Track};
use rusqlite::Connection;

use crate::{
    case::{Case, Failure},
    place::{self, Place, World},
    resource::Resource,
    simulated::{ask, execute, is_overgrown, prepare_connection},
    tally::{self, Tally},
};

/// Runs the case against a tracked database; the first result that was served on is the failure.
pub fn run(case: &Case, tally: &mut Tally) -> Option<Failure> {
    let place = Place::new();
    let path = place.database("shop.sqlite", "WAL", "");
    let mut writer = Connection::open(&path).unwrap();
    prepare_connection(&writer, &case.schema);
    // Not durable: the machine does not lose power in the middle of this test.
    writer.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let resources = usable(case, &path, &writer);
    if resources.is_empty() {
        return None;
    }
    let texts: Vec<&str> = resources.iter().map(|resource| &*resource.sql).collect();
    place::track_rows(&path, &texts);
    let world = World::open(&path, Track::Rows);
    world.catch_up().unwrap();
    let mut watched: Vec<Watched> =
        resources.into_iter().filter_map(|resource| Watched::new(&world, resource)).collect();
    tally.cases += 1;
    for (index, transaction) in case.transactions.iter().enumerate() {
        let before = writer.total_changes();
        execute(&mut writer, transaction);
        let changes = writer.total_changes() - before;
        tally.note_changes(changes);
        if is_overgrown(&writer) {
            break;
        }
        for watched in &mut watched {
            let valid = world.is_valid(&watched.entry);
            let Ok(now) = world.load(&watched.query) else { continue };
            let changed = now.rows.rows != watched.entry.rows.rows;
            if changed && valid {
                return Some(watched.failure(case, index, &now));
            }
            if 0 < changes {
                tally.note(tally::shape(&now.dependencies), changed, !valid);
            }
            if !valid {
                watched.entry = now;
            }
        }
    }
    None
}

/// The resources that an origin would accept.
fn usable(case: &Case, path: &std::path::Path, writer: &Connection) -> Vec<Resource> {
    let world = World::open(path, Track::Database);
    let accepted = |resource: &&Resource| {
        let names = place::parameters(&resource.sql);
        let params: Vec<(&str, ParamKind)> =
            names.iter().map(|name| (&**name, ParamKind::Any)).collect();
        ask(writer, resource).is_some_and(|answer| answer.is_ok())
            && world.origin.prepare(&resource.sql, &place::declare(&params)).is_ok()
    };
    case.resources.iter().filter(accepted).cloned().collect()
}

/// A resource and the entry that a cache would hold of it.
struct Watched {
    resource: Resource,
    query: Query,
    entry: Answer<Rows>,
}

impl Watched {
    fn new(world: &World, resource: Resource) -> Option<Self> {
        let names = place::parameters(&resource.sql);
        let params: Vec<(&str, ParamKind)> =
            names.iter().map(|name| (&**name, ParamKind::Any)).collect();
        let statement = world.prepare(&resource.sql, &params);
        let value = |name: &String| {
            let mut given = resource.parameters.iter();
            given.find(|(own, _)| own == name).map(|(_, value)| value.clone())
        };
        let values: Option<Vec<_>> = names.iter().map(value).collect();
        let query = place::query(&Arc::clone(&statement), values?);
        let entry = world.load(&query).ok()?;
        Some(Self { resource, query, entry })
    }

    fn failure(&self, case: &Case, transaction: usize, now: &Answer<Rows>) -> Failure {
        Failure {
            case: case.clone(),
            transaction,
            resource: self.resource.clone(),
            dependencies: self.entry.dependencies.iter().map(ToString::to_string).collect(),
            before: format!("{:?}", self.entry.rows.rows),
            after: format!("{:?}", now.rows.rows),
        }
    }
}
