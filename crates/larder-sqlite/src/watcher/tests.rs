//! What a probe does after one that was stopped half way.

use larder_core::Invalidation;

use super::*;

#[derive(Debug, Default)]
struct Touches(std::sync::atomic::AtomicUsize);

impl FeedSink for Touches {
    fn received(&self, _: &str, _: Position, changes: &[Change]) {
        self.0.fetch_add(changes.len(), std::sync::atomic::Ordering::SeqCst);
    }

    fn confirmed(&self, _: &str, _: Position, _: Moment) {}

    fn restarted(&self, _: &str, _: Epoch, _: Position, _: Doubt) {}

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {}
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

/// Panics when it is told something while `armed`, and remembers why lives began.
#[derive(Debug, Default)]
struct Fragile {
    armed: std::sync::atomic::AtomicBool,
    lives: parking_lot::Mutex<Vec<(Epoch, Doubt)>>,
}

impl FeedSink for Fragile {
    fn received(&self, _: &str, _: Position, _: &[Change]) {
        assert!(!self.armed.load(std::sync::atomic::Ordering::SeqCst), "told while armed");
    }

    fn confirmed(&self, _: &str, _: Position, _: Moment) {}

    fn restarted(&self, _: &str, epoch: Epoch, _: Position, doubt: Doubt) {
        self.lives.lock().push((epoch, doubt));
    }

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {}
}

#[test]
fn a_watcher_that_panics_rests_and_then_begins_a_new_life() {
    let name = format!("larder-watcher-panic-{}.db", std::process::id());
    let path = std::env::temp_dir().join(name);
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("CREATE TABLE t(a)").unwrap();
    let (clock, coverage) = (Clock::manual(), Coverage::Database);
    let knowledge = Arc::new(Knowledge::new("shop".into(), coverage));
    let mut watcher = Watcher::new(path.clone(), clock.clone(), Track::Database, knowledge.clone());
    let sink = Arc::new(Fragile::default());
    let arm = |on| sink.armed.store(on, std::sync::atomic::Ordering::SeqCst);
    let lives = || sink.lives.lock().iter().map(|(_, doubt)| *doubt).collect::<Vec<_>>();
    watcher.deliver_to(Some(sink.clone()));
    watcher.probe().unwrap();
    let confirmed = watcher.confirmed();
    for round in 1..=2 {
        clock.advance(Duration::from_secs(1));
        writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        arm(true);
        let failed = watcher.probe().unwrap_err();
        assert!(failed.is_retryable(), "{failed}");
        arm(false);
        assert_eq!(knowledge.panics(), round);
        // It is asked often and rests all the same: each life would make everything a miss.
        clock.advance(PAUSE_AFTER_PANIC / 2);
        assert!(watcher.probe().is_err());
        assert_eq!(lives().len() as u64, round, "nothing begins yet");
        clock.advance(PAUSE_AFTER_PANIC / 2);
        watcher.probe().unwrap();
        assert_eq!(lives().last(), Some(&Doubt::Panicked));
        assert!(confirmed < watcher.confirmed());
        watcher.probe().unwrap();
    }
    assert_eq!(lives(), [Doubt::Started, Doubt::Panicked, Doubt::Panicked]);
    let epochs: std::collections::HashSet<u64> =
        sink.lives.lock().iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(epochs.len(), 3, "each life has an epoch of its own");
    drop((watcher, writer));
    std::fs::remove_file(path).ok();
}
