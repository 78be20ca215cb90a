//! Turns of work that goes on when the client who asked for it is gone.
//!
//! Apart from those who do it, because a connection that breaks off drops the request, and with it
//! what the request holds. **Invariant**: a turn is given back when its work is done, not when
//! nobody waits for it any more.

use larder::Error;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    problem::{Code, Problem},
    server::Server,
};

use super::entries::failed;

/// Does `work` in a task that keeps `turn` until it is done: who asks and goes, and asks again, may
/// not have two of them at work.
pub(super) async fn to_its_end<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(async move {
        let result = work.await;
        drop(turn);
        result
    });
    done.await.map_err(|_| Problem::new(Code::StoreUnavailable, "it ended in a panic; see the log"))
}

/// Does work that looks at as many entries as there are, when nobody else does. As many at once as
/// the store has readers would leave none for anybody else.
///
/// # Errors
/// `overloaded` when its turn does not come within `server.request_timeout`; those of the store.
pub(super) async fn survey<T: Send + 'static>(
    server: &Server,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Problem> {
    let turn = server.surveys.clone().acquire_owned();
    let turn = tokio::time::timeout(server.config.server.request_timeout, turn).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
        let detail = "others count what is in the store, one at a time";
        Problem::new(Code::Overloaded, detail).retry_after(1)
    })?;
    to_its_end(turn, work).await?.map_err(|error| failed(&error))
}
