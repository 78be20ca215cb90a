//! The stream of one connection: a client that does not take what it asked for is let go.
//!
//! It stands between hyper and the socket, because hyper bounds only how long a request's head may
//! take. **Invariant**: a write that the socket takes nothing of ends in an error after the limit,
//! however the client spreads its reading.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A socket whose writes may not stand still for longer than a limit.
#[derive(Debug)]
pub struct Outflow {
    socket: TokioIo<TcpStream>,
    limit: Duration,
    /// Runs while the socket takes nothing.
    standstill: Option<Pin<Box<Sleep>>>,
}

impl Outflow {
    /// Over `socket`, whose client must take something of an answer within `limit`.
    pub fn new(socket: TcpStream, limit: Duration) -> Self {
        Self { socket: TokioIo::new(socket), limit, standstill: None }
    }

    /// What became of a write: progress ends a standstill, and a standstill ends the connection.
    #[inline]
    fn written(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_pending() {
            return self.stands_still(context);
        }
        self.standstill = None;
        wrote
    }

    #[cold]
    fn stands_still(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let limit = self.limit;
        let standstill = self.standstill.get_or_insert_with(|| Box::pin(sleep(limit)));
        standstill.as_mut().poll(context).map(|()| {
            let problem = format!("the client took nothing of an answer for {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
    }
}

impl Read for Outflow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        unfilled: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, unfilled)
    }
}

impl Write for Outflow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.written(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
