//! Rows: what a benchmark found, as a table for people and as JSON for programs.
//!
//! **Invariant**: a ratio is of two figures of one run on one machine; a row without a peer has
//! neither a peer's value nor a ratio.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Benchmark and case, `/` between them.
    pub(crate) name: String,
    /// What was measured: a median, or what the name says.
    pub(crate) value: f64,
    /// Of `value` and `peer_value`.
    pub(crate) unit: &'static str,
    /// With what it was compared.
    pub(crate) peer: Option<String>,
    /// The same figure of the peer.
    pub(crate) peer_value: Option<f64>,
    /// `value / peer_value`, where both are from the same run.
    pub(crate) ratio: Option<f64>,
    /// Rounds, or samples for a percentile.
    pub(crate) runs: usize,
}

impl Row {
    /// A figure that stands alone.
    pub(crate) fn alone(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        runs: usize,
    ) -> Self {
        let name = name.into();
        Self { name, value, unit, peer: None, peer_value: None, ratio: None, runs }
    }

    /// Compares it with a peer's figure of the same run, in the same unit.
    #[must_use]
    pub(crate) fn against(mut self, peer: impl Into<String>, peer_value: f64) -> Self {
        self.peer = Some(peer.into());
        self.peer_value = Some(peer_value);
        self.ratio = Some(self.value / peer_value);
        self
    }

    /// Shows a peer's figure beside it that is from elsewhere, as the peer's name says: between
    /// machines there is no ratio.
    #[must_use]
    pub(crate) fn beside(mut self, peer: impl Into<String>, peer_value: f64) -> Self {
        self.peer = Some(peer.into());
        self.peer_value = Some(peer_value);
        self
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["what", "value", "unit", "peer", "peer value", "ratio", "runs"]);
    let number = |number: Option<f64>| {
        let text = number.map_or_else(String::new, |number| format!("{number:.2}"));
        Cell::new(text).set_alignment(CellAlignment::Right)
    };
    for row in rows {
        let Row { name, value, unit, peer, peer_value, ratio, runs } = row;
        table.add_row([
            Cell::new(name),
            number(Some(*value)),
            Cell::new(unit),
            Cell::new(peer.as_deref().unwrap_or_default()),
            number(*peer_value),
            number(*ratio),
            Cell::new(runs).set_alignment(CellAlignment::Right),
        ]);
    }
    table
}

/// Writes the rows as a JSON array.
pub(crate) fn write_json(rows: &[Row], path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(rows)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
