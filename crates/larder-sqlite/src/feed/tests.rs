//! Starting, where the machine has no thread to give.

use larder_core::{Change, Epoch, Moment, Position, feed::Doubt};
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
}

#[test]
fn a_feed_that_gets_no_thread_lets_go_of_its_sink_and_can_be_started_later() {
    let name = format!("larder-feed-{}.db", std::process::id());
    let path = std::env::temp_dir().join(name);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    let knowledge = Arc::new(Knowledge::new("shop".into(), Coverage::Database));
    let clock = Clock::system();
    let watcher = Watcher::new(path.clone(), clock.clone(), Track::Database, knowledge);
    let interval = Duration::from_secs(3600);
    let feed = SqliteFeed::new("shop".into(), path.clone(), clock, interval, watcher).unwrap();
    let sink = Arc::new(Nobody);
    let refused = feed.start_on(sink.clone(), |_, _| Err(std::io::ErrorKind::WouldBlock.into()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(Arc::strong_count(&sink), 1, "nobody delivers to it any more");
    assert!(!feed.shared.watcher.lock().is_started());
    feed.start(sink.clone()).unwrap();
    assert!(feed.shared.watcher.lock().is_started());
    feed.stop();
    assert_eq!(Arc::strong_count(&sink), 1);
    std::fs::remove_file(path).ok();
}
