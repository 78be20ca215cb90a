//! The history test as a program: `history --seed N --budget small|full`.
//!
//! It starts itself again with `--writer` for each process that writes. Exit codes: 0 when nothing
//! was violated and enough was done, 1 when something was violated, 2 when the run is void or could
//! not run. With the feature `mutants`, `--without SAFEGUARD` turns the meaning around: 0 when the
//! missing safeguard was noticed, and with `--seen-by PLACE` only if by that kind of entry or way.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use larder_core::safeguard::Safeguard;
use larder_testkit::{
    history::{Kind, Minimum, Report, Way},
    trial::{
        Fate, Journal, Plan, Sight, Stage, Stored, Tracking, Trouble,
        program::{self, named, verdict},
        run,
    },
};

/// How much smaller the small budget is.
const SMALL: u64 = 20;

const USAGE: &str =
    "say [--seed N] [--budget small|full] [--without SAFEGUARD [--seen-by KIND|WAY]]";

fn main() -> ExitCode {
    program::main("history", start)
}

fn start(arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let (mut seed, mut full, mut without) = (1, false, None);
    let mut sight = Sight::Anywhere;
    for pair in arguments.chunks(2) {
        match pair {
            ["--seed", number] => seed = number.parse()?,
            ["--budget", "small"] => full = false,
            ["--budget", "full"] => full = true,
            ["--without", name] => without = Some(named("safeguard", &Safeguard::ALL, name)?),
            ["--seen-by", name] => {
                let found = Sight::named(name);
                sight = found.ok_or_else(|| format!("there is no kind and no way {name}"))?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    println!("seed {seed}");
    match without {
        Some(safeguard) => expect_violation(seed, safeguard, sight),
        None => expect_none(seed, full),
    }
}

fn expect_none(seed: u64, full: bool) -> Result<ExitCode, Trouble> {
    let (minimum, minutes) = match full {
        true => (Minimum::full(), 30),
        false => (Minimum::full().smaller(SMALL), 2),
    };
    let plan = Plan::whole(seed, minimum.clone(), Duration::from_secs(60 * minutes));
    let report = run(&plan)?;
    print(&report);
    Ok(verdict(report.violated, &report.lacks(&minimum)))
}

fn print(report: &Report) {
    let Report { reads, close_reads, overlapping_loads, .. } = report;
    println!("{reads} reads, {close_reads} of them close after a commit on a row they cover");
    println!("{overlapping_loads} loads beside an open or committing write");
    table(&report.taken);
    if report.violated != 0 {
        println!("violated:");
        table(&report.violated_in);
    }
    for violation in &report.violations {
        println!("{violation:?}");
    }
}

/// Prints how many there are by way and kind, and in all.
fn table(counts: &BTreeMap<(Kind, Way), u64>) {
    let kinds = Kind::ALL.map(|kind| format!("{:>9}", format!("{kind:?}"))).concat();
    println!("{:>21}{:>9}{kinds}", "", "all");
    let row = |name: &str, of: &dyn Fn(Kind) -> u64| {
        let all: u64 = Kind::ALL.into_iter().map(of).sum();
        let each = Kind::ALL.map(|kind| format!("{:>9}", of(kind))).concat();
        println!("{name:>21}{all:>9}{each}");
    };
    for way in Way::ALL {
        row(&format!("{way:?}"), &|kind| counts.get(&(kind, way)).copied().unwrap_or(0));
    }
    let all = |kind| counts.iter().filter(|((own, _), _)| *own == kind).map(|(_, n)| n).sum();
    row("all", &all);
}

/// The stages in which this safeguard is all that stands between a reader and an old value.
fn stages(safeguard: Safeguard) -> Vec<Stage> {
    let stored = match safeguard {
        Safeguard::ReadOnFromMark
        | Safeguard::StandingCompared
        | Safeguard::CountedAsOfStanding
        | Safeguard::AnnouncementsTakenUp => Stored::Kept(1),
        _ => Stored::Idle,
    };
    let rows = |journal, fates: &[Fate]| Stage {
        journal,
        tracking: Tracking::Rows,
        stored,
        fates: fates.to_vec(),
    };
    let (wal, delete) = (Journal::Wal, Journal::Delete);
    match safeguard {
        Safeguard::InodeCompared => vec![rows(delete, &[Fate::Replaced])],
        Safeguard::ProofRequired => vec![rows(wal, &[Fate::Restarted])],
        // What the store has of the old file must not come back in the life of the new one.
        Safeguard::StandingCompared => vec![rows(wal, &[Fate::Replaced; 3])],
        Safeguard::TriggersVerified => vec![rows(wal, &[Fate::Rebuilt])],
        _ => vec![rows(wal, &[Fate::Peace]), rows(delete, &[Fate::Peace])],
    }
}

fn expect_violation(seed: u64, safeguard: Safeguard, sight: Sight) -> Result<ExitCode, Trouble> {
    // More than any run reaches: it goes on until a violation or the end of its time.
    let minimum = Minimum { reads: u64::MAX, ..Minimum::full() };
    let report = run(&Plan {
        stages: stages(safeguard),
        stops_at: Some(sight),
        without: Some(safeguard),
        ..Plan::whole(seed, minimum, Duration::from_secs(60))
    })?;
    print(&report);
    if sight.count(&report) == 0 {
        println!("without {safeguard:?} nothing was noticed by {sight:?}");
        return Ok(ExitCode::from(1));
    }
    println!("without {safeguard:?}: {} answers violated", sight.count(&report));
    Ok(ExitCode::SUCCESS)
}
