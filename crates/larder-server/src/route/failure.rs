//! From a failed load to what the client is told.
//!
//! **Invariant**: whether a client may try again is decided here alone, and the text of the
//! database's own error goes to the log, never to the client.

use larder::{Error, ErrorKind, LoadError};

use crate::{
    catalog::Resource,
    problem::{Code, Problem},
};

/// Seconds after which a client may try again what failed for lack of something.
const RETRY_SECONDS: u64 = 1;

/// What the client is told about a failed load of `resource`.
#[cold]
pub(super) fn of_load(resource: &Resource, error: &LoadError<Error>) -> Problem {
    let problem = match error {
        LoadError::Load(error) => of_error(error),
        LoadError::Cache(error) => of_error(error),
        LoadError::Panicked => Problem::new(Code::LoadFailed, "the load panicked; see the log"),
    };
    let cause: &dyn std::error::Error = match error {
        LoadError::Load(error) => &**error,
        other => other,
    };
    tracing::debug!(resource = %resource.name, ?cause, "load failed");
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
