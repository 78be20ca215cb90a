//! Connections: accepting them, bounding them, and ending them.
//!
//! HTTP/1.1 straight on hyper: a hit is too short for layers. **Invariant**: no client can hold a
//! connection without sending a request or taking an answer, and none over the limit is served.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::{
    body::Reply,
    outflow::Outflow,
    problem::{Code, Problem},
    route,
    server::Server,
};

/// Connections over the limit that are told so; beyond these they are just closed.
const REFUSALS: usize = 64;

/// How long a refused client may take to send its request, so that it can read the refusal.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// How long to wait when the operating system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stream that was ended may take to leave: one whose client does not read would else
/// hold the server for as long as an answer may.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the kernel keeps of an answer until the client takes it; left alone it grows to megabytes
/// for each connection. It is also the step of progress: the kernel reports a full buffer as
/// writable when a part of it is free, so a tenth would do for a client that is slow on purpose,
/// and with ten times as much an honest one could seem to stand still.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The most headers of one request; hyper answers 431 beyond it. (Not with `pipeline_flush`: over a
/// head that it cannot parse, that option never sends the answer.)
const HEADERS_MAX: usize = 64;

/// The connections of one server.
#[derive(Debug)]
pub struct Connections {
    server: Arc<Server>,
    permits: Arc<Semaphore>,
    permits_count: u32,
    refusals: Arc<Semaphore>,
}

impl Connections {
    /// None yet.
    pub fn new(server: Arc<Server>) -> Self {
        let count = u32::try_from(server.config.server.connections).unwrap_or(u32::MAX);
        Self {
            permits: Arc::new(Semaphore::new(count as usize)),
            permits_count: count,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            server,
        }
    }

    /// Accepts until `stop` says so.
    pub async fn accept(&self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, _)) => self.take(stream, stop.clone()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, stop: watch::Receiver<bool>) {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(serve(self.server.clone(), stream, stop, permit));
            }
            Err(_) => {
                if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
                    tokio::spawn(refuse(stream, permit));
                }
            }
        }
    }

    /// Waits until every connection has ended, for `limit` at most; whether they have.
    pub async fn drained(&self, limit: Duration) -> bool {
        let all = self.permits.acquire_many(self.permits_count);
        timeout(limit, all).await.is_ok()
    }
}

async fn serve(
    server: Arc<Server>,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    let idle = server.config.server.idle_timeout;
    let header_bytes = server.config.server.header_bytes;
    if prepare(&stream, idle).is_err() {
        return;
    }
    let streams = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let streams = streams.clone();
        move |request| {
            let (answer, streams) = (route::answer(server.clone(), request), streams.clone());
            async move {
                let answer = answer.await;
                if matches!(answer.body(), Reply::Stream(_)) {
                    streams.store(true, Ordering::Relaxed);
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(header_bytes)
        .max_headers(HEADERS_MAX)
        .serve_connection(Outflow::new(stream, idle), service);
    let mut connection = pin!(connection);
    let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped => {
            connection.as_mut().graceful_shutdown();
            match streams.load(Ordering::Relaxed) {
                false => connection.await,
                true => timeout(FAREWELL, connection).await.unwrap_or(Ok(())),
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
    drop(permit);
}

/// Answers leave at once; what a client does not take is bounded, and in the end dropped by the
/// kernel.
fn prepare(stream: &TcpStream, idle: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = idle;
    Ok(())
}

/// Tells a client over the limit why it is not served.
async fn refuse(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let refusal = Problem::new(Code::Overloaded, "as many connections are open as may be");
    let refusal = refusal.retry_after(1).into_bytes();
    let exchange = async {
        // Closing over unread bytes would reset the connection before the answer is read.
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await?;
        stream.write_all(&refusal).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = timeout(REFUSAL_WAIT, exchange).await {
        tracing::trace!(%error, "a refused connection ended early");
    }
    drop(permit);
}
