//! The one place where an error of the driver becomes an [`Error`] of larder.
//!
//! It stands apart so that the table from code to kind can be read, and tested, as a table.
//! **Invariant**: "cannot answer now" is never mixed with "will never answer": a caller retries or
//! serves stale on the first and reports the second.

use std::{io, path::Path};

use larder_core::{Error, ErrorKind};
use rusqlite::{ErrorCode, ffi};

/// What went wrong while doing `operation` on `subject`.
///
/// SQLite's own words become the detail; they name tables and columns, never values.
pub(crate) fn from_driver(
    operation: &'static str,
    subject: &str,
    error: &rusqlite::Error,
) -> Error {
    let (kind, hint) = classify(error);
    let said = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let detail = if hint.is_empty() { said } else { format!("{said}; {hint}") };
    Error::new(kind, operation).subject(subject).detail(detail)
}

/// What is said of a flush that failed, and by what it is known again.
const OF_FLUSH: &str = "the disk did not take what was written";

/// What is to be said of a flush of the file at `path` that failed.
pub(crate) fn from_flush(operation: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, operation)
        .subject(path.display().to_string())
        .detail(format!("{OF_FLUSH}: {error}"))
}

/// Whether an error was that of a flush.
pub(crate) fn is_of_flush(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.to_string().contains(OF_FLUSH)
}

/// The kind of an error, and what to do about it where that is not plain.
fn classify(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return match error {
            rusqlite::Error::SqlInputError { error, .. } => (of_code(error.code), ""),
            _ => (ErrorKind::Origin, ""),
        };
    };
    match failure.extended_code {
        ffi::SQLITE_READONLY_ROLLBACK => (
            ErrorKind::Unavailable,
            "a writer died inside a transaction; the next program that opens the database for \
             writing repairs it",
        ),
        ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT => (
            ErrorKind::Unavailable,
            "the write-ahead log needs a recovery that this user may not do; let the application \
             open the database first, or allow writing to its directory",
        ),
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => (ErrorKind::Unavailable, OF_FLUSH),
        ffi::SQLITE_READONLY_DBMOVED => (ErrorKind::Unavailable, "the file was moved or replaced"),
        _ => (of_code(failure.code), hint_of(failure.code)),
    }
}

fn of_code(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::SystemIoFailure
        | ErrorCode::SchemaChanged
        | ErrorCode::CannotOpen => ErrorKind::Unavailable,
        ErrorCode::OperationInterrupted => ErrorKind::Timeout,
        ErrorCode::TooBig | ErrorCode::OutOfMemory => ErrorKind::Limit,
        ErrorCode::DiskFull => ErrorKind::Full,
        ErrorCode::ReadOnly => ErrorKind::ReadOnly,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorKind::Corrupt,
        _ => ErrorKind::Origin,
    }
}

fn hint_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DiskFull => "give it room; nothing that was acknowledged is lost",
        ErrorCode::ReadOnly => "the file, its directory and its file system must be writable",
        ErrorCode::CannotOpen => {
            "the file must exist and be readable; in WAL mode its directory must be writable too, \
             or the -wal and -shm files must be there"
        }
        _ => "",
    }
}

/// What the file system said while doing `operation` on the file at `path`.
pub(crate) fn from_io(operation: &'static str, path: &Path, error: &io::Error) -> Error {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, ""),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (ErrorKind::Full, hint_of(ErrorCode::DiskFull))
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            (ErrorKind::ReadOnly, hint_of(ErrorCode::ReadOnly))
        }
        _ => (ErrorKind::Unavailable, ""),
    };
    let detail = if hint.is_empty() { error.to_string() } else { format!("{error}; {hint}") };
    Error::new(kind, operation).subject(path.display().to_string()).detail(detail)
}

/// Whether the database is merely locked by somebody, so that the connection is still good.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_the_kind_that_a_caller_branches_on() {
        let table = [
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable, true),
            (ffi::SQLITE_LOCKED, ErrorKind::Unavailable, true),
            (ffi::SQLITE_IOERR, ErrorKind::Unavailable, true),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Unavailable, true),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable, true),
            (ffi::SQLITE_READONLY_ROLLBACK, ErrorKind::Unavailable, true),
            (ffi::SQLITE_INTERRUPT, ErrorKind::Timeout, true),
            (ffi::SQLITE_TOOBIG, ErrorKind::Limit, false),
            (ffi::SQLITE_FULL, ErrorKind::Full, false),
            (ffi::SQLITE_READONLY, ErrorKind::ReadOnly, false),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt, false),
            (ffi::SQLITE_NOTADB, ErrorKind::Corrupt, false),
            (ffi::SQLITE_ERROR, ErrorKind::Origin, false),
            (ffi::SQLITE_AUTH, ErrorKind::Origin, false),
        ];
        for (code, kind, retryable) in table {
            let driver = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = from_driver("test", "shop", &driver);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "code {code}");
            assert_eq!(is_of_flush(&error), code == ffi::SQLITE_IOERR_FSYNC, "code {code}");
        }
    }

    #[test]
    fn a_flush_of_our_own_is_known_as_one() {
        let error = io::Error::from_raw_os_error(28);
        assert!(is_of_flush(&from_flush("flush", Path::new("x.db"), &error)));
        assert!(!is_of_flush(&from_io("flush", Path::new("x.db"), &error)));
    }
}
