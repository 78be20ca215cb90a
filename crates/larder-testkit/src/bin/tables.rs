//! The history test of cached tables as a program: `tables --seed N --budget small|full`.
//!
//! It starts itself again with `--writer` for each process that writes. Exit codes: 0 when nothing
//! was violated and enough was done, 1 when something was violated, 2 when the run is void or could
//! not run. With the feature `mutants`, `--without SAFEGUARD` turns the meaning around: 0 when the
//! missing safeguard was noticed.

use std::{process::ExitCode, time::Duration};

use larder_core::safeguard::Safeguard;
use larder_testkit::trial::{
    Trouble,
    program::{self, named, verdict},
    tables::{Case, Minimum, Plan, Report, Way, run},
};

/// What the small budget asks for in each case; the full one is so many times larger.
const SMALL: Minimum = Minimum { each_way: 200, each_deed: 1, beside: 2_000 };
const FULL: u64 = 100;

const USAGE: &str = "say [--seed N] [--budget small|full] [--case CASE] [--without SAFEGUARD]";

fn main() -> ExitCode {
    program::main("tables", start)
}

fn start(arguments: &[&str]) -> Result<ExitCode, Trouble> {
    let mut plan = Plan {
        seed: 1,
        cases: Case::ALL.to_vec(),
        rounds: 2,
        round: Duration::from_millis(400),
        minimum: SMALL,
        at_most: Duration::from_secs(90),
        without: None,
    };
    for pair in arguments.chunks(2) {
        match pair {
            ["--seed", number] => plan.seed = number.parse()?,
            ["--budget", "small"] => {}
            ["--budget", "full"] => plan = Plan { minimum: full(), ..long(plan) },
            ["--case", name] => plan.cases = vec![named("case", &Case::ALL, name)?],
            ["--without", name] => plan.without = Some(named("safeguard", &Safeguard::ALL, name)?),
            _ => return Err(USAGE.into()),
        }
    }
    println!("seed {}", plan.seed);
    match plan.without {
        Some(safeguard) => expect_violation(&plan, safeguard),
        None => expect_none(&plan),
    }
}

fn full() -> Minimum {
    let Minimum { each_way, each_deed, beside } = SMALL;
    Minimum { each_way: each_way * FULL, each_deed: each_deed * FULL, beside: beside * FULL }
}

fn long(plan: Plan) -> Plan {
    let round = Duration::from_secs(1);
    Plan { rounds: 10, round, at_most: Duration::from_secs(1_800), ..plan }
}

fn expect_none(plan: &Plan) -> Result<ExitCode, Trouble> {
    let report = run(plan)?;
    print(&report, &plan.cases);
    Ok(verdict(report.answers.violated(), &report.lacks(&plan.minimum, &plan.cases)))
}

fn print(report: &Report, cases: &[Case]) {
    let ways = Way::ALL.map(|way| format!("{:>11}", format!("{way:?}"))).concat();
    println!("{:>9}{:>9}{ways}", "", "commits");
    for case in cases {
        let commits = report.commits.get(case).copied().unwrap_or(0);
        let count = |way| report.answers.taken.get(&(*case, way)).copied().unwrap_or(0);
        let reads = Way::ALL.map(|way| format!("{:>11}", count(way))).concat();
        println!("{:>9}{commits:>9}{reads}", format!("{case:?}"));
    }
    for ((case, deed), count) in &report.deeds {
        println!("{case:?}: {count} times {deed:?}");
    }
    let moments = &report.answers;
    println!("{} reads beside a commit", moments.beside);
    for ((case, way), count) in &moments.several {
        println!("{case:?}: {count} answers {way:?} are of several moments, as they may");
    }
    for (fault, count) in &moments.wrong {
        println!("{fault:?}: {count} answers");
    }
    for violation in &moments.violations {
        println!("{violation:?}");
    }
}

/// The case in which this safeguard is all that stands between a reader and a wrong answer.
fn case_of(safeguard: Safeguard) -> Case {
    match safeguard {
        Safeguard::ToldLaidOver => Case::Records,
        Safeguard::CaughtUpBeforePublish => Case::Lax,
        Safeguard::UnsaidWidened => Case::Unsaid,
        Safeguard::VisibleBeforeLoad | Safeguard::HalvesRefused => Case::Joined,
        _ => Case::ByHand,
    }
}

fn expect_violation(plan: &Plan, safeguard: Safeguard) -> Result<ExitCode, Trouble> {
    // More than any run reaches: it goes on until a violation or the end of its time.
    let minimum = Minimum { each_way: u64::MAX, ..SMALL };
    let (cases, at_most) = (vec![case_of(safeguard)], Duration::from_secs(60));
    let report = run(&Plan { minimum, cases: cases.clone(), at_most, ..plan.clone() })?;
    print(&report, &cases);
    if report.answers.violated() == 0 {
        println!("without {safeguard:?} nothing was noticed");
        return Ok(ExitCode::from(1));
    }
    println!("without {safeguard:?}: {} answers violated", report.answers.violated());
    Ok(ExitCode::SUCCESS)
}
