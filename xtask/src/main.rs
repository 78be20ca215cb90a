//! All automation of the workspace, one verb for each job.
//!
//! There are no shell scripts beside it: what runs on a maintainer's machine and what runs in the
//! gate is the same program. **Invariant**: a verb that cannot do its whole job fails; none skips
//! a part in silence.
//!
//! Read next: `test.rs`, the gate; `tidy.rs`, the rules of `STYLE.md` as code.

use std::{env, process::ExitCode};

use anyhow::Result;

mod bench;
mod command;
mod soak;
mod test;
mod tidy;
mod tools;
mod watch;
mod workspace;

/// A verb: its name, its arguments as shown in the help, what it does, and the function.
type Verb = (&'static str, &'static str, &'static str, fn(&[String]) -> Result<ExitCode>);

const VERBS: &[Verb] = &[
    ("test", "", "run every check of the gate, in order, and stop at the first failure", test::run),
    ("tidy", "", "check the rules of STYLE.md that a program can check", tidy::run),
    ("soak", soak::ARGUMENTS, "run the long randomised tests", soak::run),
    ("bench", bench::ARGUMENTS, "measure larder against its peers", bench::run),
    ("help", "", "show this list", help),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let Some((.., verb)) = VERBS.iter().find(|(known, ..)| *known == name) else {
        eprintln!("xtask: there is no verb `{name}`; `cargo xtask help` lists them");
        return ExitCode::from(2);
    };
    verb(rest).unwrap_or_else(|error| {
        eprintln!("xtask {name}: {error:#}");
        ExitCode::FAILURE
    })
}

fn help(_: &[String]) -> Result<ExitCode> {
    println!("usage: cargo xtask <verb> [arguments]\n");
    for (name, arguments, summary, _) in VERBS {
        println!("  {:<50} {summary}", format!("{name} {arguments}"));
    }
    Ok(ExitCode::SUCCESS)
}
