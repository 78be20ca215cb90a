//! The public face of the core, tested from outside. One binary; the order is that of the reading
//! order in `lib.rs`.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what surrounds the tests may panic as they may"
)]

/// What the properties are tested with: small worlds full of separators and near misses.
mod generate;

/// MD10, KD10, KD15: equal if and only if the bytes are equal.
mod encoding;

/// What a change touches and what it leaves alone.
mod dependency;

/// M8, MD10: what is asked for, as dependencies.
mod scope;

/// M6, M7, M9, M12, MD7, MD9: rows that describe themselves.
mod tracked;

/// Sets beyond their limit: wider, never narrower.
mod widen;

/// Stamps as sets, epochs that cannot be mixed.
mod timeline;

/// The bounded memory against a memory that forgets nothing.
mod history;

/// X2, X3, X4, KD5, KD7: the table of states.
mod freshness;

/// Who may take a shared result.
mod flight;

/// Tokens that nobody else can make.
mod token;

/// Records that are what was written, or an error.
mod record;

/// Invalidations that are what was written, or an error.
mod invalidation;
