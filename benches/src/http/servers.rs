//! The two servers: `larder serve` over a small database, and nginx with a `proxy_cache`.
//!
//! Both run in the foreground, on core 0, out of one temporary directory and on free ports.
//! **Invariant**: neither lives longer than [`LIFE`], should even this process be killed.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use larder::Clock;
use rusqlite::Connection;

use super::{BODY, PATH, wire};
use crate::{child::Child, measure};

/// Seconds after which `timeout` ends a server.
const LIFE: &str = "600";
/// How long a server may take until it answers.
const READY: Duration = Duration::from_secs(20);

/// `larder serve`.
#[derive(Debug)]
pub(super) struct Larder {
    pub(super) port: u16,
    _child: Child,
}

const CONFIG: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[resource.page]
origin = "shop"
sql = "SELECT text FROM page WHERE id = :id"
params = { id = "integer" }
ttl = "1h"
"#;

impl Larder {
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let larder = binary()?;
        let db = Connection::open(dir.join("shop.sqlite"))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE page (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
        )?;
        let text = "x".repeat(BODY - r#"[{"text":""}]"#.len());
        db.execute("INSERT INTO page VALUES (1, ?1)", [text])?;
        let config = dir.join("larder.toml");
        fs::write(&config, CONFIG)?;
        let mut track = Command::new(&larder);
        track.args(["track", "--yes", "--config"]).arg(&config).stdout(Stdio::null());
        ensure!(track.status()?.success(), "`larder track` failed");
        let port = free_port()?;
        let mut serve = pinned(&larder);
        serve.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(&config);
        let mut child = Child::start(serve.stdout(Stdio::null()))?;
        wait("larder", &mut child, port, "/health/ready")?;
        Ok(Self { port, _child: child })
    }
}

/// The program as it stands in the checkout, built beside this one.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let release = own.parent().context("this program is in no directory")?;
    let target = release.parent().context("this program is in no target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--quiet", "-p", "larder-server"]);
    build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.status().is_ok_and(|status| status.success());
    let larder = target.join("release").join("larder");
    ensure!(larder.exists(), "there is no {}", larder.display());
    if !built {
        eprintln!("  larder could not be built now; this measures the one that is there");
    }
    Ok(larder)
}

/// nginx, with everything that makes a cached answer fast.
#[derive(Debug)]
pub(super) struct Nginx {
    pub(super) port: u16,
    _child: Child,
}

impl Nginx {
    pub(super) fn start(dir: &Path, upstream: u16) -> Result<Self> {
        let port = free_port()?;
        let own = dir.join("nginx");
        fs::create_dir(&own)?;
        fs::write(own.join("nginx.conf"), nginx_config(port, upstream))?;
        let mut command = pinned(Path::new("nginx"));
        command.arg("-p").arg(&own).args(["-c", "nginx.conf", "-e", "stderr"]);
        let mut child = Child::start(command.args(["-g", "daemon off;"]))?;
        wait("nginx", &mut child, port, PATH)?;
        Ok(Self { port, _child: child })
    }
}

/// larder's `Cache-Control: no-cache` speaks to caches behind it; here nginx stands in its place.
fn nginx_config(port: u16, upstream: u16) -> String {
    format!(
        "worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 60s;
    keepalive_requests 100000000;
    open_file_cache max=1000 inactive=600s;
    open_file_cache_valid 600s;
    client_body_temp_path body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    proxy_cache_path cache levels=1:2 keys_zone=hits:10m inactive=1h;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_cache hits;
            proxy_cache_valid 200 1h;
            proxy_ignore_headers Cache-Control;
        }}
    }}
}}
"
    )
}

/// `program` on core 0, for [`LIFE`] at most.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIFE, "taskset", "--cpu-list", "0"]).arg(program);
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait(name: &str, child: &mut Child, port: u16, path: &str) -> Result<()> {
    let start = Clock::system().now();
    while measure::since(start) < READY {
        child.expect_running().with_context(|| format!("failed to run {name}"))?;
        if wire::is_ready(port, path) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("{name} did not answer within {READY:?}")
}
