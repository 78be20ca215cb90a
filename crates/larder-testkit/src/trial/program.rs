//! What the programs of the trials share: a command line, and what they end with.
//!
//! Here and not in the programs, because each is a file of its own. **Invariant**: the exit code is
//! 0 when nothing was violated and enough was done, 1 when something was violated, 2 when the run
//! is void or could not run.

use std::{fmt::Debug, path::Path, process::ExitCode};

use super::{Trouble, writer};

/// Runs `trial` with the arguments of this process. When that was started to write for a trial, it
/// does this instead.
pub fn main(name: &str, trial: impl FnOnce(&[&str]) -> Result<ExitCode, Trouble>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments[..] {
        ["--writer", path, seed, number] => write(path, seed, number),
        _ => trial(&arguments),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        ExitCode::from(2)
    })
}

fn write(path: &str, seed: &str, number: &str) -> Result<ExitCode, Trouble> {
    writer::serve(Path::new(path), seed.parse()?, number.parse()?)?;
    Ok(ExitCode::SUCCESS)
}

/// The one of `all` that has this name.
///
/// # Errors
/// There is none; the error says which there are.
pub fn named<T: Copy + Debug>(what: &str, all: &[T], name: &str) -> Result<T, Trouble> {
    let found = all.iter().find(|one| format!("{one:?}") == name);
    found.copied().ok_or_else(|| format!("there is no {what} {name}; one of {all:?}").into())
}

/// Says what became of a run with every safeguard, in which so many answers were violated and
/// `lacks` was not done often enough.
pub fn verdict(violated: u64, lacks: &[String]) -> ExitCode {
    if violated != 0 {
        println!("violated: {violated} answers");
        return ExitCode::from(1);
    }
    if !lacks.is_empty() {
        println!("void: {}", lacks.join("; "));
        return ExitCode::from(2);
    }
    println!("0 violations");
    ExitCode::SUCCESS
}
