//! Caches that outlive the runtime their loads run on.
//!
//! **Invariant** under test: a flight that nobody can run any more is an error, never a reader that
//! waits for ever.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use larder::{Cache, Error, ErrorKind, Load, LoadError, Region};
use tokio::runtime::{Builder, Runtime};

const MINUTE: Duration = Duration::from_secs(60);

/// After this a reader counts as hung; nothing waits for it where all is well.
const LONG: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn region_on(runtime: &Runtime) -> Region<u32, i64> {
    runtime.block_on(async {
        let cache = Cache::builder().build().unwrap();
        let loader = |_: u32, load: Load| async move {
            load.tag("number");
            Ok::<_, Error>(1)
        };
        cache.region("numbers").ttl(MINUTE).loader(loader).build().unwrap()
    })
}

fn outcome<T>(
    runtime: &Runtime,
    read: impl Future<Output = Result<T, LoadError<Error>>>,
) -> LoadError<Error> {
    let answered = runtime.block_on(async { tokio::time::timeout(LONG, read).await });
    answered.expect("the reader hangs").err().expect("there is no runtime to load on")
}

fn expect_closed(error: &LoadError<Error>) {
    let LoadError::Cache(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn a_read_after_the_runtime_is_gone_is_told_so() {
    let (first, second) = (runtime(), runtime());
    let region = region_on(&first);
    drop(first);
    for _ in 0..2 {
        expect_closed(&outcome(&second, region.get_or_load(&1)));
    }
}

#[test]
fn a_flight_that_never_began_to_run_is_answered_when_its_runtime_goes() {
    // 1. A reader begins a flight, whose task waits for a runtime that nobody drives. 2. The
    // runtime is dropped, and the task with it.
    let (first, second) = (runtime(), runtime());
    let region = region_on(&first);
    let mut read = Box::pin(region.get_or_load(&1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_pending());
    drop(first);
    expect_closed(&outcome(&second, read));
}

#[test]
fn a_load_that_its_runtime_takes_along_is_answered() {
    let (first, second) = (runtime(), runtime());
    let cache = first.block_on(async { Cache::builder().build().unwrap() });
    let loader = |_: u32, load: Load| async move {
        load.tag("number");
        std::future::pending::<Result<i64, Error>>().await
    };
    let region = cache.region("numbers").ttl(MINUTE).loader(loader).build().unwrap();
    let mut read = Box::pin(region.get_or_load(&1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(read.as_mut().poll(&mut context).is_pending());
    first.block_on(async {
        while cache.stats().loads == 0 {
            tokio::task::yield_now().await;
        }
    });
    drop(first);
    expect_closed(&outcome(&second, read));
}
