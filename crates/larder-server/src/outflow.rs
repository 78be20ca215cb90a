//! The stream of one connection: what leaves for a client, and a client that does not take it.
//!
//! It stands between hyper and the socket, because hyper bounds only how long a request's head may
//! take, and answers one that it cannot read with a bare status. **Invariant**: a write that the
//! socket takes nothing of ends in an error after the limit, however the client spreads its
//! reading; and whatever is refused is refused with a problem document.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use crate::problem::{Code, Problem};

/// How long what a refused client still sends is read and thrown away: closing over unread bytes
/// resets the connection, and the refusal may be lost with it. Ten times less is shorter than a
/// round trip to the other side of the world; ten times more is a connection held for nothing.
const LINGER: Duration = Duration::from_secs(1);

/// A socket whose writes may not stand still for longer than a limit.
#[derive(Debug)]
pub struct Outflow<S = TcpStream> {
    socket: TokioIo<S>,
    limit: Duration,
    /// Runs while the socket takes nothing.
    standstill: Option<Pin<Box<Sleep>>>,
    refusal: Option<Refusal>,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// A refusal in the place of the one that hyper writes.
#[derive(Debug)]
struct Refusal {
    bytes: Vec<u8>,
    sent: usize,
    /// The length of what it stands for.
    instead_of: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outflow<S> {
    /// Over `socket`, whose client must take something of an answer within `limit`.
    pub fn new(socket: S, limit: Duration) -> Self {
        let socket = TokioIo::new(socket);
        Self { socket, limit, standstill: None, refusal: None, lingering: None }
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

    /// Whether `bytes` are, or a write before began with, an answer of hyper's own.
    #[inline]
    fn refuses(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none() && bytes.starts_with(b"HTTP/1.1 4") {
            self.refusal = refused(bytes).map(|problem| Refusal {
                bytes: problem.into_bytes(),
                sent: 0,
                instead_of: bytes.len(),
            });
        }
        self.refusal.as_ref().is_some_and(|refusal| refusal.sent < refusal.bytes.len())
    }

    #[cold]
    fn refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(refusal) = &mut self.refusal {
            let rest = refusal.bytes.get(refusal.sent..).unwrap_or_default();
            if rest.is_empty() {
                return Poll::Ready(Ok(refusal.instead_of));
            }
            match Pin::new(&mut self.socket).poll_write(context, rest) {
                Poll::Ready(Ok(count)) => refusal.sent += count,
                other => return self.written(context, other),
            }
        }
        Poll::Ready(Ok(0))
    }

    /// Reads what a refused client still sends, until it has read the refusal and closes.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut bytes = [0; 4096];
        while limit.as_mut().poll(context).is_pending() {
            let mut unread = ReadBuf::new(&mut bytes);
            let read = Pin::new(self.socket.inner_mut()).poll_read(context, &mut unread);
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The problem behind an answer that hyper writes by itself to a head that it cannot read. No
/// answer of ours begins like this: those have a media type.
#[cold]
fn refused(bytes: &[u8]) -> Option<Problem> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let rest = bytes.strip_prefix(line)?;
    if !rest.starts_with(b"\r\nconnection: close\r\ncontent-length: 0\r\n") {
        return None;
    }
    match line.get(9..12)? {
        b"400" => Some(Problem::new(
            Code::MalformedRequest,
            "the head is not HTTP/1.1: look at its first line, the names of its headers, and its \
             length headers; there is no TLS here",
        )),
        b"414" => Some(Problem::new(Code::UriTooLong, "send less in the query")),
        b"431" => Some(Problem::new(
            Code::HeadTooLarge,
            "the first line and the headers together, or their number, are over the limit; see \
             server.header_size",
        )),
        _ => None,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Outflow<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        unfilled: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, unfilled)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Outflow<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refuses(bytes) {
            return self.refuse(context);
        }
        let wrote = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.first().is_some_and(|first| self.refuses(first)) {
            return self.refuse(context);
        }
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
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        }
        match &self.refusal {
            Some(_) => self.linger(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, DuplexStream, duplex},
        time::advance,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// What the wire between the two holds.
    const ROOM: usize = 1000;

    fn connected() -> (Outflow<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(ROOM);
        (Outflow::new(server, LIMIT), client)
    }

    /// What becomes of writing `bytes` now.
    async fn write(outflow: &mut Outflow<DuplexStream>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *outflow).poll_write(context, bytes))).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_arrives_whole() {
        let (mut outflow, mut client) = connected();
        let answer: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut sent, mut taken) = (0, Vec::new());
        while taken.len() < answer.len() {
            // As much as there is room for, and then nothing for almost as long as may be.
            while let Poll::Ready(wrote) = write(&mut outflow, &answer[sent..]).await {
                sent += wrote.unwrap();
                if sent == answer.len() {
                    break;
                }
            }
            advance(LIMIT - Duration::from_millis(2)).await;
            let mut some = [0; 700];
            let count = client.read(&mut some).await.unwrap();
            taken.extend_from_slice(&some[..count]);
        }
        assert_eq!(taken, answer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_for_too_long_is_let_go() {
        let (mut outflow, mut client) = connected();
        let full = write(&mut outflow, &[1; 2 * ROOM]).await;
        assert!(matches!(full, Poll::Ready(Ok(ROOM))), "{full:?}");
        assert!(write(&mut outflow, &[2]).await.is_pending());
        advance(LIMIT - Duration::from_millis(2)).await;
        assert!(write(&mut outflow, &[2]).await.is_pending(), "its time is not over");
        client.read_exact(&mut [0; 1]).await.unwrap();
        let wrote = write(&mut outflow, &[2, 2]).await;
        assert!(matches!(wrote, Poll::Ready(Ok(1))), "{wrote:?}");
        assert!(write(&mut outflow, &[2]).await.is_pending());
        advance(LIMIT - Duration::from_millis(2)).await;
        assert!(write(&mut outflow, &[2]).await.is_pending(), "it began anew");
        advance(Duration::from_millis(4)).await;
        let ended = write(&mut outflow, &[2]).await;
        let Poll::Ready(Err(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
