//! The commands' way to a running server: where it is, one request, and what a refusal means.
//!
//! **Invariant**: a command shows what the server says and works nothing out by itself; whatever
//! the server refuses ends the command with an error that has the server's words.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{cli::AtServer, config::ConfigError, exit::Exit};

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
        let problem: Option<Value> = serde_json::from_str(&self.body).ok();
        match problem.and_then(|problem| Some(problem.get("code")? == "too-many-entries")) {
            Some(true) => Exit::TooMany,
            _ => Exit::Failed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body } = self;
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let of = |name: &str| problem.get(name).and_then(Value::as_str);
        match (of("title"), of("detail")) {
            (Some(title), Some(detail)) => write!(f, "{title}: {detail} ({status})"),
            _ => write!(f, "the server answered {status}: {body}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl AtServer {
    /// The body of the answer to a GET.
    pub(super) fn get(&self, path: &str) -> Result<String> {
        self.ask(&format!("GET {path}"), "")
    }

    /// The body of the answer to a POST.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<String> {
        self.ask(&format!("POST {path}"), &body.to_string())
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

    fn ask(&self, line: &str, body: &str) -> Result<String> {
        let address = self.address()?;
        let token = match &self.token_file {
            None => String::new(),
            Some(path) => {
                let secret = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                format!("Authorization: Bearer {}\r\n", secret.trim())
            }
        };
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| {
            format!("no server answers on {address}; is `larder serve` running?")
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\n{token}{length}Connection: close\r\n\r\n{body}"
        );
        // A server that refuses may do so before it has read everything; its answer tells.
        let wrote = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("the answer broke off")?;
        wrote.or_else(|error| if answer.is_empty() { Err(error) } else { Ok(()) })?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
        let status = head.lines().next().and_then(|line| line.split(' ').nth(1));
        match status {
            Some("200") => Ok(body.to_owned()),
            status => {
                let status = status.unwrap_or("nothing").to_owned();
                Err(Refusal { status, body: body.to_owned() }.into())
            }
        }
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
            let server = AtServer { file, listen, token_file: None };
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
