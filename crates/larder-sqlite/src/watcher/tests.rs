//! What a probe does after one that was stopped half way.

use super::*;

#[derive(Debug, Default)]
struct Touches(std::sync::atomic::AtomicUsize);

impl FeedSink for Touches {
    fn received(&self, _: &str, _: Position, changes: &[Change]) {
        self.0.fetch_add(changes.len(), std::sync::atomic::Ordering::SeqCst);
    }

    fn confirmed(&self, _: &str, _: Position, _: Moment) {}

    fn restarted(&self, _: &str, _: Epoch, _: Position, _: Doubt) {}
}

#[test]
fn a_commit_in_wal_mode_is_not_forgotten_by_a_look_that_got_no_lock() {
    let name = format!("larder-watcher-{}.db", std::process::id());
    let path = std::env::temp_dir().join(name);
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute_batch("CREATE TABLE t(a)").unwrap();
    let knowledge = Arc::new(Knowledge::new("shop".into(), Coverage::Database));
    let mut watcher = Watcher::new(path.clone(), Clock::system(), Track::Database, knowledge);
    let sink = Arc::new(Touches::default());
    watcher.deliver_to(Some(sink.clone()));
    watcher.probe().unwrap();
    let touches = || sink.0.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(touches(), 0);
    writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    // What a look leaves that saw the number move and then could not read under a lock.
    watcher.connected.as_mut().unwrap().settled = None;
    watcher.probe().unwrap();
    assert_eq!(touches(), 1);
    watcher.probe().unwrap();
    assert_eq!(touches(), 1);
    drop((watcher, writer));
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", path.display())).ok();
    }
}
