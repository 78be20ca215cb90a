//! The peer: matroska-cache in a Python of its own, on a Redis of its own.
//!
//! Redis listens on a socket in a temporary directory, keeps nothing on disk, and is nobody else's.
//! **Invariant**: neither process lives longer than [`LIFE`], should even this one be killed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use larder::Clock;
use serde::Deserialize;

use crate::{child::Child, measure, python};

/// Seconds after which `timeout` ends a process.
const LIFE: &str = "900";
/// How long Redis may take until it listens.
const READY: Duration = Duration::from_secs(10);

/// What is compared with, and what it needs that newer Pythons do not bring.
const PACKAGES: [&str; 2] = ["matroska-cache==0.1.3", "setuptools<81"];

const SCRIPT: &str = include_str!("peer.py");

/// matroska-cache, ready to be asked.
#[derive(Debug)]
pub(super) struct Peer {
    // Ended before the server that it talks to.
    python: Child,
    answers: BufReader<ChildStdout>,
    _redis: Child,
}

/// What one round found.
#[derive(Deserialize)]
struct Answer {
    median_micros: f64,
}

impl Peer {
    /// Starts both processes, out of `dir`.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let interpreter =
            python::interpreter("matroska", &PACKAGES, "matroska_cache.backends.redis")?;
        let socket = dir.join("redis.sock");
        let redis = redis(&socket)?;
        let mut command = limited(&interpreter);
        command.args(["-c", SCRIPT]).arg(&socket).stdout(Stdio::piped());
        let mut python = Child::start(&mut command)?;
        let answers = BufReader::new(python.output()?);
        Ok(Self { python, answers, _redis: redis })
    }

    /// Lets it do a round of `operation`: the median of one call, in nanoseconds.
    pub(super) fn ask(&mut self, operation: &str, count: u64) -> Result<f64> {
        let question = serde_json::to_string(&(operation, count))?;
        writeln!(self.python.input()?, "{question}").context("matroska-cache has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Answer = serde_json::from_str(&line)
            .with_context(|| format!("matroska-cache answered {question} with `{line}`"))?;
        Ok(answer.median_micros * 1e3)
    }
}

fn redis(socket: &Path) -> Result<Child> {
    let mut command = limited(Path::new("redis-server"));
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
    command.arg("--unixsocket").arg(socket).stdout(Stdio::null());
    let mut redis = Child::start(&mut command)?;
    let start = Clock::system().now();
    while measure::since(start) < READY {
        redis.expect_running().context("failed to run redis-server (Debian: redis-server)")?;
        if UnixStream::connect(socket).is_ok() {
            return Ok(redis);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("redis-server did not listen within {READY:?}")
}

/// `program`, for [`LIFE`] at most.
fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIFE]).arg(program);
    command
}
