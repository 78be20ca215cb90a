//! From what a table could not do to what the client is told.
//!
//! **Invariant**: as for resources, the origin's own words go to the log, at most once a second for
//! each table, and never to the client.

use larder::{Error, ErrorKind};

use crate::{
    problem::{Code, Problem},
    server::Server,
    table::{Table, life::State},
};

/// Seconds after which a client may try again what failed for lack of something.
const RETRY_SECONDS: u64 = 1;

/// What the client is told.
#[cold]
pub(super) fn of(server: &Server, table: &Table, error: &Error) -> Problem {
    if table.may_log(server.uptime()) && error.kind() != ErrorKind::NotFound {
        tracing::warn!(target: "larder::table", table = %table.name, ?error, "cannot answer");
    }
    problem(table, error).with("table", &*table.name)
}

fn problem(table: &Table, error: &Error) -> Problem {
    match error.kind() {
        ErrorKind::Timeout if table.life.state() != State::Loaded => not_loaded(table),
        ErrorKind::Timeout => {
            let detail = "the origin did not give the records in time; see the log";
            Problem::new(Code::LoadTimeout, detail)
        }
        ErrorKind::Limit => {
            let detail = format!(
                "they count more than {} bytes; ask for less, or raise table.{}.memory. The \
                 table is as it was",
                table.held.stats().bytes_max,
                table.name
            );
            Problem::new(Code::TableFull, detail)
        }
        ErrorKind::NotFound if table.replica_of.is_some() => {
            let owner = table.replica_of.as_deref().unwrap_or_default();
            let detail = format!(
                "the window is on the index `{}`, and this is a replica: ask for less, or its \
                 owner, {owner}",
                table.window.by
            );
            Problem::new(Code::OutsideWindow, detail)
        }
        ErrorKind::NotFound => {
            let detail = format!(
                "the window is on the index `{}`; ask for ranges of it, or let the read load what \
                 is missing (outside=load)",
                table.window.by
            );
            Problem::new(Code::OutsideWindow, detail)
        }
        ErrorKind::Closed => {
            let detail = "the server takes no new loads";
            Problem::new(Code::ShuttingDown, detail).retry_after(RETRY_SECONDS)
        }
        ErrorKind::Unavailable if table.life.state() != State::Loaded => not_loaded(table),
        ErrorKind::Unavailable | ErrorKind::Conflict => {
            let detail = "the origin does not answer, or not with what the table can hold; see \
                          the log";
            Problem::new(Code::OriginUnavailable, detail).retry_after(RETRY_SECONDS)
        }
        _ => Problem::new(Code::LoadFailed, "see the log, or run `larder check-config`"),
    }
}

fn not_loaded(table: &Table) -> Problem {
    let detail = match table.life.state() {
        State::Failed(_) if table.replica_of.is_some() => {
            let owner = table.replica_of.as_deref().unwrap_or_default();
            format!("its owner, {owner}, does not answer, and is tried again; see the log")
        }
        State::Failed(_) => "its load failed and is tried again; see the log".to_owned(),
        _ => format!(
            "it is being loaded; a read waits for that up to {:?} (table.{}.load_wait)",
            table.load_wait, table.name
        ),
    };
    Problem::new(Code::TableNotLoaded, detail).retry_after(RETRY_SECONDS)
}
