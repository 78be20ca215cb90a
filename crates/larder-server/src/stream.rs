//! A body that is made while it is sent: each part when there is one, until there is no more.
//!
//! Apart from `body.rs`, whose bytes are there at once, and from `route/events.rs`, which says what
//! the parts are. **Invariant**: no more than a few parts wait here for a client that is slow, and
//! whoever makes them is stopped as soon as the client has gone.

use std::{
    fmt,
    task::{Context, Poll},
};

use hyper::body::Bytes;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::AbortHandle,
};

/// Parts that wait for the connection to take them. One would make the two tasks take turns; at
/// hundreds a client that reads nothing would hold what others could use.
const PARTS: usize = 4;

/// A body whose parts come as things happen.
pub struct Stream {
    parts: Receiver<Bytes>,
    maker: AbortHandle,
}

impl Stream {
    /// Parts that a task makes until it ends. It waits in `send` for a client that is slow.
    pub fn made_by<F: Future<Output = ()> + Send + 'static>(
        make: impl FnOnce(Sender<Bytes>) -> F,
    ) -> Self {
        let (sender, parts) = mpsc::channel(PARTS);
        Self { parts, maker: tokio::spawn(make(sender)).abort_handle() }
    }

    /// The next part, if it is there.
    pub fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.parts.poll_recv(context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.maker.abort();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
