//! Who writes what, when several hand in at a time, leave, or close the store meanwhile.

use std::{
    path::PathBuf,
    pin::{Pin, pin},
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use larder_core::{Clock, ErrorKind};
use larder_testkit::{temp::TempDir, wait::block_on};
use parking_lot::Mutex;

use super::*;
use crate::store::{
    entry::{Lifetime, NewEntry, Stored},
    file,
    handle::SqliteStore,
    options::StoreOptions,
    queues::Queues,
    writer::Writer,
};

/// A writer over a file of its own, and what was written, in its order.
struct Desk {
    directory: TempDir,
    clock: Clock,
    writer: Writer,
    written: Arc<Mutex<Vec<u64>>>,
}

impl Desk {
    fn new() -> Self {
        let directory = TempDir::new("spot").unwrap();
        // Its time stands still, so that none of it is ever over.
        let clock = Clock::manual();
        let options = StoreOptions::new().clock(clock.clone());
        let path: PathBuf = directory.join("cache.db");
        let connection = file::open_for_writing(&path, &options).unwrap();
        let writer =
            Writer::start(connection, path, options, Arc::default(), Arc::default()).unwrap();
        Self { directory, clock, writer, written: Arc::default() }
    }

    fn queue(&self) -> Arc<Queue> {
        self.writer.queue().clone()
    }

    /// Writes the number.
    fn write(
        &self,
        durability: Durability,
        effort: Effort,
        number: u64,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        let (queue, written) = (self.queue(), self.written.clone());
        async move {
            let note = move |_: &mut Writing<'_>| {
                written.lock().push(number);
                Ok(())
            };
            queue.write(durability, effort, note).await
        }
    }

    /// Somebody who writes on the spot, where nobody else writes, and is in the middle of it until
    /// he is told to go on.
    fn busy(&self) -> (mpsc::Sender<()>, JoinHandle<Result<(), Error>>) {
        let queue = self.queue();
        is_idle(&queue);
        let (begun, has_begun) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let act = move |_: &mut Writing<'_>| {
            begun.send(thread::current().id()).ok();
            wait.recv().ok();
            Ok(())
        };
        let writes = move || block_on(queue.write(Durability::Relaxed, Effort::ROW, act));
        let busy = thread::spawn(writes);
        assert_eq!(has_begun.recv().unwrap(), busy.thread().id(), "not on the spot");
        (go, busy)
    }

    fn waiting(&self) -> u64 {
        let mut queues = Queues::default();
        self.queue().tell(&mut queues);
        queues.writes_waiting
    }
}

/// Waits until the thread has nothing to do.
fn is_idle(queue: &Queue) {
    while queue.waiting.lock().is_called {
        thread::yield_now();
    }
}

