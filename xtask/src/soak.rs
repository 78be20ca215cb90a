//! `cargo xtask soak`: the randomised tests, for as long as the budget says.
//!
//! A soak is an ordinary binary or test that takes a seed and a budget; `soak/table.rs` lists
//! them. **Invariant**: the seed is printed before the run, so that every failure can be repeated,
//! and the gate runs the same code as a long run, only for a shorter time.

use std::{
    collections::hash_map::RandomState,
    env,
    hash::{BuildHasher, Hasher},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    command,
    workspace::{self, Target},
};

use table::{SOAKS, Soak, Taking};

mod table;

/// What the verb takes.
pub(crate) const ARGUMENTS: &str = "[name] [--seed N] [--budget small|full]";

/// The seed of the gate that never changes: a failure with it is a change in the code.
pub(crate) const FIXED_SEED: u64 = 1;

/// How long a soak may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Fits the gate: at most about two minutes each.
    Small,
    /// What a claim of the README rests on.
    Full,
}

impl Budget {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    name: Option<String>,
    seed: Option<u64>,
    budget: Budget,
}

/// Runs the named soak, or all of them.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let Arguments { name, seed, budget } = parsed(arguments)?;
    let chosen: Vec<&Soak> = match &name {
        Some(name) => SOAKS.iter().filter(|soak| soak.name == name).collect(),
        None => SOAKS.iter().collect(),
    };
    if chosen.is_empty() {
        let names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
        bail!("no soak is named so; there are: {}", names.join(", "));
    }
    let targets = workspace::targets_in(&workspace::metadata()?);
    let seed = seed.unwrap_or_else(random_seed);
    for soak in chosen {
        refuse_absent(soak, &targets)?;
        run_one(soak, seed, budget)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of the gate: every soak with a small budget, with the fixed seed and a random one.
pub(crate) fn run_in_gate() -> Result<()> {
    let targets = workspace::targets_in(&workspace::metadata()?);
    let random = random_seed();
    println!("soaks: fixed seed {FIXED_SEED}, random seed {random}");
    for soak in SOAKS {
        refuse_absent(soak, &targets)?;
        for seed in [FIXED_SEED, random] {
            run_one(soak, seed, Budget::Small)?;
        }
    }
    Ok(())
}

fn run_one(soak: &Soak, seed: u64, budget: Budget) -> Result<()> {
    let budget_name = budget.name();
    println!("soak {}: seed {seed}, budget {budget_name}", soak.name);
    let again = format!("cargo xtask soak {} --seed {seed} --budget {budget_name}", soak.name);
    command::run(&mut command_of(soak, seed, budget))
        .with_context(|| format!("soak {} failed; repeat it with `{again}`", soak.name))
}

/// The cargo command of a soak.
///
/// The packages are not chosen with `-p` but by `--workspace` and the name of the target: so the
/// features of the dependencies are those of the whole workspace for every soak, and each
/// dependency is built for release once instead of once for each package.
fn command_of(soak: &Soak, seed: u64, budget: Budget) -> Command {
    let seed = seed.to_string();
    let mut cargo = match soak.taking {
        Taking::Arguments => {
            let mut cargo = command::cargo(&["run", "--release", "--locked"]);
            cargo.args(["--package", soak.package, "--bin", soak.target]);
            cargo.args(["--", "--seed", &seed, "--budget", budget.name()]);
            cargo
        }
        Taking::Environment => {
            let mut cargo = command::cargo(&["test", "--release", "--locked", "--workspace"]);
            cargo.args(["--test", soak.target, "--", "--nocapture"]);
            cargo
        }
        Taking::Schedules => schedules(),
    };
    // Binaries get them too: one way to ask for the budget inside a shared module.
    cargo.env("LARDER_SOAK_SEED", &seed).env("LARDER_SOAK_BUDGET", budget.name());
    cargo
}

/// Another build of everything: the flag reaches the dependencies, too. For `dev`, because it is
/// small and each schedule is mostly shuttle's own work; without SQLite, which no schedule needs.
fn schedules() -> Command {
    let mut cargo = command::cargo(&["test", "--locked", "--lib", "--no-default-features"]);
    cargo.args(["--package", "larder-memory", "--features", "larder-memory/mutants"]);
    cargo.args(["--package", "larder-table", "--features", "larder-table/mutants"]);
    cargo.args(["--package", "larder", "schedules"]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env("RUSTFLAGS", format!("{flags} --cfg shuttle -D warnings").trim_start());
    cargo
}

fn kind(soak: &Soak) -> &'static str {
    match soak.taking {
        Taking::Arguments => "bin",
        Taking::Environment => "test",
        Taking::Schedules => "lib",
    }
}

fn wanted(soak: &Soak) -> String {
    format!("{} target `{}` in {}", kind(soak), soak.target, soak.package)
}

fn is_there(soak: &Soak, targets: &[Target]) -> bool {
    targets.iter().any(|target| {
        target.package == soak.package && target.kind == kind(soak) && target.name == soak.target
    })
}

fn refuse_absent(soak: &Soak, targets: &[Target]) -> Result<()> {
    match is_there(soak, targets) {
        true => Ok(()),
        false => bail!("soak {} needs a {}, which is not there", soak.name, wanted(soak)),
    }
}

fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn parsed(arguments: &[String]) -> Result<Arguments> {
    let mut found = Arguments { name: None, seed: None, budget: Budget::Full };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--seed" => {
                let number = rest.next().context("`--seed` needs a number")?;
                let number = number.parse().context("`--seed` needs a whole number below 2^64")?;
                found.seed = Some(number);
            }
            "--budget" => match rest.next() {
                Some("small") => found.budget = Budget::Small,
                Some("full") => found.budget = Budget::Full,
                _ => bail!("`--budget` is `small` or `full`"),
            },
            flag if flag.starts_with('-') => bail!("unknown argument `{flag}`: soak {ARGUMENTS}"),
            name if found.name.is_none() => found.name = Some(name.to_owned()),
            _ => bail!("name one soak, or none for all: soak {ARGUMENTS}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read() {
        let found = parsed(&words("kill --seed 7 --budget small")).unwrap();
        let wanted = Arguments { name: Some("kill".into()), seed: Some(7), budget: Budget::Small };
        assert_eq!(found, wanted);
        for bad in ["--seed", "--seed x", "--budget huge", "--quick", "kill history"] {
            assert!(parsed(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_target_is_an_error() {
        let soak = SOAKS.first().unwrap();
        let there = Target {
            package: soak.package.into(),
            kind: kind(soak).into(),
            name: soak.target.into(),
        };
        assert!(refuse_absent(soak, &[]).is_err());
        assert!(refuse_absent(soak, &[there]).is_ok());
    }

    #[test]
    fn every_soak_has_a_name_of_its_own() {
        let mut names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SOAKS.len());
    }
}
