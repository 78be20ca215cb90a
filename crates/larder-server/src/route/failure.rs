//! From a failed load to what the client is told.
//!
//! **Invariant**: whether a client may try again is decided here alone, and the text of the
//! database's own error goes to the log, never to the client; to the log at most once a second for
//! each resource, however many ask.

use larder::{Error, ErrorKind, LoadError};

use crate::{
    catalog::Resource,
    problem::{Code, Problem},
    server::Server,
};

/// Seconds after which a client may try again what failed for lack of something.
const RETRY_SECONDS: u64 = 1;

/// What the client is told about a failed load of `resource`.
#[cold]
pub(super) fn of_load(server: &Server, resource: &Resource, error: &LoadError<Error>) -> Problem {
    let (problem, cause): (Problem, &dyn std::error::Error) = match error {
        LoadError::Load(own) => (of_error(own), &**own),
        LoadError::Cache(own) => (of_error(own), own),
        LoadError::Panicked => {
            (Problem::new(Code::LoadFailed, "the load panicked; see the log"), error)
        }
    };
    if resource.may_log(server.uptime()) {
        tracing::warn!(resource = %resource.name, cause = ?cause, "cannot answer");
    }
    problem.with("resource", &*resource.name)
}

fn of_error(error: &Error) -> Problem {
    match error.kind() {
        ErrorKind::Limit => Problem::new(Code::ResultTooLarge, error.to_string()),
        ErrorKind::Timeout => Problem::new(Code::LoadTimeout, error.to_string()),
        ErrorKind::Overloaded => {
            Problem::new(Code::Overloaded, error.to_string()).retry_after(RETRY_SECONDS)
        }
        ErrorKind::Closed => {
            let detail = "the server takes no new loads";
            Problem::new(Code::ShuttingDown, detail).retry_after(RETRY_SECONDS)
        }
        ErrorKind::Unavailable | ErrorKind::Conflict => {
            let detail = "the origin does not answer, and there is no value that may be served \
                          in its place";
            Problem::new(Code::OriginUnavailable, detail).retry_after(RETRY_SECONDS)
        }
        _ => Problem::new(Code::LoadFailed, "see the log, or run `larder check-config`"),
    }
}