fn once<T>(write: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    write.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn whoever_writes_takes_along_what_others_hand_in() {
    let desk = Desk::new();
    let (go, busy) = desk.busy();
    let commits = desk.queue().commits.load(Ordering::SeqCst);
    let mut others: Vec<_> = (0..SPOT_MAX as u64 - 1)
        .map(|number| Box::pin(desk.write(Durability::Relaxed, Effort::ROW, number)))
        .collect();
    assert!(others.iter_mut().all(|other| once(other.as_mut()).is_pending()));
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    assert!(others.iter_mut().all(|other| matches!(once(other.as_mut()), Poll::Ready(Ok(())))));
    assert_eq!(desk.queue().commits.load(Ordering::SeqCst), commits + 1);
}

#[test]
fn nobody_writes_for_others_beyond_a_bound_and_what_he_leaves_is_written() {
    let desk = Desk::new();
    let (go, busy) = desk.busy();
    let bytes = INLINE_BYTES;
    let others: Vec<_> = (0..1000)
        .map(|number| {
            let mut other =
                Box::pin(desk.write(Durability::Relaxed, Effort::Row { bytes }, number));
            assert!(once(other.as_mut()).is_pending());
            other
        })
        .collect();
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    let commits = desk.queue().commits.load(Ordering::SeqCst);
    others.into_iter().for_each(|other| block_on(other).unwrap());
    assert!((0..1000).eq(desk.written.lock().iter().copied()));
    assert!(1 < desk.queue().commits.load(Ordering::SeqCst), "{commits}");
}

#[test]
fn nobody_writes_for_others_for_long() {
    let desk = Desk::new();
    let (go, busy) = desk.busy();
    let mut other = pin!(desk.write(Durability::Relaxed, Effort::ROW, 1));
    assert!(once(other.as_mut()).is_pending());
    desk.clock.advance(SPOT_TIME + Duration::from_micros(1));
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    // By the thread, in a commit of its own.
    block_on(other).unwrap();
    assert_eq!(desk.queue().commits.load(Ordering::SeqCst), 2);
}

#[test]
fn what_is_handed_in_while_somebody_is_alone_is_written_after_it() {
    let desk = Desk::new();
    let queue = desk.queue();
    let (begun, has_begun) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let mut alone = pin!(queue.alone(move |_| {
        begun.send(()).ok();
        wait.recv().ok();
        Ok(())
    }));
    assert!(once(alone.as_mut()).is_pending());
    has_begun.recv().unwrap();
    let mut small = pin!(desk.write(Durability::Relaxed, Effort::ROW, 1));
    assert!(once(small.as_mut()).is_pending());
    go.send(()).unwrap();
    block_on(small).unwrap();
    block_on(alone).unwrap();
}

#[test]
fn what_was_handed_in_first_is_written_first_whoever_writes_it() {
    let desk = Desk::new();
    let small = (Durability::Relaxed, Effort::ROW);
    let large = (Durability::Relaxed, Effort::MUCH);
    let durable = (Durability::Durable, Effort::ROW);
    for round in 0..50 {
        let (go, busy) = desk.busy();
        desk.written.lock().clear();
        let kinds = [small, large, small, small, durable, small, large, durable, small, small];
        let mut others: Vec<_> = (0..)
            .zip(kinds.into_iter().cycle().skip(round).take(20))
            .map(|(number, (durability, effort))| Box::pin(desk.write(durability, effort, number)))
            .collect();
        assert!(others.iter_mut().all(|other| once(other.as_mut()).is_pending()));
        go.send(()).unwrap();
        // Backwards, so that the last of them is the first to look for the connection.
        others.into_iter().rev().for_each(|other| block_on(other).unwrap());
        busy.join().unwrap().unwrap();
        assert!((0..20).eq(desk.written.lock().iter().copied()), "{:?}", desk.written.lock());
    }
}

#[test]
fn a_write_that_is_dropped_while_others_may_join_is_not_written_and_keeps_nobody() {
    let desk = Desk::new();
    let queue = desk.queue();
    // Somebody has seen others, and lets them hand in theirs before he writes.
    queue.crowd.saw(2);
    let mut dropped = Box::pin(desk.write(Durability::Relaxed, Effort::ROW, 1));
    assert!(once(dropped.as_mut()).is_pending());
    assert_eq!(desk.waiting(), 1);
    drop(dropped);
    // Nobody else comes: what it has handed in is not to wait for that.
    while desk.waiting() != 0 {
        thread::yield_now();
    }
    block_on(desk.write(Durability::Relaxed, Effort::ROW, 2)).unwrap();
    assert_eq!(*desk.written.lock(), [2]);
}

#[test]
fn tasks_of_one_thread_that_meet_write_into_one_commit() {
    let desk = Desk::new();
    desk.queue().crowd.saw(2);
    let commits = desk.queue().commits.load(Ordering::SeqCst);
    let mut tasks: Vec<_> = (0..8)
        .map(|number| Box::pin(desk.write(Durability::Relaxed, Effort::ROW, number)))
        .collect();
    assert!(tasks.iter_mut().all(|task| once(task.as_mut()).is_pending()));
    assert!(tasks.iter_mut().all(|task| matches!(once(task.as_mut()), Poll::Ready(Ok(())))));
    assert_eq!(desk.queue().commits.load(Ordering::SeqCst), commits + 1);
    // Where nobody is met any more, nobody is waited for.
    for number in 0..u64::from(CROWD_KEPT) {
        block_on(desk.write(Durability::Relaxed, Effort::ROW, number)).unwrap();
    }
    let mut alone = pin!(desk.write(Durability::Relaxed, Effort::ROW, 9));
    assert!(once(alone.as_mut()).is_ready());
}

#[test]
fn a_panic_on_the_spot_takes_nobody_with_it() {
    // SD15.
    let desk = Desk::new();
    let (go, busy) = desk.busy();
    let queue = desk.queue();
    let panics = |_: &mut Writing<'_>| -> Result<(), Error> { panic!("as the test wants") };
    let mut panicking = pin!(queue.write(Durability::Relaxed, Effort::ROW, panics));
    assert!(once(panicking.as_mut()).is_pending());
    let mut other = pin!(desk.write(Durability::Relaxed, Effort::ROW, 1));
    assert!(once(other.as_mut()).is_pending());
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    assert_eq!(block_on(panicking).unwrap_err().kind(), ErrorKind::Panicked);
    block_on(other).unwrap();
    let panics = |_: &mut Writing<'_>| -> Result<(), Error> { panic!("as the test wants") };
    let panicked = block_on(queue.write(Durability::Relaxed, Effort::ROW, panics));
    assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Panicked);
    block_on(desk.write(Durability::Relaxed, Effort::ROW, 2)).unwrap();
    assert_eq!(*desk.written.lock(), [1, 2]);
}

