//! The ambient load: the one whose loader is being polled on this thread.
//!
//! It lets plain reads of a region inherit within one task, without a handle being passed around.
//! **Invariant**: it is set exactly while the future of its loader, or of [`Load::scope`], is being
//! polled; what another task or thread does at the same time never sees it. A reader outside a
//! loader pays for it with one look at a flag.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
};

use crate::load::Load;

thread_local! {
    /// Apart from the load itself: a flag without a destructor is read in one instruction.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<Load>> = const { RefCell::new(None) };
}

/// Whether the code that asks runs inside a loader.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    IS_INSIDE.get()
}

/// The load of the loader that the code that asks runs in.
pub(crate) fn current() -> Option<Load> {
    if !is_inside() {
        return None;
    }
    // A thread that ends has no load any more.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Polls `future` with `load` as the ambient one.
pub(crate) async fn within<F: Future>(load: Load, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = Entered::enter(&load);
        future.as_mut().poll(context)
    })
    .await
}

/// One poll. Ending it, also by a panic, puts back what was there before.
struct Entered(Option<Load>);

impl Entered {
    fn enter(load: &Load) -> Self {
        let before = CURRENT.replace(Some(load.clone()));
        IS_INSIDE.set(true);
        Self(before)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        IS_INSIDE.set(self.0.is_some());
        drop(CURRENT.replace(self.0.take()));
    }
}
