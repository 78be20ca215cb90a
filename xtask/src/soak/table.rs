//! The soaks: one line for each. A new one needs nothing but its line here.

/// A randomised test that can run for long.
#[derive(Debug)]
pub(super) struct Soak {
    /// What one types.
    pub(super) name: &'static str,
    /// The package it lives in.
    pub(super) package: &'static str,
    /// The name of the binary or test.
    pub(super) target: &'static str,
    /// How it is told the seed and the budget.
    pub(super) taking: Taking,
}

/// How a soak is told its seed and budget; it also says which kind of target it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// A binary: `--seed N --budget small|full`.
    Arguments,
    /// A test: `LARDER_SOAK_SEED` and `LARDER_SOAK_BUDGET`.
    Environment,
    /// The tests named `schedules` inside the libraries, told as `Environment` and built with
    /// `--cfg shuttle`.
    Schedules,
}

/// All soaks, in the order in which they run.
pub(super) const SOAKS: &[Soak] = &[
    // Writer processes against readers: no read that began after a known change is without it.
    Soak {
        name: "history",
        package: "larder-testkit",
        target: "history",
        taking: Taking::Arguments,
    },
    // The same for cached tables: answers are of one moment, and no record of a window is missing.
    Soak { name: "tables", package: "larder-testkit", target: "tables", taking: Taking::Arguments },
    // Random schemas, statements and changes: a result that changed was invalidated.
    Soak {
        name: "differential",
        package: "larder-sqlite",
        target: "differential",
        taking: Taking::Environment,
    },
    // Random rows, scopes and changes: a list that changed was touched.
    Soak {
        name: "changes",
        package: "larder-testkit",
        target: "changes",
        taking: Taking::Environment,
    },
    // The server killed under load: it comes back, and the origin is intact.
    Soak { name: "kill", package: "larder-server", target: "kill", taking: Taking::Environment },
    // Processes that write to a store killed: what they acknowledged is there, nothing is half.
    Soak {
        name: "store-kill",
        package: "larder-sqlite",
        target: "store_kill",
        taking: Taking::Environment,
    },
    // Two processes with sixteen threads each on one store: no error, no stall, limits exact.
    Soak {
        name: "store-crowd",
        package: "larder-sqlite",
        target: "store_crowd",
        taking: Taking::Environment,
    },
    // A store on a disk on which each system call fails in turn, and under a lock held for long.
    Soak {
        name: "store-faults",
        package: "larder-sqlite",
        target: "faults",
        taking: Taking::Environment,
    },
    // The memory tier, the flights above it, and tables, under schedules that shuttle chooses.
    Soak {
        name: "schedules",
        package: "larder-memory",
        target: "larder_memory",
        taking: Taking::Schedules,
    },
];