#[test]
fn closing_waits_for_whoever_writes_on_the_spot() {
    // S21.
    let desk = Desk::new();
    let queue = desk.queue();
    let (go, busy) = desk.busy();
    let mut left = pin!(desk.write(Durability::Relaxed, Effort::MUCH, 1));
    assert!(once(left.as_mut()).is_pending());
    let Desk { directory, writer, written, .. } = desk;
    let closing = thread::spawn(move || drop(writer));
    while !queue.closing.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    let refused = block_on(queue.write(Durability::Relaxed, Effort::ROW, |_| Ok(())));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    assert!(!closing.is_finished());
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    closing.join().unwrap();
    block_on(left).unwrap();
    assert_eq!(*written.lock(), [1]);
    // Everything is closed, so the log was copied.
    assert!(!directory.join("cache.db-wal").exists());
}

#[test]
fn a_lock_of_another_process_is_waited_for_by_the_thread() {
    // S16b, SD15.
    let desk = Desk::new();
    block_on(desk.write(Durability::Relaxed, Effort::ROW, 0)).unwrap();
    let other = Connection::open(desk.directory.join("cache.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut first = pin!(desk.write(Durability::Relaxed, Effort::ROW, 1));
    assert!(once(first.as_mut()).is_pending());
    let mut second = pin!(desk.write(Durability::Relaxed, Effort::ROW, 2));
    assert!(once(second.as_mut()).is_pending());
    other.execute_batch("COMMIT").unwrap();
    block_on(second).unwrap();
    block_on(first).unwrap();
    assert_eq!(*desk.written.lock(), [0, 1, 2]);
}

#[test]
fn nobody_waits_for_the_disk_on_the_spot() {
    let directory = TempDir::new("spot").unwrap();
    let options = StoreOptions::new().keep_every(Duration::from_secs(3600));
    let store = block_on(SqliteStore::open_with(directory.join("cache.db"), options)).unwrap();
    let entries = store.entries("r");
    let queue = store.writer_queue();
    let entry = || NewEntry::new(Stored::text("x"), Lifetime::Forever);
    for _ in 0..3 {
        // The log is copied: whoever writes next begins it anew, and flushes what it begins with.
        block_on(store.keep(None)).unwrap();
        is_idle(queue);
        let mut first = pin!(entries.insert("a", entry()));
        assert!(once(first.as_mut()).is_pending());
        block_on(first).unwrap();
        is_idle(queue);
        assert!(once(pin!(entries.insert("a", entry()))).is_ready());
    }
    is_idle(queue);
    let entries = entries.clone().durable();
    let mut durable = pin!(entries.insert("a", entry()));
    assert!(once(durable.as_mut()).is_pending());
    block_on(durable).unwrap();
}

/// While the keeper copies the last of the log; and it is written, although nobody lets go.
#[test]
fn who_is_held_back_leaves_it_to_the_thread() {
    let desk = Desk::new();
    let queue = desk.queue();
    let who = || {
        is_idle(&queue);
        let own = |_: &mut Writing<'_>| Ok(thread::current().id());
        block_on(queue.write(Durability::Relaxed, Effort::ROW, own)).unwrap()
    };
    let here = thread::current().id();
    // The first begins the log.
    who();
    assert_eq!(who(), here);
    let hold = queue.pace.hold();
    assert_ne!(who(), here);
    drop(hold);
    assert_eq!(who(), here);
}
