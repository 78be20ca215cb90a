//! The commands' way to a running server: where it is, one request, and what a refusal means.
//!
//! **Invariant**: a command shows what the server says and works nothing out by itself; whatever
//! the server refuses ends the command with an error that has the server's words.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{cli::AtServer, config::ConfigError, exit::Exit, problem::items};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the server answered in place of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: String,
    body: String,
}

impl Refusal {
    /// How the program ends over it.
    pub(super) fn exit(&self) -> Exit {
        match &*self.code() {
            "too-many-entries" => Exit::TooMany,
            _ => Exit::Failed,
        }
    }

    /// The stable name of what is wrong, if the server is one of larder's.
    pub(super) fn code(&self) -> String {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem.get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Whether it is about something that is not there.
    pub(super) fn is_absent(&self) -> bool {
        self.status == "404"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body } = self;
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let of = |name: &str| problem.get(name).and_then(Value::as_str);
        match (of("title"), of("detail")) {
            (Some(title), Some(detail)) => {
                write!(f, "{title}: {detail} ({status})")?;
                items(problem.get("items")).iter().try_for_each(|item| write!(f, "; {item}"))
            }
            _ => write!(f, "the server answered {status}: {body}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl AtServer {
    /// The body of the answer to a GET.
    pub(super) fn get(&self, path: &str) -> Result<String> {
        self.ask(&Request::new("GET", path))
    }

    /// The body of the answer to a POST.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<String> {
        let body = body.to_string();
        self.ask(&Request::new("POST", path).body("application/json", body.as_bytes()))
    }

    /// Where the server listens, as an address that can be connected to.
    fn address(&self) -> Result<SocketAddr, ConfigError> {
        let listen = match self.listen {
            Some(listen) => listen,
            None => super::listen(&self.file)?,
        };
        if listen.port() == 0 {
            let problem =
                "the system chose the port when the server started; name it with --listen";
            return Err(ConfigError::new("server.listen", problem));
        }
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(SocketAddr::new(ip, listen.port()))
    }

    fn ask(&self, request: &Request<'_>) -> Result<String> {
        let host = match &self.server {
            Some(url) => Host::of(url)?,
            None => Host(self.address()?.to_string()),
        };
        let token = token(self.token_file.as_deref())?;
        let body = exchange(&host, token.as_deref(), PATIENCE, request)?;
        String::from_utf8(body).context("the answer is not text")
    }
}

/// The name that a server goes by, with the port where it has one.
#[derive(Debug)]
pub(super) struct Host(String);

impl Host {
    /// That of a URL such as `http://127.0.0.1:7077`.
    pub(super) fn of(url: &str) -> Result<Self> {
        let host = match url.split_once("://") {
            Some(("http", rest)) => rest,
            None => url,
            Some((scheme, _)) => bail!(
                "`{scheme}://` cannot be spoken here: larder serves http://; for TLS ask the proxy \
                 in front of it from its own machine"
            ),
        };
        let host = host.trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            bail!("`{url}` is no server: write http://HOST:PORT");
        }
        Ok(Self(host.to_owned()))
    }

    /// Where it can be connected to.
    fn address(&self) -> Result<SocketAddr> {
        let Self(host) = self;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port { host.clone() } else { format!("{host}:80") };
        let address = named.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        address.with_context(|| format!("`{host}` leads to no address"))
    }
}

/// The token in a file, if one was named.
pub(super) fn token(file: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = file else { return Ok(None) };
    let cannot = || format!("cannot read {}", path.display());
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    Ok(Some(text.trim().to_owned()))
}

/// What is asked of a server.
#[derive(Debug)]
pub(super) struct Request<'a> {
    method: &'static str,
    path: &'a str,
    headers: Vec<(&'static str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn new(method: &'static str, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: &[] }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body(self, media_type: &'a str, body: &'a [u8]) -> Self {
        Self { body, ..self.header("Content-Type", media_type) }
    }

    fn head(&self, host: &str, token: Option<&str>) -> String {
        let Self { method, path, headers, body } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if !body.is_empty() || matches!(*method, "PUT" | "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

/// Asks the server that goes by the name `host`; the body of its answer.
pub(super) fn exchange(
    host: &Host,
    token: Option<&str>,
    patience: Duration,
    request: &Request<'_>,
) -> Result<Vec<u8>> {
    let address = host.address()?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no server answers on {address}; is `larder serve` running?"))?;
    stream.set_read_timeout(Some(patience))?;
    // A server that refuses may do so before it has read everything; its answer tells.
    let head = request.head(&host.0, token);
    let wrote = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(request.body));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    wrote.or_else(|error| if answer.is_empty() { Err(error) } else { Ok(()) })?;
    if answer.is_empty() {
        read.context("the answer broke off")?;
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("the answer is not HTTP")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    check_length(&head, request, body.len())?;
    let status = head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or("nothing");
    match status {
        "200" | "201" => Ok(body),
        status => {
            let body = String::from_utf8_lossy(&body).into_owned();
            Err(Refusal { status: status.to_owned(), body }.into())
        }
    }
}

/// # Errors
/// For a body that is shorter than it was said to be.
fn check_length(head: &str, request: &Request<'_>, length: usize) -> Result<()> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut said = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let said = said.next().and_then(|(_, value)| value.trim().parse::<usize>().ok());
    match said {
        Some(said) if length < said && request.method != "HEAD" => {
            bail!("the answer broke off: {length} of {said} bytes")
        }
        _ => Ok(()),
    }
}

/// The part of a URL's query that stands for `text`.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        let of = |listen: &str| {
            let listen = Some(listen.parse().unwrap());
            let file = crate::cli::ConfigFile { config: None };
            let server = AtServer { file, listen, server: None, token_file: None };
            server.address().map(|address| address.to_string())
        };
        assert_eq!(of("0.0.0.0:80").unwrap(), "127.0.0.1:80");
        assert_eq!(of("[::]:80").unwrap(), "[::1]:80");
        assert_eq!(of("10.0.0.5:80").unwrap(), "10.0.0.5:80");
        assert!(of("127.0.0.1:0").unwrap_err().to_string().contains("--listen"));
    }

    #[test]
    fn a_refusal_has_the_words_of_the_server() {
        let problem = r#"{"title": "a token is needed", "detail": "send it", "code": "x"}"#;
        let refusal = Refusal { status: "401".into(), body: problem.into() };
        assert_eq!(refusal.to_string(), "a token is needed: send it (401)");
        let refusal = Refusal { status: "502".into(), body: "<html>".into() };
        assert_eq!(refusal.to_string(), "the server answered 502: <html>");
    }
}
