//! A small HTTP/1.1 client that sends exactly what it is told.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    host: String,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn is_hit(&self) -> bool {
        assert_eq!(self.status, 200, "{self:?}");
        self.header("cache-status").starts_with("larder; hit")
    }

    pub(crate) fn is_miss(&self) -> bool {
        assert_eq!(self.status, 200, "{self:?}");
        self.header("cache-status").starts_with("larder; fwd=miss")
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, host: address.to_string(), unread: Vec::new() }
    }

    /// With hardly any room for what it has not taken: the server sees how slowly it reads.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self { stream, host: address.to_string(), unread: Vec::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Sends a request; a `host` among the headers replaces the usual one.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {}\r\n", self.host));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        self.write(&format!("{head}\r\n{body}")).await;
        self.read(method).await
    }

    pub(crate) async fn write(&mut self, text: &str) {
        // The server may answer and close before everything is sent; the answer tells.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Reads one answer to a request of that method.
    pub(crate) async fn read(&mut self, method: &str) -> Answer {
        tokio::time::timeout(PATIENCE, self.read_answer(method)).await.expect("an answer in time")
    }

    async fn read_answer(&mut self, method: &str) -> Answer {
        let end = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(place) => break place,
                None => assert!(self.more().await, "closed without an answer: {:?}", self.unread),
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let bodiless = method == "HEAD" || status == 304;
        let length = answer.header("content-length").parse().unwrap_or(0);
        let length = if bodiless { 0 } else { length };
        while self.unread.len() < length {
            assert!(self.more().await, "closed within the body");
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..count]);
        count != 0
    }

    /// Begins to listen to events; the head of the answer.
    pub(crate) async fn listen(&mut self, headers: &[(&str, &str)]) -> Answer {
        self.get_with("/v1/events", headers).await
    }

    /// The next part of a stream: lines up to an empty one; `None` when it has ended.
    pub(crate) async fn event(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.chunk()).await.expect("an event in time")
    }

    async fn chunk(&mut self) -> Option<String> {
        loop {
            let end = self.unread.windows(2).position(|two| two == b"\r\n");
            if let Some(end) = end {
                let size = std::str::from_utf8(&self.unread[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                if end + 2 + size + 2 <= self.unread.len() {
                    let chunk: Vec<u8> = self.unread.drain(..end + 2 + size + 2).collect();
                    let text = String::from_utf8(chunk[end + 2..end + 2 + size].to_vec()).unwrap();
                    return (size != 0).then_some(text);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Takes some bytes off the connection; how many there were.
    pub(crate) async fn take(&mut self, bytes_max: usize) -> usize {
        let mut bytes = vec![0; bytes_max];
        self.stream.read(&mut bytes).await.unwrap_or(0)
    }

    /// Whether the server closes the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, async { while self.more().await {} }).await.is_ok()
    }
}
