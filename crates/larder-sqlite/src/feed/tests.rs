//! Starting, where the machine has no thread to give; and a thread that outlives a panic.

use larder_core::{Change, Epoch, Invalidation, Moment, Position, feed::Doubt};
use larder_testkit::temp::TempDir;
use rusqlite::Connection;

use super::*;
use crate::{
    knowledge::{Coverage, Knowledge},
    origin::Track,
};

#[derive(Debug)]
struct Nobody;

impl FeedSink for Nobody {
    fn received(&self, _: &str, _: Position, _: &[Change]) {}

    fn confirmed(&self, _: &str, _: Position, _: Moment) {}

    fn restarted(&self, _: &str, _: Epoch, _: Position, _: Doubt) {}

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {}
}

/// A database with one table, and its feed, which is not started.
struct Place {
    feed: SqliteFeed,
    writer: Connection,
    knowledge: Arc<Knowledge>,
    _directory: TempDir,
}

impl Place {
    fn new(interval: Duration) -> Self {
        let directory = TempDir::new("feed").unwrap();
        let path = directory.join("shop.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("CREATE TABLE t(a)").unwrap();
        let knowledge = Arc::new(Knowledge::new("shop".into(), Coverage::Database));
        let clock = Clock::system();
        let watcher = Watcher::new(path.clone(), clock.clone(), Track::Database, knowledge.clone());
        let feed = SqliteFeed::new(knowledge.clone(), path, clock, interval, watcher).unwrap();
        Self { feed, writer, knowledge, _directory: directory }
    }
}

#[test]
fn a_feed_that_gets_no_thread_lets_go_of_its_sink_and_can_be_started_later() {
    let Place { feed, .. } = &Place::new(Duration::from_secs(3600));
    let sink = Arc::new(Nobody);
    let refused =
        feed.start_on(sink.clone(), None, |_, _| Err(std::io::ErrorKind::WouldBlock.into()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(Arc::strong_count(&sink), 1, "nobody delivers to it any more");
    assert!(!feed.shared.watcher.lock().is_started());
    feed.start(sink.clone()).unwrap();
    assert!(feed.shared.watcher.lock().is_started());
    feed.stop();
    assert_eq!(Arc::strong_count(&sink), 1);
}

/// Panics at the first change that it is told of, and passes on what happens after that.
#[derive(Debug)]
struct Fragile {
    fallen: std::sync::atomic::AtomicBool,
    heard: std::sync::mpsc::SyncSender<Option<Doubt>>,
}

impl FeedSink for Fragile {
    fn received(&self, _: &str, _: Position, _: &[Change]) {
        assert!(self.fallen.swap(true, std::sync::atomic::Ordering::SeqCst), "the first one");
        self.heard.send(None).ok();
    }

    fn confirmed(&self, _: &str, _: Position, _: Moment) {}

    fn restarted(&self, _: &str, _: Epoch, _: Position, doubt: Doubt) {
        self.heard.send(Some(doubt)).ok();
    }

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {}
}

#[test]
fn a_thread_that_panicked_goes_on_watching_in_a_new_life() {
    let Place { feed, writer, knowledge, .. } = &Place::new(Duration::from_millis(1));
    let (heard, hears) = std::sync::mpsc::sync_channel(64);
    feed.start(Arc::new(Fragile { fallen: false.into(), heard })).unwrap();
    let next = || hears.recv_timeout(Duration::from_secs(20)).expect("the thread goes on");
    assert_eq!(next(), Some(Doubt::Started));
    writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(next(), Some(Doubt::Panicked));
    assert_eq!(knowledge.panics(), 1);
    writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(next(), None, "a change is told again");
    feed.stop();
}

/// Wakes nobody.
struct Alarm;

impl std::task::Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("a waker is foreign code");
    }
}

#[test]
fn a_waker_that_panics_does_not_end_the_thread() {
    let Place { feed, writer, knowledge, .. } = &Place::new(Duration::from_millis(1));
    let (heard, hears) = std::sync::mpsc::sync_channel(64);
    feed.start(Arc::new(Fragile { fallen: true.into(), heard })).unwrap();
    let next = || hears.recv_timeout(Duration::from_secs(20)).expect("the thread goes on");
    assert_eq!(next(), Some(Doubt::Started));
    let mut waiting = Box::pin(feed.wait());
    let waker = std::task::Waker::from(Arc::new(Alarm));
    let mut context = std::task::Context::from_waker(&waker);
    // Held, so that the answer comes after the waker is in place.
    let watcher = feed.shared.watcher.lock();
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(watcher);
    writer.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(next(), None, "a change is told all the same");
    assert_eq!(knowledge.panics(), 0, "what was told is not in doubt");
    drop(waiting);
    feed.stop();
}
