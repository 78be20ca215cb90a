//! Child processes that do not outlive the benchmark.
//!
//! **Invariant**: when a [`Child`] is dropped its process has ended: asked with SIGTERM, so that
//! nginx takes its workers along, and killed when that is not enough.

use std::{
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use larder::Clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::measure;

/// How long a process may take to end after it was asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// A process that ends at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts `command`, with its standard input kept open for as long as it is wanted.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Self(child.with_context(|| format!("failed to start {}", program.display()))?))
    }

    /// What it prints, if that is piped.
    pub(crate) fn output(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().context("the output of the process is not piped")
    }

    /// Where it listens, until that is closed.
    pub(crate) fn input(&mut self) -> Result<&mut ChildStdin> {
        self.0.stdin.as_mut().context("the input of the process is closed")
    }

    /// Closes its standard input, which asks the processes of `writer` to end.
    pub(crate) fn close(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Fails when it has ended already.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        let status = self.0.try_wait()?;
        ensure!(status.is_none(), "it ended at once: {status:?}");
        Ok(())
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let start = Clock::system().now();
        while measure::since(start) < patience {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        self.close();
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        if !self.ends_within(PATIENCE) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
