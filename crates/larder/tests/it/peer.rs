//! This program once more, as another process that is told lines and says lines.
//!
//! A test whose name begins with `life_of` is what such a process does; in a run of all tests,
//! where nobody has started it, it does nothing. **Invariant**: a process that is started here is
//! gone when its test ends, however that ends.

use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Says where a process keeps what it has, and so that it was started here.
const PLACE: &str = "LARDER_TEST_PLACE_OF_PEER";

/// What a line begins with that is not one of the test harness.
const OWN: &str = "peer ";

/// In the other process: where it keeps what it has; `None` in every other one.
pub(crate) fn place() -> Option<PathBuf> {
    env::var_os(PLACE).map(PathBuf::from)
}

/// In the other process: says a line.
pub(crate) fn say(what: impl Display) {
    // The harness may have begun one.
    println!("\n{OWN}{what}");
}

/// In the other process: the lines that it is told, until nobody is left who could.
pub(crate) fn told() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

/// Another process.
pub(crate) struct Peer {
    child: Child,
    tell: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// One that runs the test `life`, and keeps what it has at `place`.
    pub(crate) fn start(life: &str, place: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", life, "--nocapture"])
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tell = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, tell, lines }
    }

    pub(crate) fn tell(&mut self, what: impl Display) {
        writeln!(self.tell, "{what}").unwrap();
    }

    /// The next line that it says.
    pub(crate) fn says(&mut self) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix(OWN).map(str::to_owned)).unwrap()
    }

    /// What it says to what it is told.
    pub(crate) fn does(&mut self, what: impl Display) -> String {
        self.tell(what);
        self.says()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// What it still said before it was killed.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let lines = self.lines.by_ref().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix(OWN).map(str::to_owned)).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
