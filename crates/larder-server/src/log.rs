//! The log of the binary: lines on standard error, each with what it is of.
//!
//! **Invariant**: only the binary installs it; the library installs nothing global.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;

/// Installs the subscriber, at the level of `LARDER_LOG`.
pub fn install() {
    let wanted = std::env::var("LARDER_LOG").ok();
    let level = wanted.as_deref().and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
