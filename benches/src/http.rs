//! A hit over HTTP with a body of 1 KB: `larder serve` against nginx's `proxy_cache`, under wrk.
//!
//! Each server has core 0 to itself while it is asked, wrk has core 1, and the two servers are
//! asked in turns. nginx's upstream answers with the head and the body that larder answered with.
//! **Invariant**: every answer counted is a hit: larder says so, and nginx's upstream is asked no
//! more once its cache is warm.

mod wire;

mod servers;

mod wrk;

use anyhow::{Result, ensure};
use larder_testkit::temp::TempDir;

use crate::{measure::median, report::Row};

use servers::{Larder, Nginx};
use wire::Upstream;
use wrk::Load;

const ROUNDS: usize = 9;

/// The bytes of the body, brackets and names included.
const BODY: usize = 1024;

/// What is asked for.
const PATH: &str = "/v1/resources/page?id=1";

/// The benchmark.
pub(crate) fn run() -> Result<Vec<Row>> {
    let dir = TempDir::new("bench-http")?;
    let larder = Larder::start(dir.path())?;
    let answer = wire::get(larder.port, PATH)?;
    ensure!(answer.body.len() == BODY, "the body has {} bytes", answer.body.len());
    let again = wire::get(larder.port, PATH)?;
    let status = again.header("cache-status").unwrap_or_default();
    ensure!(status.contains("; hit"), "the second answer was no hit: {status}");

    let upstream = Upstream::start(&again)?;
    let nginx = Nginx::start(dir.path(), upstream.port)?;
    let same = wire::get(nginx.port, PATH)?;
    ensure!(same.body == answer.body, "nginx answers with another body");
    let asked = upstream.asked();

    let mut loads = [(larder.port, Vec::new()), (nginx.port, Vec::new())];
    for round in 0..=ROUNDS {
        for (port, measured) in &mut loads {
            let load = Load::run(*port, PATH)?;
            // The first round warms up.
            if round != 0 {
                measured.push(load);
            }
        }
    }
    ensure!(upstream.asked() == asked, "nginx asked its upstream again");
    let [(_, larder), (_, nginx)] = &loads;
    Ok(rows(larder, nginx))
}

fn rows(larder: &[Load], nginx: &[Load]) -> Vec<Row> {
    let row = |name: &str, unit, figure: fn(&Load) -> f64| {
        let middle = |loads: &[Load]| median(loads.iter().map(figure).collect());
        Row::alone(format!("http/hit-1k{name}"), middle(larder), unit, ROUNDS)
            .against("nginx proxy_cache", middle(nginx))
    };
    vec![
        row("", "req/s", |load| load.requests_per_second),
        row("/latency p50", "us", |load| load.p50_micros),
        row("/latency p99", "us", |load| load.p99_micros),
    ]
}
