//! A store on a disk that fails, at whichever system call: S16b, S17, SD13 to SD16, SD18.
//!
//! - `shim.c`: the disk, as a library that is loaded before libc into a child process.
//! - `disk`: how it is built, loaded and told to fail.
//! - `kept`: what was acknowledged, compared with what is there.
//! - `changing`, `reading`, `opening`, `whole`: each kind of work, with each call failing in turn.
//! - `flushing`: a flush that fails, and the power that goes later.
//! - `held`: a lock that another process holds.
//!
//! Each work counts the calls that it makes and is done again with the first of them failing, the
//! second, and so on, until none is left; the small budget takes some of them, by its seed.
//! **Invariant**: whatever fails, nothing panics, the error has its documented kind, what was
//! acknowledged is there when the fault has gone, and a disk that cannot be read is never taken
//! for a store that is corrupt. On systems without `LD_PRELOAD` none of this is here;
//! `store_faults` and `store` do what needs no shim.

#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no interface")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is unexpected ends it")]

mod changing;
mod disk;
mod flushing;
mod held;
mod kept;
mod opening;
mod reading;
mod whole;

use std::{
    env,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use disk::Disk;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// What runs in the other processes. Does nothing unless it was started by one of the tests.
#[test]
fn a_process_works_on_a_failing_disk() {
    let Ok(work) = env::var(disk::WORK) else { return };
    // Threads of the store catch their panics: here each of them counts.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    let (disk, directory) = (Disk::of_this_process(), env::var_os(disk::PATH).unwrap());
    let directory = Path::new(&directory);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        match &*work {
            "change" => changing::change(&disk, directory).await,
            "change values" => changing::change_values(&disk, directory).await,
            "change and die" => changing::die(&disk).await,
            "flush" => flushing::flush(&disk, directory).await,
            "flush file" => flushing::flush_file(&disk, directory).await,
            "flush beside" => flushing::flush_beside(&disk, directory).await,
            "flush values" => flushing::flush_values(&disk, directory).await,
            "read" => reading::read(&disk, directory).await,
            "open" => opening::open(&disk, directory).await,
            "create" => opening::create(&disk, directory).await,
            "replace" => opening::replace(&disk, directory).await,
            "back up" => whole::back_up(&disk, directory).await,
            "restore" => whole::restore(&disk, directory).await,
            "hold" => held::hold(directory),
            other => panic!("there is no work `{other}`"),
        }
    });
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked on the way");
}
