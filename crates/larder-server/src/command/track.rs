//! `larder track` and `larder untrack`: triggers and a log in the application's database.
//!
//! **Invariant**: nothing is changed without `--yes`, and what is applied is exactly what is shown.

use anyhow::{Context as _, Result, bail};
use larder::Clock;
use larder_sqlite::track::{TrackPlan, plan, untrack_plan};

use crate::{
    catalog::questions,
    cli::{Track, Untrack},
    config::{Config, ConfigError, Origin as Settings, Tracking},
    exit::Exit,
    origin::Origin,
    say,
};

pub(super) fn run(arguments: &Track) -> Result<Exit> {
    let config = super::load(&arguments.file, None)?;
    for (name, settings) in chosen(&config, arguments.origin.as_deref())? {
        if settings.track != Tracking::Rows {
            say!("origin {name}: `track` is not \"rows\", so there is nothing to do");
            continue;
        }
        let plan = planned(&config, name, settings)?;
        show(name, settings, &plan);
        decide(name, settings, &plan, arguments.yes)?;
    }
    Ok(Exit::Done)
}

pub(super) fn run_untrack(arguments: &Untrack) -> Result<Exit> {
    let config = super::load(&arguments.file, None)?;
    for (name, settings) in chosen(&config, arguments.origin.as_deref())? {
        let plan = untrack_plan(&settings.path)?;
        show(name, settings, &plan);
        decide(name, settings, &plan, arguments.yes)?;
    }
    Ok(Exit::Done)
}

/// Tracks every origin that is to be tracked by row, without asking: for a database of our own.
pub fn ensure(config: &Config) -> Result<()> {
    for (name, settings) in &config.origins {
        if settings.track == Tracking::Rows {
            planned(config, name, settings)?.apply(&settings.path)?;
        }
    }
    Ok(())
}

fn chosen<'a>(config: &'a Config, wanted: Option<&str>) -> Result<Vec<(&'a str, &'a Settings)>> {
    let all = config.origins.iter().map(|(name, settings)| (&**name, settings));
    let found: Vec<_> = all.filter(|(name, _)| wanted.is_none_or(|own| own == *name)).collect();
    match (found.is_empty(), wanted) {
        (false, _) => Ok(found),
        (true, Some(name)) => bail!("there is no [origin.{name}] in the configuration"),
        (true, None) => bail!("there is no [origin.NAME] in the configuration"),
    }
}

/// The plan for everything that the resources of one origin read.
fn planned(config: &Config, name: &str, settings: &Settings) -> Result<TrackPlan> {
    let place = format!("origin.{name}");
    let origin = Origin::open(name, settings, &Clock::system())
        .map_err(|error| crate::catalog::failed(&place, &error))?;
    let mut own = config.clone();
    own.resources.retain(|_, resource| resource.origin == name);
    let questions = questions(&own, &[origin])?;
    if questions.is_empty() {
        let problem = "no resource reads from it, so there is nothing to track";
        return Err(ConfigError::new(place, problem).into());
    }
    let statements: Vec<_> =
        questions.iter().map(|(.., question)| question.statement().clone()).collect();
    Ok(plan(&settings.path, &name.into(), &statements)?)
}

fn show(name: &str, settings: &Settings, plan: &TrackPlan) {
    say!("origin {name}: {}", settings.path.display());
    for table in &plan.tables {
        match (table.by_row, &*table.why) {
            (true, _) => say!("  {} is tracked row by row", table.table),
            (false, why) => say!("  {} is not tracked row by row: {why}", table.table),
        }
    }
    for note in &plan.notes {
        say!("  note: {note}");
    }
    for sql in &plan.sql {
        say!("\n{sql};");
    }
    say!();
}

fn decide(name: &str, settings: &Settings, plan: &TrackPlan, yes: bool) -> Result<()> {
    match (plan.sql.is_empty(), yes) {
        (true, _) => say!("origin {name}: nothing has to be done"),
        (false, false) => say!("origin {name}: nothing was changed; add --yes to apply this"),
        (false, true) => {
            let place = || format!("cannot change {}", settings.path.display());
            plan.apply(&settings.path).with_context(place)?;
            say!("origin {name}: done, {} statements in one transaction", plan.sql.len());
        }
    }
    Ok(())
}
