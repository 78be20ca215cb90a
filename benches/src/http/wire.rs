//! HTTP by hand, as much as the benchmark needs: one request, and the upstream of nginx.
//!
//! **Invariant**: the upstream gives every request the answer it was made from, and counts it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

/// How long a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Headers of one connection, which nobody passes on.
const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];

/// An answer: the lines of its head and its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The value of the header `name`, given in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, text)| text)
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.iter().skip(1).filter_map(|line| line.split_once(": "))
    }
}

/// Asks the server on `port` for `path`, on a connection of its own; fails unless that is a 200.
pub(super) fn get(port: u16, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let host = format!("127.0.0.1:{port}");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end =
        bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the head")?;
    let body = bytes.split_off(end + 4);
    let head: Vec<String> = String::from_utf8(bytes)?.lines().map(str::to_owned).collect();
    let first = head.first().context("no head")?;
    anyhow::ensure!(first.starts_with("HTTP/1.1 200"), "the answer is {first}");
    Ok(Answer { head, body })
}

/// Whether the server on `port` answers `path` with 200 by now.
pub(super) fn is_ready(port: u16, path: &str) -> bool {
    get(port, path).is_ok()
}

/// The server behind nginx, on a thread of this process until dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: AtomicU64,
    stopping: AtomicBool,
}

impl Upstream {
    /// Begins to give `answer` to everybody who asks.
    pub(super) fn start(answer: &Answer) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let bytes = bytes(answer);
        let own = shared.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stopping.load(Ordering::SeqCst) {
                    break;
                }
                own.asked.fetch_add(1, Ordering::SeqCst);
                if let Err(error) = stream.and_then(|stream| reply(stream, &bytes)) {
                    eprintln!("  the upstream failed to answer: {error}");
                }
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// How many requests there were.
    pub(super) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // It waits for a connection: this is the last.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn bytes(answer: &Answer) -> Vec<u8> {
    let mut text = String::from("HTTP/1.1 200 OK\r\nConnection: close\r\n");
    for (name, value) in answer.headers() {
        if !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&answer.body);
    bytes
}

fn reply(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => head.extend(part.iter().take(count)),
        }
    }
    stream.write_all(bytes)
}
