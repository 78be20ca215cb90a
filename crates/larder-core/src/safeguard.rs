//! The switches that take one safeguard out, so that a test can show that it would notice.
//!
//! Without the feature `mutants` every question is answered `false` at compile time and nothing of
//! this is in the binary. **Invariant**: no code outside tests turns a safeguard off.

/// One promise-keeping step that a mutant leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Safeguard {
    /// `as_of` is taken before the load, not after it.
    AsOfBeforeLoad,
    /// `as_of` is read inside the load's own read transaction.
    AsOfInsideTransaction,
    /// A waiter's arrival is checked against the flight's stamps.
    JoinerChecked,
    /// Triggers log the rows that a unique constraint displaces.
    DisplacedRowTrigger,
    /// Triggers are verified again when the schema version moved.
    TriggersVerified,
    /// The file's device and inode are compared at every wake-up.
    InodeCompared,
    /// A moved `data_version` means that something changed.
    DataVersionRead,
    /// A refilled entry gets its dependencies linked again.
    DependenciesKeptOnRefill,
    /// Hits consult the list of pending invalidations.
    PendingConsulted,
    /// What changed between the stamps and the fill is checked before the entry is served.
    FillChecked,
    /// Hits consult the pending invalidations before the mark, not after it.
    PendingBeforeMark,
    /// Every mark that a pending invalidation stands for ends before it is retired.
    MarksEndedBeforeRetire,
    /// A filler looks at the mark once more after its entry can be found.
    MarkCheckedAfterFill,
    /// What is known of an entry is left to its filler until it is linked everywhere.
    RecordLeftToFiller,
    /// Invalidations recorded where a feed restarts are carried out before it does.
    RecordsReadOnRestart,
    /// A changed row touches the scopes that held it before.
    OldImageCompared,
    /// A changed row touches the ranges that hold its value.
    RangesCompared,
    /// A full page depends on its last row, too.
    PageHoldsLastRow,
    /// An entry inherits what the entries that it is built from depend on.
    ChildrenInherited,
    /// The stamps of a value that is computed by hand are taken when that begins.
    StampsTakenAtBegin,
    /// A soft invalidation ends the freshness of what it touches.
    SoftEndsFreshness,
    /// What this node cannot know any more is not called fresh.
    ProofRequired,
    /// A value that was computed outside is compared with what was removed since it was begun.
    FenceCompared,
    /// The line of the log at a cursor must have the cursor's nonce.
    NonceCompared,
    /// What the log has since the mark is told when a feed goes on there.
    ReadOnFromMark,
    /// A record counts only in the life that its store stands in, and not below its floor.
    StandingCompared,
    /// A record counts as of where its store stood when it was read, not as of what is known.
    CountedAsOfStanding,
    /// What another cache on the same store announces reaches the entries of this one.
    AnnouncementsTakenUp,
    /// Where a store stands on an origin must be on the log that this process follows.
    StandingKnown,
    /// A row falls as its table where its teller does not know all columns that entries choose by.
    SchemesCompared,
    /// A refresh of a table takes away the marks that it saw before its load, by their numbers.
    MarksTakenByNumber,
    /// What a feed told a table while it loaded is laid over what the load read.
    ToldLaidOver,
    /// A table loads what it was told of when the origin shows it, not before.
    VisibleBeforeLoad,
    /// A table asks its feed between a load and the publication of what that read.
    CaughtUpBeforePublish,
    /// No read of a table joins a load that missed a change which was known when it came.
    LateReadsLoadAnew,
    /// What no rule of a table can say puts all of it in doubt.
    UnsaidWidened,
    /// No read of a table goes on by a snapshot that may show a commit by half.
    HalvesRefused,
    /// A row that a unique key may displace is told as one that may go, not as one that has gone.
    DisplacedMayStay,
}

impl Safeguard {
    /// Every safeguard, for tests that walk over them.
    pub const ALL: [Self; 38] = [
        Self::AsOfBeforeLoad,
        Self::AsOfInsideTransaction,
        Self::JoinerChecked,
        Self::DisplacedRowTrigger,
        Self::TriggersVerified,
        Self::InodeCompared,
        Self::DataVersionRead,
        Self::DependenciesKeptOnRefill,
        Self::PendingConsulted,
        Self::FillChecked,
        Self::PendingBeforeMark,
        Self::MarksEndedBeforeRetire,
        Self::MarkCheckedAfterFill,
        Self::RecordLeftToFiller,
        Self::RecordsReadOnRestart,
        Self::OldImageCompared,
        Self::RangesCompared,
        Self::PageHoldsLastRow,
        Self::ChildrenInherited,
        Self::StampsTakenAtBegin,
        Self::SoftEndsFreshness,
        Self::ProofRequired,
        Self::FenceCompared,
        Self::NonceCompared,
        Self::ReadOnFromMark,
        Self::StandingCompared,
        Self::CountedAsOfStanding,
        Self::AnnouncementsTakenUp,
        Self::StandingKnown,
        Self::SchemesCompared,
        Self::MarksTakenByNumber,
        Self::ToldLaidOver,
        Self::VisibleBeforeLoad,
        Self::CaughtUpBeforePublish,
        Self::LateReadsLoadAnew,
        Self::UnsaidWidened,
        Self::HalvesRefused,
        Self::DisplacedMayStay,
    ];

    /// Whether a test has taken this safeguard out. Always `false` without the feature `mutants`.
    #[inline(always)]
    pub fn is_off(self) -> bool {
        #[cfg(feature = "mutants")]
        return switch::OFF.load(std::sync::atomic::Ordering::Relaxed) & (1_u64 << self as u32)
            != 0;
        #[cfg(not(feature = "mutants"))]
        false
    }
}

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Safeguard;

    pub(super) static OFF: AtomicU64 = AtomicU64::new(0);

    impl Safeguard {
        /// Takes exactly this safeguard out, in the whole process.
        pub fn take_out(self) {
            OFF.store(1_u64 << self as u32, Ordering::SeqCst);
        }

        /// Puts every safeguard back.
        pub fn restore_all() {
            OFF.store(0, Ordering::SeqCst);
        }
    }
}
