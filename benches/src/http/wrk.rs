//! wrk: one round of load from core 1, and what it found.
//!
//! **Invariant**: a round with an error or an answer that is no 200 is no measurement but a
//! failure.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What one round found.
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    pub(super) requests_per_second: f64,
    pub(super) p50_micros: f64,
    pub(super) p99_micros: f64,
}

impl Load {
    /// Asks the server on `port` for `path` for three seconds, over 32 connections.
    pub(super) fn run(port: u16, path: &str) -> Result<Self> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "30", "taskset", "--cpu-list", "1", "wrk"]);
        command.args(["-t1", "-c32", "-d3s", "--latency"]);
        command.arg(format!("http://127.0.0.1:{port}{path}"));
        let output = command.output().context("failed to start wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}");
        Self::parse(&text).with_context(|| format!("wrk said: {text}"))
    }

    fn parse(text: &str) -> Result<Self> {
        for trouble in ["Socket errors", "Non-2xx"] {
            ensure!(!text.contains(trouble), "there were errors");
        }
        let after = |start: &str| {
            let rest = text.lines().find_map(|line| line.trim().strip_prefix(start));
            rest.map(str::trim).with_context(|| format!("`{start}` is missing"))
        };
        Ok(Self {
            requests_per_second: after("Requests/sec:")?.parse()?,
            p50_micros: micros(after("50%")?)?,
            p99_micros: micros(after("99%")?)?,
        })
    }
}

/// Microseconds of a time with its unit, as in `1.25ms`.
fn micros(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let unit = units.iter().find_map(|(unit, micros)| Some((text.strip_suffix(unit)?, micros)));
    let (number, micros) = unit.with_context(|| format!("`{text}` has no unit"))?;
    Ok(number.parse::<f64>()? * micros)
}

#[cfg(test)]
mod tests {
    use super::Load;

    const SAID: &str = "
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   432.10us    1.02ms  20.10ms   97.15%
  Latency Distribution
     50%  301.00us
     75%  410.00us
     90%  601.00us
     99%    4.25ms
  250021 requests in 3.10s, 310.01MB read
Requests/sec:  80651.94
Transfer/sec:    100.00MB
";

    #[test]
    fn what_wrk_says_is_understood() {
        let found = Load { requests_per_second: 80_651.94, p50_micros: 301.0, p99_micros: 4_250.0 };
        assert_eq!(Load::parse(SAID).unwrap(), found);
        assert!(Load::parse(&format!("{SAID}  Non-2xx or 3xx responses: 3\n")).is_err());
    }
}
