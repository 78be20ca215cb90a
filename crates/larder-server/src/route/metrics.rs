//! `GET /metrics` in the text format of Prometheus.
//!
//! Written by hand: counters are read when somebody asks, so nothing is counted twice.
//! **Invariant**: the only labels are names from the configuration, statuses and fixed words; a key
//! is never one.

use std::fmt::{Display, Write as _};

use http::Response;
use larder::Stats;

use crate::{
    body::Reply,
    catalog::Resource,
    histogram::{BOUNDS_MICROS, Histogram},
    server::Server,
};

mod store;

mod tables;

pub(super) async fn answer(server: &Server) -> Response<Reply> {
    let mut page = page(server);
    if let Some(store) = &server.store {
        page.store(store).await;
    }
    super::plain("text/plain; version=0.0.4; charset=utf-8", page.0)
}

/// One family of metrics for each counter of a region.
struct Family {
    name: &'static str,
    help: &'static str,
    read: fn(&Stats) -> u64,
}

const FAMILIES: [Family; 18] = [
    Family { name: "hits", help: "Reads answered from memory, fresh.", read: |s| s.hits },
    Family { name: "stale_hits", help: "Reads answered stale.", read: |s| s.stale_hits },
    Family { name: "misses", help: "Reads answered by a load.", read: |s| s.misses },
    Family { name: "errors", help: "Reads answered with an error.", read: |s| s.errors },
    Family { name: "loads", help: "Loads begun.", read: |s| s.loads },
    Family { name: "load_errors", help: "Loads that failed.", read: |s| s.load_errors },
    Family { name: "joined", help: "Misses that shared a running load.", read: |s| s.joined },
    Family {
        name: "second_flights",
        help: "Misses for which the running load was too old.",
        read: |s| s.second_flights,
    },
    Family {
        name: "overtaken",
        help: "Loads not stored because something changed meanwhile.",
        read: |s| s.overtaken,
    },
    Family {
        name: "too_large",
        help: "Loads not stored because they exceed an entry's limit.",
        read: |s| s.too_large,
    },
    Family {
        name: "forgotten",
        help: "Loads not stored because their position is below what is remembered (the floor).",
        read: |s| s.forgotten,
    },
    Family {
        name: "widened",
        help: "Loads that depended on more than the limit, so that they fall with whole tables.",
        read: |s| s.widened,
    },
    Family {
        name: "built_on_stale",
        help: "Misses answered with a value built from another that was past its TTL.",
        read: |s| s.built_on_stale,
    },
    Family {
        name: "cycles",
        help: "Loads that had to wait for themselves, an error of the loaders.",
        read: |s| s.cycles,
    },
    Family { name: "overloaded", help: "Loads refused for lack of room.", read: |s| s.overloaded },
    Family {
        name: "revalidations",
        help: "Loads behind a stale answer.",
        read: |s| s.revalidations,
    },
    Family { name: "sampled", help: "Hits loaded again to compare.", read: |s| s.sampled },
    Family {
        name: "violations",
        help: "Sampled hits that differed from the origin.",
        read: |s| s.violations,
    },
];

fn page(server: &Server) -> Page {
    let mut out = Page(String::with_capacity(8 * 1024));
    let resources = &server.catalog.resources;
    let stats = resources.iter().map(|resource| (&*resource.name, resource.region.stats()));
    out.regions(&stats.collect::<Vec<_>>());
    out.latency(resources);
    out.cache(server);
    let name = "larder_told_invalidations_total";
    out.family(name, "counter", "Requests to invalidate, by mode.");
    out.sample(name, &[("mode", "hard")], server.told.hard.get());
    out.sample(name, &[("mode", "soft")], server.told.soft.get());
    let name = "larder_told_rewarmed_total";
    out.family(name, "counter", "Entries that clients had loaded again, by what became of them.");
    let rewarmed = &server.told.rewarm;
    out.sample(name, &[("outcome", "loaded")], rewarmed.loaded.get());
    out.sample(name, &[("outcome", "failed")], rewarmed.failed.get());
    out.sample(name, &[("outcome", "skipped")], rewarmed.skipped.get());
    out.timelines(server);
    let all = server.catalog.all_tables();
    let tables = all.iter();
    let tables: Vec<_> = tables.map(|table| (&*table.name, table.held.stats())).collect();
    out.tables(&tables, server.config.server.tablecache_metrics);
    out.saves(&server.catalog.tables);
    out.replicas(&server.catalog.followers);
    let name = "larder_http_responses_total";
    out.family(name, "counter", "Answers by status.");
    for (status, count) in server.answers.read() {
        out.sample(name, &[("status", &status.to_string())], count);
    }
    out.family("larder_uptime_seconds", "gauge", "Time since the start.");
    out.sample("larder_uptime_seconds", &[], server.uptime().as_secs());
    out
}

struct Page(String);

struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("writing to a string cannot fail");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.0, "{label}=\"{text}\"").expect("writing to a string cannot fail");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").expect("writing to a string cannot fail");
    }

    /// What happened to the answers of each resource.
    fn regions(&mut self, resources: &[(&str, Stats)]) {
        for Family { name, help, read } in FAMILIES {
            let name = format!("larder_{name}_total");
            self.family(&name, "counter", help);
            for (resource, stats) in resources {
                self.sample(&name, &[("resource", resource)], read(stats));
            }
        }
        let name = "larder_load_seconds_total";
        self.family(name, "counter", "Time spent in loads.");
        for (resource, stats) in resources {
            self.sample(name, &[("resource", resource)], Seconds(stats.load_micros));
        }
    }

    fn latency(&mut self, resources: &[Resource]) {
        let name = "larder_answer_seconds";
        let help = "Time to an answer: all misses, and one in 64 hits.";
        self.family(name, "histogram", help);
        for resource in resources {
            self.histogram(name, &resource.name, "hit", &resource.hit_seconds);
            self.histogram(name, &resource.name, "miss", &resource.miss_seconds);
        }
    }

    fn histogram(&mut self, name: &str, resource: &str, way: &str, histogram: &Histogram) {
        let seen = histogram.snapshot();
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (bound, count) in BOUNDS_MICROS.iter().zip(&seen.buckets) {
            total += count;
            let bound = Seconds(*bound).to_string();
            let labels = [("resource", resource), ("way", way), ("le", &*bound)];
            self.sample(&bucket, &labels, total);
        }
        let labels = [("resource", resource), ("way", way), ("le", "+Inf")];
        self.sample(&bucket, &labels, seen.count());
        let labels = [("resource", resource), ("way", way)];
        self.sample(&format!("{name}_sum"), &labels, seen.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &labels, seen.count());
    }

    fn cache(&mut self, server: &Server) {
        let status = server.cache.status();
        let stats = server.cache.stats();
        let (empty_bytes, empty_entries) = server.empties.held();
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        };
        one("larder_entries", "gauge", "Entries in memory.", status.entries);
        one("larder_bytes", "gauge", "Bytes they count.", status.bytes);
        one("larder_limit_bytes", "gauge", "Bytes they may count.", status.limit_bytes);
        one("larder_links", "gauge", "Links from dependencies to entries.", status.links);
        one("larder_loads_running", "gauge", "Loads that run.", status.loads_running as u64);
        one("larder_empty_bytes", "gauge", "Bytes of empty results, at most.", empty_bytes as u64);
        one("larder_empty_entries", "gauge", "Empty results, at most.", empty_entries as u64);
        let help = "Entries dropped for lack of room.";
        one("larder_evictions_total", "counter", help, status.evictions);
        let help = "Entries that fell because something changed.";
        one("larder_entries_invalidated_total", "counter", help, status.invalidated);
        let help = "Explicit invalidations.";
        one("larder_invalidations_total", "counter", help, stats.invalidations);
        let help = "Requests refused because more entries would have fallen than they allowed.";
        one("larder_told_refused_total", "counter", help, server.told.refused.get());
        let help = "Rewarmings that were not begun because as many as may were under way.";
        one("larder_told_rewarm_refused_total", "counter", help, server.told.rewarm.refused.get());
        let help = "Changes of rows told by clients.";
        one("larder_told_changes_total", "counter", help, server.told.changes.get());
        let permits = server.places.available_permits();
        let listening = server.config.server.subscribers.saturating_sub(permits) as u64;
        one("larder_subscribers", "gauge", "Clients that listen to events.", listening);
        let (events, bytes) = server.recent.kept();
        let help = "Events kept for subscribers that are slow or come back.";
        one("larder_events_kept", "gauge", help, events as u64);
        one("larder_events_kept_bytes", "gauge", "Bytes they count.", bytes as u64);
        let help = "Events sent to subscribers.";
        one("larder_events_sent_total", "counter", help, server.told.events.get());
        let help = "Events that subscribers were too slow for.";
        one("larder_events_lost_total", "counter", help, server.told.lost.get());
        one("larder_changes_total", "counter", "Changes from origins.", stats.changes);
        one("larder_restarts_total", "counter", "New epochs of timelines.", stats.restarts);
    }

    fn timelines(&mut self, server: &Server) {
        let name = "larder_watcher_panics_total";
        self.family(name, "counter", "Panics of what watches an origin, a fault of larder's.");
        for origin in &server.catalog.origins {
            self.sample(name, &[("origin", &origin.name)], origin.watcher_panics());
        }
        let timelines = server.cache.status().timelines;
        self.family("larder_timeline_position", "gauge", "Applied up to here.");
        for timeline in &timelines {
            let labels = [("timeline", &*timeline.name)];
            self.sample("larder_timeline_position", &labels, timeline.applied.0);
        }
        self.family("larder_timeline_age_seconds", "gauge", "Age of what is known.");
        for timeline in &timelines {
            if let Some(age) = timeline.proven_age {
                let labels = [("timeline", &*timeline.name)];
                self.sample("larder_timeline_age_seconds", &labels, age.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_of_a_region_shows_under_its_own_name() {
        let mut stats = Stats::default();
        (stats.hits, stats.misses, stats.overtaken) = (1, 2, 3);
        (stats.forgotten, stats.widened, stats.built_on_stale, stats.cycles) = (4, 5, 6, 7);
        let mut page = Page(String::new());
        page.regions(&[("albums", stats)]);
        let counted =
            ["hits", "misses", "overtaken", "forgotten", "widened", "built_on_stale", "cycles"];
        for (value, name) in (1..).zip(counted) {
            let line = format!("larder_{name}_total{{resource=\"albums\"}} {value}\n");
            assert!(page.0.contains(&line), "{line}{}", page.0);
        }
        for Family { name, .. } in FAMILIES {
            let head = format!("# TYPE larder_{name}_total counter\n");
            assert_eq!(page.0.matches(&head).count(), 1, "{name}");
        }
    }
}
