//! The exchange that the service asks: a small HTTP server of this process, and its client.
//!
//! It stands in for an API of somebody else: slow, counted, and now and then out of order.
//! **Invariant**: it answers one request for each connection, and counts it.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a request may have at most; they have some hundred bytes.
const REQUEST_BYTES_MAX: u64 = 8 << 10;

/// What an answer may have at most.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The server. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Exchange {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    down: HashSet<String>,
    day: u32,
}

impl Exchange {
    /// Opens on any free port of this machine.
    pub(crate) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = Self { address: listener.local_addr()?, state: Arc::default() };
        let serving = own.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let exchange = serving.clone();
                tokio::spawn(async move { exchange.answer(stream).await });
            }
        });
        Ok(own)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The paths that were asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.with(|state| std::mem::take(&mut state.asked));
        asked.sort_unstable();
        asked
    }

    /// Lets a path fail from now on.
    pub(crate) fn breaks(&self, path: &str) {
        self.with(|state| state.down.insert(path.to_owned()));
    }

    /// Another day, with other prices.
    pub(crate) fn next_day(&self) {
        self.with(|state| state.day += 1);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        let mut limited = (&mut stream).take(REQUEST_BYTES_MAX);
        while !request.ends_with(b"\r\n\r\n") {
            if limited.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8_lossy(&request);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let (is_down, day) = self.with(|state| {
            state.asked.push(path.clone());
            (state.down.contains(&path), state.day)
        });
        // A code that no stock has is not found; the rest is made up.
        let (status, body) = match path.rsplit('/').next() {
            _ if is_down => ("503 Service Unavailable", "the exchange is closed".to_owned()),
            Some(code) if code.len() != 4 => ("404 Not Found", "no such stock".to_owned()),
            _ => ("200 OK", format!("{{\"path\":\"{path}\",\"day\":{day}}}")),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await
    }
}

/// The body of `path` at `address`, or what went wrong in words.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let answer = exchanged(address, path).await.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => Err(format!("{}: {body}", status.unwrap_or("nothing"))),
    }
}

async fn exchanged(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
