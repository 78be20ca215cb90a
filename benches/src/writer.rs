//! Other processes: this program again, as one that commits, holds or only burns processor time.
//!
//! `larder-bench --writer commits PATH GAP_MICROS COUNT` changes the price of item 1 at random
//! intervals and prints each price with the time of its commit; `--writer load PATH PER_SECOND`
//! changes other items and prints its rate at the end; `--writer burn` spins; `--writer links` is
//! of the benchmark `links`. **Invariant**: each ends by itself or when its standard input does, so
//! none outlives the benchmark, however that ends.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    child::Child,
    links,
    measure::Random,
    shop::{self, ITEMS},
};

/// The first argument that makes this program a writer.
pub(crate) const ARGUMENT: &str = "--writer";

/// The pause of a writer that is ahead of its rate.
const AHEAD: Duration = Duration::from_micros(300);

/// Nanoseconds of the machine's monotonic clock, which all processes read the same.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Starts this program as a writer.
pub(crate) fn start(arguments: &[&str], path: Option<&Path>, rest: &[u64]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).args(arguments).args(path).stdout(Stdio::piped());
    Child::start(command.args(rest.iter().map(u64::to_string)))
}

/// What the process does that was started as a writer.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().context("an argument is missing");
    match &*next()? {
        "commits" => commits(Path::new(&next()?), number(&next()?)?, number(&next()?)?),
        "load" => load(Path::new(&next()?), number(&next()?)?),
        "burn" => {
            end_with_input();
            loop {
                std::hint::spin_loop();
            }
        }
        links::HOLDER => links::hold(number(&next()?)?, number(&next()?)?),
        other => bail!("no such writer: {other}"),
    }
}

fn number<N: FromStr>(text: &str) -> Result<N> {
    text.parse().ok().with_context(|| format!("`{text}` is no number"))
}

fn end_with_input() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

fn commits(path: &Path, gap_micros: u64, count: u64) -> Result<()> {
    end_with_input();
    let db = shop::connect(path)?;
    let mut update = db.prepare("UPDATE item SET price = ?1 WHERE id = 1")?;
    let mut random = Random::new(now().unsigned_abs());
    let mut output = io::stdout().lock();
    for price in 1..=count {
        // At random, so as not to fall into step with the watcher.
        let gap = gap_micros / 2 + random.below(gap_micros);
        thread::sleep(Duration::from_micros(gap));
        db.execute_batch("BEGIN IMMEDIATE")?;
        update.execute([i64::try_from(price)?])?;
        // Before the commit: what it takes, and what happens until it is told, counts as well.
        let at = now();
        db.execute_batch("COMMIT")?;
        writeln!(output, "{price} {at}")?;
    }
    Ok(())
}

fn load(path: &Path, per_second: u32) -> Result<()> {
    let ended = thread::spawn(|| io::stdin().read_to_end(&mut Vec::new()));
    let db = shop::connect(path)?;
    let mut update = db.prepare("UPDATE item SET price = price + 1 WHERE id = ?1")?;
    let mut random = Random::new(5);
    let (start, mut commits) = (now(), 0u32);
    let seconds = || (now() - start) as f64 / 1e9;
    while !ended.is_finished() {
        while f64::from(commits) < seconds() * f64::from(per_second) && !ended.is_finished() {
            let other = random.below(ITEMS.unsigned_abs() - 1);
            update.execute([2 + i64::try_from(other)?])?;
            commits += 1;
        }
        thread::sleep(AHEAD);
    }
    println!("{}", f64::from(commits) / seconds());
    Ok(())
}
