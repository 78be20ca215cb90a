//! The store in the metrics: how it is, what is in it, and what happened to it.
//!
//! Apart from the rest because it has to be asked. **Invariant**: a condition that an operator must
//! see is there even where the store cannot be asked.

use larder_sqlite::store::SqliteStore;

use super::{
    super::store::{WORDS, word},
    Page,
};

impl Page {
    pub(super) async fn store(&mut self, store: &SqliteStore) {
        let name = "larder_store_condition";
        let help = "One for how the file of the store is; `corrupt`, `moved` and `replaced` want \
                    somebody to look.";
        self.family(name, "gauge", help);
        let condition = word(&store.condition());
        for word in WORDS {
            self.sample(name, &[("condition", word)], u64::from(word == condition));
        }
        let Ok(stats) = store.stats().await else { return };
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        };
        one("larder_store_entries", "gauge", "Entries in the store.", stats.entries);
        one("larder_store_bytes", "gauge", "Bytes of their keys and values.", stats.bytes);
        one("larder_store_hits_total", "counter", "Reads that found a value.", stats.hits);
        one("larder_store_misses_total", "counter", "Reads that found none.", stats.misses);
        one("larder_store_errors_total", "counter", "Reads that failed.", stats.errors);
        one("larder_store_written_total", "counter", "Entries written.", stats.written);
        let help = "Commits; many writes share one.";
        one("larder_store_commits_total", "counter", help, stats.commits);
        let queues = store.queues();
        let help = "Connections that small reads borrow and that are open.";
        one("larder_store_connections_open", "gauge", help, queues.connections_open);
        let help = "Reads that wait for a thread.";
        one("larder_store_reads_waiting", "gauge", help, queues.reads_waiting);
        let help = "Writes that wait for the writer.";
        one("larder_store_writes_waiting", "gauge", help, queues.writes_waiting);
        let name = "larder_store_unserved_total";
        self.family(name, "counter", "Calls that were late, or found too many waiting.");
        for (call, why, count) in [
            ("read", "late", queues.reads_late),
            ("read", "refused", queues.reads_refused),
            ("write", "late", queues.writes_late),
            ("write", "refused", queues.writes_refused),
        ] {
            self.sample(name, &[("call", call), ("why", why)], count);
        }
        let name = "larder_store_gone_total";
        self.family(name, "counter", "Entries that went, by cause.");
        for (cause, count) in
            [("removed", stats.removed), ("expired", stats.expired), ("evicted", stats.evicted)]
        {
            self.sample(name, &[("cause", cause)], count);
        }
    }
}
