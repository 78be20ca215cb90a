//! The failing disk: the shim, compiled and loaded into a process that is this test again.
//!
//! **Invariant**: a round in which nothing failed counts as none; who asks for faults and never
//! meets one has a test that fails.

use std::{
    env,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use larder_core::{Error, ErrorKind};
use larder_testkit::temp::TempDir;

pub const WORK: &str = "LARDER_FAULT_WORK";
pub const PATH: &str = "LARDER_FAULT_PATH";
/// Where the shim keeps what of a log is on the disk, if it does.
pub const ON_DISK: &str = "LARDER_FAULT_ON_DISK";
const CONTROL: &str = "LARDER_FAULT_CONTROL";

const NUMBERS: usize = 6;
const NAME: usize = 208;

/// What a program asks of a file; the numbers are those of the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read = 1,
    Write = 2,
    Sync = 4,
    Resize = 8,
    Open = 16,
    Name = 32,
    Lock = 64,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `EIO`.
    Broken = 5,
    /// `EMFILE`: this process has too many files.
    Many = 24,
    /// `ENOSPC`.
    Full = 28,
    /// It does not: half of it is done, and the rest when it is asked for again.
    Short = -1,
    /// Half of it is done, and there is no room for the rest.
    Cut = -2,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Once = 1,
    /// Until it is mended.
    On = 1 << 30,
}

/// A call that fails, on files whose name ends so; with `*` at the end, whose path holds this.
#[derive(Clone, Copy, Debug)]
pub struct Fault(pub Call, pub Failure, pub &'static str, pub Times);

impl Fault {
    /// That an error is one that this fault may cause.
    ///
    /// A read that fails is `Corrupt` as long as nobody looked closer: so SQLite calls it. And what
    /// cannot be opened for writing it opens for reading only.
    pub fn explains(self, error: &Error) {
        let kind = error.kind();
        let is_explained = matches!(kind, ErrorKind::Unavailable | ErrorKind::Full)
            || self.0 == Call::Read && kind == ErrorKind::Corrupt
            || self.0 == Call::Open && kind == ErrorKind::ReadOnly;
        assert!(is_explained, "{self:?}: {kind:?}: {error}");
    }
}

/// The disk under this process.
#[derive(Debug)]
pub struct Disk {
    control: File,
}

impl Disk {
    pub fn of_this_process() -> Self {
        let path = env::var_os(CONTROL).unwrap();
        Self { control: OpenOptions::new().read(true).write(true).open(path).unwrap() }
    }

    fn set(&self, numbers: [i64; NUMBERS]) {
        // What is armed is told last, and taken away first.
        self.control.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        for at in (0..NUMBERS).rev() {
            self.control.write_all_at(&numbers[at].to_ne_bytes(), (at * 8) as u64).unwrap();
        }
    }

    /// From now on, after `spared` of its calls, the disk has this fault.
    pub fn fails(&self, fault: Fault, spared: i64) {
        let Fault(call, failure, name, times) = fault;
        let mut bytes = [0; NAME];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        self.set([0; NUMBERS]);
        self.control.write_all_at(&bytes, (NUMBERS * 8) as u64).unwrap();
        self.set([call as i64, failure as i64, spared, times as i64, 0, 0]);
    }

    /// How often it failed so far.
    pub fn failed(&self) -> i64 {
        let mut failed = [0; 8];
        self.control.read_exact_at(&mut failed, 4 * 8).unwrap();
        i64::from_ne_bytes(failed)
    }

    /// From now on it has none; how often it failed.
    pub fn is_mended(&self) -> i64 {
        self.control.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        self.failed()
    }
}

/// Which calls fail: each of them with a full budget, some of them, chosen by the seed, with a
/// small one.
pub struct Rounds {
    next: i64,
    step: i64,
    failed: i64,
    /// Rounds in a row in which nothing failed: those with an odd number may do less.
    idle: i64,
}

impl Rounds {
    /// `step`: of how many calls one fails with the small budget.
    pub fn of(step: i64) -> Self {
        let seed = env::var("LARDER_SOAK_SEED").ok().and_then(|text| text.parse::<u64>().ok());
        let step =
            if env::var("LARDER_SOAK_BUDGET").is_ok_and(|is| is == "full") { 1 } else { step };
        let first = seed.unwrap_or(1) % step.unsigned_abs();
        Self { next: i64::try_from(first).unwrap(), step, failed: 0, idle: 0 }
    }

    /// The number of calls to spare next.
    pub fn spared(&self) -> i64 {
        self.next
    }

    /// After a round with so many failures; whether there is another.
    pub fn go_on(&mut self, failed: i64) -> bool {
        self.next += self.step;
        self.failed += failed;
        self.idle = if failed == 0 { self.idle + 1 } else { 0 };
        self.idle < 2
    }

    /// How many rounds there were, and that something did fail in them.
    pub fn end(&self, fault: Fault) {
        // The small budget may step over the only call that there is.
        assert!(0 < self.failed || self.step < self.next, "{fault:?}: nothing ever failed");
        println!("{fault:?}: {} calls failed in turn", self.next / self.step);
    }
}

/// The library, built once for all tests of this process.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = SHIM.get_or_init(|| {
        let directory = TempDir::new("faults").unwrap();
        let library = directory.join("shim.so");
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let built = Command::new(compiler)
            .args(["-std=gnu2x", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "a C compiler is needed, as for SQLite"
        );
        (directory, library)
    });
    library
}

/// This test again, doing `work` in `directory` on a disk that it may tell to fail.
pub fn start(work: &str, directory: &Path) -> Child {
    let control = directory.join("control");
    std::fs::write(&control, [0; NUMBERS * 8 + NAME]).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    if work == "flush" {
        command.env(ON_DISK, directory.join("log-on-disk"));
    }
    command
        .args(["--exact", "a_process_works_on_a_failing_disk", "--nocapture"])
        .env(WORK, work)
        .env(PATH, directory)
        .env(CONTROL, control)
        .env("LD_PRELOAD", shim())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The same in a directory of its own, to its end.
pub fn works(work: &str) {
    let directory = TempDir::new("faults").unwrap();
    let output = start(work, directory.path()).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{work}: {}\n{said}", output.status);
}
