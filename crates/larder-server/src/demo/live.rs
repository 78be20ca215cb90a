//! What happens, while it happens: hits, misses, invalidations and latency.
//!
//! On a terminal a line for each resource is redrawn in place; elsewhere a line is written when
//! something happened. **Invariant**: it only reads counters, so it cannot slow an answer down.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{catalog::Resource, histogram::Histogram, say, server::Server};

/// How often the terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// Shows the counters until `stop` ends.
pub async fn show(server: &Server, stop: impl Future<Output = &'static str>) {
    let redrawn = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let forever = async {
        match redrawn {
            true => redraw(server).await,
            false => write_lines(server).await,
        }
    };
    tokio::select! {
        () = forever => {}
        _ = stop => {}
    }
}

async fn redraw(server: &Server) {
    let screen = MultiProgress::new();
    let line = || {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        screen.add(bar)
    };
    let heading = line();
    heading.set_message(format!(
        "{:<18}{:>10}{:>10}{:>14}{:>14}",
        "resource", "hits", "misses", "last hit", "last miss"
    ));
    let lines: Vec<_> = server.catalog.resources.iter().map(|r| (r, line())).collect();
    let total = line();
    loop {
        for (resource, line) in &lines {
            let stats = resource.region.stats();
            let hits = stats.hits + stats.stale_hits;
            line.set_message(format!(
                "{:<18}{hits:>10}{:>10}{:>14}{:>14}",
                resource.name,
                stats.misses,
                last(&resource.hit_seconds),
                last(&resource.miss_seconds)
            ));
        }
        total.set_message(summary(server));
        tokio::time::sleep(REDRAW).await;
    }
}

async fn write_lines(server: &Server) {
    let mut shown = Vec::new();
    loop {
        let now: Vec<String> = server.catalog.resources.iter().map(described).collect();
        let now = [now, vec![summary(server)]].concat();
        for line in now.iter().filter(|line| !shown.contains(*line)) {
            say!("{line}");
        }
        shown = now;
        tokio::time::sleep(LINE).await;
    }
}

fn described(resource: &Resource) -> String {
    let stats = resource.region.stats();
    let hits = stats.hits + stats.stale_hits;
    format!(
        "{}: {hits} hits (last {}), {} misses (last {})",
        resource.name,
        last(&resource.hit_seconds),
        stats.misses,
        last(&resource.miss_seconds)
    )
}

fn summary(server: &Server) -> String {
    let status = server.cache.status();
    let changes = server.cache.stats().changes;
    format!(
        "changes seen in the database: {changes}, entries invalidated: {}, entries held: {}",
        status.invalidated, status.entries
    )
}

fn last(histogram: &Histogram) -> String {
    let seen = histogram.snapshot();
    match (seen.count(), seen.last.as_micros()) {
        (0, _) => "-".to_owned(),
        (_, micros) if micros < 1_000 => format!("{micros} us"),
        _ => format!("{:.1} ms", seen.last.as_secs_f64() * 1e3),
    }
}
