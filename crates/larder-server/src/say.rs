//! Lines on standard output, for people and scripts.
//!
//! `println!` panics when the reader has gone, which `larder serve | head` makes happen to a server
//! that should go on. **Invariant**: what cannot be written is dropped, and nothing else happens.

use std::{fmt, io::Write as _};

/// Writes a line to standard output.
#[macro_export]
macro_rules! say {
    () => { $crate::say::line(format_args!("")) };
    ($($part:tt)*) => { $crate::say::line(format_args!($($part)*)) };
}

/// Writes one line.
pub fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
