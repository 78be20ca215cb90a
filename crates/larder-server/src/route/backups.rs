//! `/v1/backups`: the backups that the server keeps, one more, and back to one of them.
//!
//! **Invariant**: a backup is named, never given by a path, and the name is one of the list; no
//! path is in an answer. To restore needs a scope of its own. One backup is taken or restored at a
//! time, to its end, also if the client is gone by then.

use http::{Method, Response, StatusCode, request::Parts};
use larder::{Error, ErrorKind};
use larder_sqlite::store::{Backup, SqliteStore};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    body::Reply,
    config::Scope,
    guard, parameters,
    problem::{Code, Problem},
    server::Server,
    stats,
};

use super::{
    entries::{failed, not_allowed, store},
    only,
    turn::to_its_end,
};

const RESTORE: &str = ":restore";

pub(super) async fn answer(
    server: &Server,
    authority: &str,
    rest: &str,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let Some(rest) = rest.strip_prefix('/') else {
        server.auth.check(&head.headers, Scope::Backup)?;
        let store = store(server)?;
        return match head.method {
            Method::GET | Method::HEAD => list(server, store).await,
            Method::POST => {
                guard::check_site(authority, &head.headers)?;
                take(server, store).await
            }
            _ => Err(not_allowed("GET, HEAD, POST")),
        };
    };
    server.auth.check(&head.headers, Scope::Restore)?;
    let store = store(server)?;
    let Some(name) = rest.strip_suffix(RESTORE) else {
        let detail = "POST /v1/backups/{name}:restore; GET /v1/backups lists the names";
        return Err(Problem::new(Code::NotFound, detail));
    };
    only(&Method::POST, "POST", head)?;
    guard::check_site(authority, &head.headers)?;
    restore(server, store, &parameters::path(name)?).await
}

async fn list(server: &Server, store: &SqliteStore) -> Result<Response<Reply>, Problem> {
    is_kept(server)?;
    let backups = store.backups().await.map_err(|error| failed(&error))?;
    let backups: Vec<Value> = backups.iter().map(stats::backup).collect();
    Ok(super::json(StatusCode::OK, &json!({ "backups": backups })))
}

async fn take(server: &Server, store: &SqliteStore) -> Result<Response<Reply>, Problem> {
    is_kept(server)?;
    let (turn, store) = (turn(server)?, store.clone());
    let taking = async move { store.back_up_now().await };
    let taken = to_its_end(turn, taking).await?.map_err(|error| failed(&error))?;
    Ok(super::json(StatusCode::CREATED, &stats::backup(&taken)))
}

async fn restore(
    server: &Server,
    store: &SqliteStore,
    name: &str,
) -> Result<Response<Reply>, Problem> {
    is_kept(server)?;
    let turn = turn(server)?;
    let backups = store.backups().await.map_err(|error| failed(&error))?;
    let Some(chosen) = backups.into_iter().find(|backup| name_of(backup) == name) else {
        let detail = "GET /v1/backups lists those that are kept";
        return Err(Problem::new(Code::NoBackup, detail));
    };
    let (store, path) = (store.clone(), chosen.path.clone());
    let restoring = async move { store.restore(&path).await };
    to_its_end(turn, restoring).await?.map_err(|error| unrestored(&error))?;
    tracing::warn!(backup = %chosen.path.display(), "a backup was restored, as a client asked");
    Ok(super::json(StatusCode::OK, &json!({ "restored": name, "taken_ms": chosen.taken.0 })))
}

fn is_kept(server: &Server) -> Result<(), Problem> {
    match server.config.store.as_ref().is_some_and(|store| store.backups.is_some()) {
        true => Ok(()),
        false => Err(Problem::new(
            Code::NoBackup,
            "this server keeps no backups: set `store.backups` to a directory",
        )),
    }
}

fn turn(server: &Server) -> Result<OwnedSemaphorePermit, Problem> {
    server.whole.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "another backup is being taken or restored").retry_after(5)
    })
}

/// Why a restore failed. What is wrong with the backup is not wrong with the store, and no later
/// attempt will do better.
fn unrestored(error: &Error) -> Problem {
    let detail = match error.kind() {
        ErrorKind::Corrupt => "it is damaged; choose another one",
        ErrorKind::Unsupported => "it is of another store, or of a later larder",
        ErrorKind::NotFound => "it is gone; GET /v1/backups lists those that are there",
        ErrorKind::Conflict | ErrorKind::Config | ErrorKind::Limit => "see the log for why",
        _ => return failed(error),
    };
    tracing::error!(%error, "a backup could not be restored; the store is as it was");
    Problem::new(Code::BackupUnusable, detail)
}

fn name_of(backup: &Backup) -> &str {
    backup.path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default()
}
