//! What `larder track` and `larder untrack` print: for people as it happens, or one JSON document.
//!
//! Apart from `track.rs`, which decides what is done. **Invariant**: a plan is shown whole before
//! anything of it is applied, and the JSON says the same as the text.

use larder_sqlite::track::TrackPlan;
use serde_json::{Value, json};

use crate::{config::Origin as Settings, say};

/// What became of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// There was nothing to do.
    Nothing,
    /// It waits for `--yes`.
    Shown,
    /// It was applied, in one transaction.
    Applied,
}

/// Where it is printed.
#[derive(Debug)]
pub(super) enum Printed {
    Text,
    Json(Vec<Value>),
}

impl Printed {
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json(Vec::new()) } else { Self::Text }
    }

    /// An origin for which no plan is made.
    pub(super) fn not_by_row(&mut self, name: &str, settings: &Settings) {
        match self {
            Self::Text => {
                say!("origin {name}: `track` is not \"rows\", so there is nothing to do");
            }
            Self::Json(origins) => {
                let path = settings.path.display().to_string();
                origins.push(json!({ "name": name, "path": path, "state": "not-by-row" }));
            }
        }
    }

    /// A plan, before anything is done. JSON tells it together with what became of it.
    pub(super) fn plan(&mut self, name: &str, settings: &Settings, plan: &TrackPlan) {
        if let Self::Json(_) = self {
            return;
        }
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

    /// What became of the plan.
    pub(super) fn state(
        &mut self,
        name: &str,
        settings: &Settings,
        plan: &TrackPlan,
        state: State,
    ) {
        let Self::Json(origins) = self else {
            let count = plan.sql.len();
            return match state {
                State::Nothing => say!("origin {name}: nothing has to be done"),
                State::Shown => {
                    say!("origin {name}: nothing was changed; add --yes to apply this");
                }
                State::Applied => {
                    say!("origin {name}: done, {count} statements in one transaction");
                }
            };
        };
        let state = match state {
            State::Nothing => "nothing-to-do",
            State::Shown => "shown",
            State::Applied => "applied",
        };
        let tables = plan.tables.iter().map(|own| {
            let why = (!own.by_row).then_some(&own.why);
            json!({ "name": &*own.table, "by_row": own.by_row, "why_not": why })
        });
        origins.push(json!({
            "name": name,
            "path": settings.path.display().to_string(),
            "state": state,
            "tables": tables.collect::<Vec<_>>(),
            "notes": plan.notes,
            "sql": plan.sql,
        }));
    }

    /// Everything was told.
    pub(super) fn end(self) {
        if let Self::Json(origins) = self {
            say!("{:#}", json!({ "origins": origins }));
        }
    }
}
