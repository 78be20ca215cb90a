//! Tables in the metrics, under larder's names and, where that is wanted, those of tablecache.
//!
//! **Invariant**: a read counts once: as a hit, a hit for which something was loaded again first,
//! or a miss.

use std::sync::{Arc, atomic::Ordering};

use larder_table::{ReplicaStats, TableStats};

use crate::{
    config::Switch,
    table::{Table, replica::Follower},
};

use super::{Page, Seconds};

/// Reads a number.
type Reading = fn(&TableStats) -> u64;

/// A metric with one value for each table.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    read: Reading,
}

const fn family(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    read: Reading,
) -> Family {
    Family { name, kind, help, read }
}

const FAMILIES: [Family; 10] = [
    family("larder_table_records", "gauge", "Records that a table holds.", |s| s.records),
    family("larder_table_bytes", "gauge", "Bytes they count.", |s| s.bytes),
    family("larder_table_limit_bytes", "gauge", "Bytes they may count.", |s| s.bytes_max),
    family("larder_table_invalid", "gauge", "Invalidations not carried out yet.", |s| s.invalid),
    family("larder_table_refreshes_total", "counter", "Loads of what was invalid.", |s| {
        s.refreshes
    }),
    family(
        "larder_table_adjustments_total",
        "counter",
        "Changes of the window, the first load included.",
        |s| s.adjustments,
    ),
    family(
        "larder_table_adjustment_expired_total",
        "counter",
        "Records that fell out of the window.",
        |s| s.expired,
    ),
    family(
        "larder_table_adjustment_loaded_total",
        "counter",
        "Records that came with a change of the window.",
        |s| s.loaded,
    ),
    family(
        "larder_table_slides_failed_total",
        "counter",
        "Steps of a sliding window that failed; the next one is tried.",
        |s| s.slides_failed,
    ),
    family(
        "larder_table_misses_shared_total",
        "counter",
        "Misses that took what another read had asked for.",
        |s| s.misses_shared,
    ),
];

/// The names that tablecache has for the same.
const TABLECACHE: [Family; 4] = [
    family("tablecache_cached_table_refreshes_total", "counter", "Refreshes.", |s| s.refreshes),
    family("tablecache_cached_table_adjustments_total", "counter", "Adjustments.", |s| {
        s.adjustments
    }),
    family(
        "tablecache_cached_table_adjustment_expired_total",
        "counter",
        "Records that expired in adjustments.",
        |s| s.expired,
    ),
    family(
        "tablecache_cached_table_adjustment_loaded_total",
        "counter",
        "Records that were loaded in adjustments.",
        |s| s.loaded,
    ),
];

/// A metric of a replica: its name, kind and help, and how it is read.
type OfReplica = (&'static str, &'static str, &'static str, fn(&ReplicaStats) -> u64);

const REPLICAS: [OfReplica; 4] = [
    (
        "larder_table_replica_connected",
        "gauge",
        "Whether a table of another server was sent whole, over a connection that is open.",
        |s| u64::from(s.is_connected),
    ),
    (
        "larder_table_replica_connections_total",
        "counter",
        "Connections to the owner that were begun.",
        |s| s.connections,
    ),
    ("larder_table_replica_versions_total", "counter", "Versions shown.", |s| s.versions),
    ("larder_table_replica_bytes_total", "counter", "Bytes that came.", |s| s.bytes),
];

/// Reads by what they took.
const READS: [(&str, Reading); 3] = [
    ("hit", |s| s.hits.saturating_sub(s.hits_with_refresh)),
    ("hit_with_refresh", |s| s.hits_with_refresh),
    ("miss", |s| s.misses),
];

impl Page {
    /// The numbers of each table, by its name.
    pub(super) fn tables(&mut self, tables: &[(&str, TableStats)], tablecache: Switch) {
        if tables.is_empty() {
            return;
        }
        let name = "larder_table_reads_total";
        self.family(name, "counter", "Reads of a table, by what they took.");
        for (table, stats) in tables {
            for (way, read) in READS {
                self.sample(name, &[("table", table), ("type", way)], read(stats));
            }
        }
        self.each(&FAMILIES, "table", tables);
        if tablecache == Switch::On {
            self.as_tablecache(tables);
        }
    }

    /// How often the files of tables that are kept were written.
    pub(super) fn saves(&mut self, tables: &[Arc<Table>]) {
        let kept = |table: &Arc<Table>| table.kept.is_some();
        if !tables.iter().any(kept) {
            return;
        }
        let name = "larder_table_saves_total";
        self.family(name, "counter", "Files written of what a table holds, by what became of it.");
        for table in tables {
            let Some(kept) = &table.kept else { continue };
            for (outcome, count) in [("written", &kept.saves), ("failed", &kept.saves_failed)] {
                let labels = [("table", &*table.name), ("outcome", outcome)];
                self.sample(name, &labels, count.load(Ordering::Relaxed));
            }
        }
        let name = "larder_table_restored";
        self.family(name, "gauge", "Whether a table began with what an earlier process saved.");
        for table in tables.iter().filter(|table| kept(table)) {
            self.sample(name, &[("table", &table.name)], u8::from(table.life.is_restored()));
        }
    }

    /// How tables of other servers follow.
    pub(super) fn replicas(&mut self, followers: &[Arc<Follower>]) {
        let stats = followers.iter().map(|own| (&*own.name, own.stats()));
        let stats: Vec<(&str, Option<ReplicaStats>)> = stats.collect();
        if stats.is_empty() {
            return;
        }
        for (name, kind, help, read) in REPLICAS {
            self.family(name, kind, help);
            for (table, stats) in &stats {
                self.sample(name, &[("table", table)], stats.as_ref().map_or(0, read));
            }
        }
        let name = "larder_table_replica_age_seconds";
        self.family(name, "gauge", "Since the last question whose answer is shown.");
        for (table, stats) in &stats {
            let age = stats.and_then(|stats| stats.age);
            if let Some(age) = age {
                let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
                self.sample(name, &[("table", table)], Seconds(micros));
            }
        }
    }

    fn as_tablecache(&mut self, tables: &[(&str, TableStats)]) {
        let name = "tablecache_cached_table_reads_total";
        self.family(name, "counter", "Reads.");
        for (table, stats) in tables {
            for (way, read) in READS {
                let way = format!("cache_{way}");
                self.sample(name, &[("table_name", table), ("type", &way)], read(stats));
            }
        }
        self.each(&TABLECACHE, "table_name", tables);
        let name = "tablecache_local_table_records_total";
        self.family(name, "gauge", "Records; there is no scratch space.");
        for (table, stats) in tables {
            for (kind, count) in [("regular", stats.records), ("scratch", 0), ("scratch_delete", 0)]
            {
                self.sample(name, &[("table_name", table), ("type", kind)], count);
            }
        }
    }

    fn each(&mut self, families: &[Family], label: &str, tables: &[(&str, TableStats)]) {
        for Family { name, kind, help, read } in families {
            self.family(name, kind, help);
            for (table, stats) in tables {
                self.sample(name, &[(label, table)], read(stats));
            }
        }
    }
}
