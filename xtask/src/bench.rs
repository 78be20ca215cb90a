//! `cargo xtask bench`: the benchmarks, each ratio against a peer measured in the same run.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{command, tools};

/// What the verb takes.
pub(crate) const ARGUMENTS: &str = "[name] [--json FILE]";

/// The servers and load makers that a benchmark compares with: package, program.
const PEERS: &[(&str, &str)] =
    &[("nginx", "nginx"), ("wrk", "wrk"), ("redis-server", "redis-server")];

/// Installs what is missing and runs the benchmark `name`, or all.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    check(arguments)?;
    for (package, program) in PEERS {
        tools::ensure_debian(package, program)?;
    }
    tools::ensure_python()?;
    let mut cargo = command::cargo(&["run", "--release", "--locked", "-p", "larder-bench", "--"]);
    command::run(cargo.args(arguments))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses before a long build what the benchmark would refuse after it.
fn check(arguments: &[String]) -> Result<()> {
    let mut names = 0;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" if rest.next().is_none() => bail!("`--json` needs the name of a file"),
            "--json" => {}
            flag if flag.starts_with('-') => bail!("unknown argument `{flag}`: bench {ARGUMENTS}"),
            _ => names += 1,
        }
    }
    match names {
        0 | 1 => Ok(()),
        _ => bail!("name one benchmark, or none for all: bench {ARGUMENTS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn accepts(line: &str) -> bool {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        check(&words).is_ok()
    }

    #[test]
    fn arguments_are_checked_before_the_build() {
        assert!(accepts(""));
        assert!(accepts("hit --json out.json"));
        assert!(!accepts("--json"));
        assert!(!accepts("hit sweep"));
        assert!(!accepts("--fast"));
    }
}
