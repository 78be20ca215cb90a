//! Code of the user that panics, or comes back into the cache, at the worst moment.
//!
//! **Invariant** under test: no lock of the cache is held while code of the user runs, and whatever
//! that code does, those who wait are answered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use larder::{Cache, Load, LoadError, Region, Transient};

const MINUTE: Duration = Duration::from_secs(60);

/// After this a reader counts as hung; nothing waits for it where all is well.
const LONG: Duration = Duration::from_secs(20);

/// Runs `test` on a runtime of its own, on a thread that may hang without taking the tests along.
fn unless_it_hangs<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (sender, ended) = mpsc::channel();
    let running = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
        sender.send(()).unwrap();
    });
    match ended.recv_timeout(LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("somebody waits for ever"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => running.join().unwrap(),
    }
}

/// An error that cannot be asked what it is.
#[derive(Debug)]
struct Sphinx;

impl Transient for Sphinx {
    fn is_transient(&self) -> bool {
        panic!("the question was put");
    }
}

#[test]
fn an_error_that_panics_when_it_is_asked_what_it_is_counts_as_lasting() {
    unless_it_hangs(|| async {
        let cache = Cache::builder().build().unwrap();
        let loader = |_: u32, load: Load| async move {
            load.tag("number");
            Err::<i64, _>(Sphinx)
        };
        let builder = cache.region("numbers").ttl(MINUTE).stale_if_error(MINUTE);
        let region = builder.loader(loader).build().unwrap();
        let readers = [(); 2].map(|()| {
            let region = region.clone();
            tokio::spawn(async move { region.get_or_load(&1).await.unwrap_err() })
        });
        for reader in readers {
            let error = reader.await.unwrap();
            assert!(matches!(error, LoadError::Load(_)), "{error:?}");
        }
        // The key rests, and the question is put again.
        assert!(matches!(region.get_or_load(&1).await, Err(LoadError::Load(_))));
    });
}

/// An error that reads the region once more, by the same key, when it is dropped.
#[derive(Debug)]
struct Revenant(Arc<AtomicUsize>);

static HAUNTED: OnceLock<Region<u32, i64, Revenant>> = OnceLock::new();

impl Transient for Revenant {
    fn is_transient(&self) -> bool {
        read_again();
        true
    }
}

impl Drop for Revenant {
    fn drop(&mut self) {
        read_again();
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether it reads already: its own reads end in such errors, too.
static IS_READING: AtomicBool = AtomicBool::new(false);

fn read_again() {
    if IS_READING.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut read = Box::pin(HAUNTED.get().unwrap().get_or_load(&1));
    let _ = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    IS_READING.store(false, Ordering::SeqCst);
}

#[test]
fn an_error_may_read_the_region_when_it_is_asked_and_when_it_is_dropped() {
    unless_it_hangs(|| async {
        let clock = larder::Clock::manual();
        let cache = Cache::builder().clock(clock.clone()).build().unwrap();
        let (loads, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let loader = {
            let (loads, dropped) = (loads.clone(), dropped.clone());
            move |_: u32, load: Load| {
                let (load_number, dropped) =
                    (loads.fetch_add(1, Ordering::SeqCst), dropped.clone());
                async move {
                    load.tag("number");
                    if load_number < 2 { Err(Revenant(dropped)) } else { Ok(7) }
                }
            }
        };
        let builder = cache.region("numbers").ttl(MINUTE).stale_if_error(MINUTE);
        let region = builder.loader(loader).build().unwrap();
        assert!(HAUNTED.set(region.clone()).is_ok());
        // The second failure replaces the error of the first pause, the third load ends it.
        for failures in [1, 2] {
            assert!(region.get_or_load(&1).await.is_err());
            assert_eq!(loads.load(Ordering::SeqCst), failures);
            clock.advance(Duration::from_secs(6));
        }
        assert_eq!(*region.get_or_load(&1).await.unwrap(), 7);
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
    });
}
