//! The worlds that are explored, and the switches that take one safeguard out.

/// What a commit of the shop changes, as far as the entry is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The row whose id the entry depends on.
    Row,
    /// A new row in the scope that the entry depends on.
    Member,
    /// A row that has nothing to do with the entry.
    Other,
}

/// The safeguard that is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removed {
    /// All are in place.
    #[default]
    Nothing,
    /// Stamps are the received position, not the confirmed one.
    Confirmation,
    /// Stamps are taken after the load.
    StampBeforeLoad,
    /// Whoever waits for a flight takes its result.
    JoinerCheck,
    /// A loaded value is published whatever happened since its stamps.
    FillCheck,
    /// A value is checked first and linked under its dependencies then.
    LinkBeforeCheck,
    /// The shape is registered only some time after the value was published.
    RegistrationBeforeCheck,
    /// The shape is registered after the load, and before the check.
    RegistrationBeforeStamps,
    /// A stamp of another epoch is read as one of the current epoch.
    EpochCompared,
    /// The log row at the cursor is not compared, only the length of the log.
    NonceCompared,
    /// A new epoch begins where a commit in the log is not visible yet.
    StartBarrier,
    /// Hits do not look at what is announced and not yet swept.
    PendingConsulted,
    /// What was invalidated on `app` is compared with the position on the shop's timeline.
    AppStampOfItsOwn,
    /// A second flight begins at once.
    SecondFlightWaits,
    /// Nothing is ever confirmed.
    ConfirmationEver,
}

/// How large the world is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The commits of the shop, in the order of its log; at most eight.
    pub(crate) commits: Vec<Kind>,
    /// Changes that only an explicit invalidation tells of.
    pub(crate) hidden_changes: u8,
    /// How often the log goes back by one commit.
    pub(crate) restores: u8,
    /// How often each reader reads.
    pub(crate) reads: [u8; 2],
    /// Whether records are kept in an untrusted store as well.
    pub(crate) has_store: bool,
    /// What is left out.
    pub(crate) removed: Removed,
}
