//! `larder track` and `larder untrack`: triggers and a log in the application's database.
//!
//! **Invariant**: nothing is changed without `--yes`, and what is applied is exactly what is shown.

use anyhow::{Context as _, Result, bail};
use larder::Clock;
use larder_sqlite::track::{TrackPlan, plan_with, untrack_plan};

use crate::{
    catalog::questions,
    cli::{Track, Untrack},
    config::{Config, ConfigError, Origin as Settings, Tracking},
    exit::Exit,
    origin::Origin,
    table,
};

use super::plan::{Printed, State};

pub(super) fn run(arguments: &Track) -> Result<Exit> {
    let Track { file, origin, yes, json } = arguments;
    let config = super::load(file, None)?;
    for_each(&config, origin.as_deref(), Printed::new(*json), |name, settings, printed| {
        if settings.track != Tracking::Rows {
            printed.not_by_row(name, settings);
            return Ok(());
        }
        let plan = planned(&config, name, settings)?;
        carry_out(name, settings, &plan, *yes, printed)
    })
}

pub(super) fn run_untrack(arguments: &Untrack) -> Result<Exit> {
    let Untrack { file, origin, yes, json } = arguments;
    let config = super::load(file, None)?;
    for_each(&config, origin.as_deref(), Printed::new(*json), |name, settings, printed| {
        let plan = untrack_plan(&settings.path)?;
        carry_out(name, settings, &plan, *yes, printed)
    })
}

/// Does `step` for each chosen origin. What was done before one that fails is told all the same.
fn for_each(
    config: &Config,
    wanted: Option<&str>,
    mut printed: Printed,
    mut step: impl FnMut(&str, &Settings, &mut Printed) -> Result<()>,
) -> Result<Exit> {
    let mut chosen = chosen(config, wanted)?.into_iter();
    let done = chosen.try_for_each(|(name, settings)| step(name, settings, &mut printed));
    printed.end();
    done.map(|()| Exit::Done)
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

/// The plan for everything that the resources and the tables of one origin read.
fn planned(config: &Config, name: &str, settings: &Settings) -> Result<TrackPlan> {
    let place = format!("origin.{name}");
    let origin = Origin::open(name, settings, &Clock::system())
        .map_err(|error| crate::catalog::failed(&place, &error))?;
    let mut own = config.clone();
    own.resources.retain(|_, resource| resource.origin == name);
    let origins = [origin];
    let questions = questions(&own, &origins)?;
    let mut statements: Vec<_> =
        questions.iter().map(|(.., question)| question.statement().clone()).collect();
    let mut looked_at = Vec::new();
    for (table, settings) in config.tables.iter().filter(|(_, table)| table.origin == name) {
        let failed = |error| crate::catalog::failed(&format!("table.{table}"), &error);
        for origin in &origins {
            let planned = table::Plan::new(table, settings, origin).map_err(failed)?;
            let (statement, columns) = planned.looks_at();
            statements.push(statement);
            looked_at.extend(columns);
        }
    }
    if statements.is_empty() {
        let problem = "no resource and no table reads from it, so there is nothing to track";
        return Err(ConfigError::new(place, problem).into());
    }
    Ok(plan_with(&settings.path, &name.into(), &statements, &looked_at)?)
}

/// Shows the plan, and applies it if that was wanted.
fn carry_out(
    name: &str,
    settings: &Settings,
    plan: &TrackPlan,
    yes: bool,
    printed: &mut Printed,
) -> Result<()> {
    printed.plan(name, settings, plan);
    let state = match (plan.sql.is_empty(), yes) {
        (true, _) => State::Nothing,
        (false, false) => State::Shown,
        (false, true) => {
            let place = || format!("cannot change {}", settings.path.display());
            plan.apply(&settings.path).with_context(place)?;
            State::Applied
        }
    };
    printed.state(name, settings, plan, state);
    Ok(())
}
