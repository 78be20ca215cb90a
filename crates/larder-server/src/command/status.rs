//! `larder status`: asks a running server how it is.
//!
//! It finds the server as `serve` finds its address: flag, environment, file, default.
//! **Invariant**: it shows what the server says and works nothing out by itself.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{cli::Status, config::ConfigError, exit::Exit, say};

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(arguments: &Status) -> Result<Exit> {
    let text = fetch(arguments, address(arguments)?)?;
    if arguments.json {
        say!("{text}");
        return Ok(Exit::Done);
    }
    let status: Value = serde_json::from_str(&text).context("the answer is not larder's")?;
    print_rows(&status, "settings", &["setting", "value", "source"]);
    print_rows(&status, "origins", &["name", "track", "state"]);
    let columns = ["name", "hits", "stale_hits", "misses", "errors", "hit_mean_micros"];
    print_rows(&status, "resources", &columns);
    Ok(Exit::Done)
}

/// Where the server listens, as an address that can be connected to.
fn address(arguments: &Status) -> Result<SocketAddr, ConfigError> {
    let listen = match arguments.listen {
        Some(listen) => listen,
        None => super::listen(&arguments.file)?,
    };
    if listen.port() == 0 {
        let problem = "the system chose the port when the server started; name it with --listen";
        return Err(ConfigError::new("server.listen", problem));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

fn fetch(arguments: &Status, address: SocketAddr) -> Result<String> {
    let token = match &arguments.token_file {
        None => String::new(),
        Some(path) => {
            let secret = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            format!("Authorization: Bearer {}\r\n", secret.trim())
        }
    };
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no server answers on {address}; is `larder serve` running?"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("GET /v1/status HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("the answer broke off")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    match head.lines().next().and_then(|line| line.split(' ').nth(1)) {
        Some("200") => Ok(body.to_owned()),
        status => bail!("the server answered {}: {body}", status.unwrap_or("nothing")),
    }
}

fn print_rows(status: &Value, section: &str, columns: &[&str]) {
    say!("{section}");
    for row in status.get(section).and_then(Value::as_array).into_iter().flatten() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| match row.get(column) {
                Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
                Some(value) if section == "resources" => format!("{column} {value}"),
                Some(value) => value.to_string(),
                None => "-".to_owned(),
            })
            .collect();
        say!("  {}", cells.join("  "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        let of = |listen: &str| {
            let listen = Some(listen.parse().unwrap());
            let file = crate::cli::ConfigFile { config: None };
            let status = Status { file, listen, token_file: None, json: false };
            address(&status).map(|address| address.to_string())
        };
        assert_eq!(of("0.0.0.0:80").unwrap(), "127.0.0.1:80");
        assert_eq!(of("[::]:80").unwrap(), "[::1]:80");
        assert_eq!(of("10.0.0.5:80").unwrap(), "10.0.0.5:80");
        assert!(of("127.0.0.1:0").unwrap_err().to_string().contains("--listen"));
    }
}
