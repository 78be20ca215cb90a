//! How the program ends, as a number that scripts can rely on.
//!
//! **Invariant**: a number never changes its meaning.

use std::process::ExitCode;

/// Why the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It could not; the message says why. Trying again may help.
    Failed,
    /// The command line was wrong. clap ends the program with it.
    Usage,
    /// The configuration was wrong, or does not fit its databases.
    Config,
    /// It was told to stop, and some answers could not be given in time.
    Cut,
    /// More entries would have fallen than were allowed to, so none did.
    TooMany,
    /// There is no entry under the key that was asked for.
    Absent,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0_u8,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Config => 3,
            Exit::Cut => 4,
            Exit::TooMany => 5,
            Exit::Absent => 6,
        })
    }
}
