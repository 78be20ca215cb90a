//! The scene: the file, the writer processes beside it, and what befalls both.
//!
//! **Invariant**: nothing befalls the file while a writer writes, as little as an administrator
//! would exchange a file under a running program; readers go on all the time.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use larder_core::Clock;

use super::{Fate, Journal, Trouble, database, writer::Writer};
use crate::{
    history::{Micros, Written},
    random::Random,
    temp::TempDir,
};

/// How long the file is away.
const AWAY: Duration = Duration::from_millis(40);

/// See the module.
pub(super) struct Scene {
    directory: TempDir,
    journal: Journal,
    clock: Clock,
    random: Random,
    hands: Vec<Hand>,
    count: u32,
    pub(super) written: Vec<Written>,
}

/// A writer process.
struct Hand {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Scene {
    /// A filled database, and `hands` processes that are ready to write to it.
    pub(super) fn new(journal: Journal, seed: u64, hands: u64) -> Result<Self, Trouble> {
        let directory = TempDir::new("history")?;
        let random = Random::new(seed);
        let mut scene = Self {
            directory,
            journal,
            clock: Clock::system(),
            random,
            hands: Vec::new(),
            count: 0,
            written: Vec::new(),
        };
        database::create(&scene.path(), journal)?;
        scene.written = scene.own_hand()?.fill()?;
        for number in 1..=hands {
            scene.hands.push(Hand::start(&scene.path(), seed, number)?);
        }
        Ok(scene)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("origin.sqlite")
    }

    /// Where a node keeps its store.
    pub(super) fn store(&self) -> PathBuf {
        self.directory.join("store.sqlite")
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.now().as_micros()
    }

    fn own_hand(&mut self) -> Result<Writer, Trouble> {
        self.random.next();
        Writer::new(&self.path(), self.random.clone(), 0)
    }

    /// Lets all writers write for `millis`.
    pub(super) fn write_for(&mut self, millis: u64) -> Result<(), Trouble> {
        for hand in &mut self.hands {
            writeln!(hand.input, "{millis}")?;
            hand.input.flush()?;
        }
        for hand in &mut self.hands {
            self.written.extend(hand.notes()?);
        }
        Ok(())
    }

    /// Does what is said to the file.
    pub(super) fn befall(&mut self, fate: Fate) -> Result<(), Trouble> {
        self.count += 1;
        match fate {
            Fate::Peace | Fate::Restarted => Ok(()),
            Fate::LogLost => database::lose_log(&self.path()),
            Fate::Altered => database::alter(&self.path(), self.count),
            Fate::Rebuilt => database::rebuild(&self.path()),
            Fate::Replaced => self.exchange(),
            Fate::Away => {
                let away = self.directory.join("away");
                fs::rename(self.path(), &away)?;
                thread::park_timeout(AWAY);
                Ok(fs::rename(&away, self.path())?)
            }
        }
    }

    /// Puts a file with other rows in place. For readers its rows are committed when it is there.
    fn exchange(&mut self) -> Result<(), Trouble> {
        let other = self.directory.join("other.sqlite");
        database::copy(&self.path(), &other, self.journal)?;
        self.random.next();
        let mut writer = Writer::new(&other, self.random.clone(), 0)?;
        let mut written = Vec::new();
        for _ in 0..8 {
            written.extend(writer.any()?);
        }
        drop(writer);
        database::replace(&self.path(), &other, self.journal)?;
        let ended = self.now();
        self.written.extend(written.into_iter().map(|note| Written { ended, ..note }));
        Ok(())
    }
}

impl Hand {
    fn start(path: &std::path::Path, seed: u64, number: u64) -> Result<Self, Trouble> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--writer")
            .arg(path)
            .args([seed.to_string(), number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("the writer has no input")?;
        let output = child.stdout.take().ok_or("the writer has no output")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// What it wrote, up to `done`.
    fn notes(&mut self) -> Result<Vec<Written>, Trouble> {
        let mut notes = Vec::new();
        for line in self.output.by_ref().lines() {
            match &*line? {
                "done" => return Ok(notes),
                note => notes.push(note.parse()?),
            }
        }
        Err("a writer ended before it was done".into())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // It would end by itself when its input is gone; but one that hangs must not hold the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
