//! `kill -9` of the server under load: it is back within a second, and the origin is intact.
//!
//! The server only reads the origin, so a kill can lose nothing but memory; this is where that
//! claim is tried. Each round kills the server at a random moment while clients read and another
//! program writes, starts it again, and looks at the database, at the log and at the first answers.
//! `LARDER_SOAK_SEED` and `LARDER_SOAK_BUDGET` (`small`, `full`) say how.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect ends it"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use larder::Clock;
use rusqlite::Connection;

const CONFIG: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[resource.count]
origin = "shop"
sql = "SELECT Number FROM Counter WHERE Id = :id"
params = { id = "integer" }
ttl = "1h"
"#;

const COUNTERS: u64 = 16;
const READERS: usize = 4;
const WRITER_RESTS: Duration = Duration::from_millis(10);
const READY_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_server_is_back_within_a_second_and_the_origin_is_intact() {
    let seed = variable("LARDER_SOAK_SEED").and_then(|text| text.parse().ok()).unwrap_or(1);
    let rounds = match variable("LARDER_SOAK_BUDGET").as_deref() {
        Some("full") => 200,
        _ => 4,
    };
    println!("seed {seed}, {rounds} rounds");
    for journal in ["wal", "delete"] {
        let mut slowest = Duration::ZERO;
        let mut answers = 0;
        let place = Place::new(journal);
        let mut random = Random(seed);
        for round in 0..rounds {
            let run = place.round(&mut random, round);
            slowest = slowest.max(run.ready_after);
            answers += run.answers;
        }
        println!("{journal}: ready after at most {slowest:?}, {answers} answers before the kills");
        assert!(0 < answers, "nothing was under load");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

struct Run {
    ready_after: Duration,
    answers: u64,
}

/// A directory with a database, which goes when this is dropped.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place {
    fn new(journal: &str) -> Self {
        let name = format!("larder-kill-{}-{journal}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&place.0).unwrap();
        std::fs::write(place.0.join("larder.toml"), CONFIG).unwrap();
        let db = place.open();
        let schema = "CREATE TABLE Counter (Id INTEGER PRIMARY KEY, Number INTEGER NOT NULL)";
        db.execute_batch(&format!("PRAGMA journal_mode = {journal}; {schema};")).unwrap();
        for id in 0..COUNTERS {
            let insert = format!("INSERT INTO Counter VALUES ({id}, 0)");
            db.execute_batch(&insert).unwrap();
        }
        drop(db);
        let tracked = place.larder(&["track", "--yes"]).output().unwrap();
        assert!(tracked.status.success(), "{tracked:?}");
        place
    }

    fn database(&self) -> PathBuf {
        self.0.join("shop.sqlite")
    }

    fn open(&self) -> Connection {
        let db = Connection::open(self.database()).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db
    }

    fn larder(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.current_dir(&self.0).args(arguments).stderr(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LARDER_")) {
            command.env_remove(name);
        }
        command
    }

    /// Starts, loads, kills, starts again, looks.
    fn round(&self, random: &mut Random, round: u32) -> Run {
        let mut server = Server::start(self);
        let stop = Arc::new(AtomicBool::new(false));
        let (answered, answers) = mpsc::channel();
        let writer = writer(&self.database(), stop.clone());
        let readers: Vec<JoinHandle<()>> =
            (0..READERS).map(|_| reader(server.address, stop.clone(), answered.clone())).collect();
        let enough = 50 + random.below(500);
        for _ in 0..enough {
            answers.recv_timeout(PATIENCE).expect("there is load");
        }
        let before = self.log_end();
        server.kill();
        let mut again = Server::start(self);
        // The writer goes on: the server must read along with it from the first moment.
        self.check_integrity();
        assert!(before <= self.log_end(), "round {round}: the log went back");
        stop.store(true, Ordering::SeqCst);
        let written = writer.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        for (id, number) in written.iter().enumerate() {
            let body = format!("[{{\"Number\":{number}}}]");
            let path = format!("/v1/resources/count?id={id}");
            wait_until("the last commit is served", || again.get(&path).ends_with(&body));
        }
        let commits: u64 = written.iter().sum();
        assert!(commits <= self.log_end(), "round {round}: the log lacks commits");
        let ready_after = again.ready_after;
        assert!(ready_after <= READY_WITHIN, "round {round}: ready after {ready_after:?}");
        again.kill();
        Run { ready_after, answers: enough + answers.try_iter().count() as u64 }
    }

    fn check_integrity(&self) {
        let sql = "PRAGMA integrity_check";
        let found: String = self.open().query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok");
    }

    /// The newest position of the log. Between the oldest row it keeps and that there is no gap.
    fn log_end(&self) -> u64 {
        let sql = "SELECT coalesce(max(seq), 0), count(*), coalesce(min(seq), 1) FROM larder_log";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (newest, count, oldest): (i64, i64, i64) = self.open().query_row(sql, [], row).unwrap();
        assert_eq!(newest - oldest + 1, count, "the log has a gap");
        newest.unsigned_abs()
    }
}

/// Counts up until told to stop; what each counter stands at.
fn writer(database: &Path, stop: Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    let database = database.to_owned();
    std::thread::spawn(move || {
        let db = Connection::open(database).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut id = 0;
        while !stop.load(Ordering::SeqCst) {
            db.execute("UPDATE Counter SET Number = Number + 1 WHERE Id = ?1", [id]).unwrap();
            id = (id + 1) % i64::try_from(COUNTERS).unwrap();
            // With a rollback journal a writer that never rests keeps every reader out.
            std::thread::sleep(WRITER_RESTS);
        }
        let mut rows = db.prepare("SELECT Number FROM Counter ORDER BY Id").unwrap();
        let numbers = rows.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        numbers.map(|number| number.unwrap().unsigned_abs()).collect()
    })
}

/// Reads until told to stop. That the server goes away under it is what the test does.
fn reader(address: SocketAddr, stop: Arc<AtomicBool>, answered: Sender<()>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut id = 0;
        while !stop.load(Ordering::SeqCst) {
            id = (id + 1) % COUNTERS;
            match get(address, &format!("/v1/resources/count?id={id}")) {
                Some(text) if text.starts_with("HTTP/1.1 200") => {
                    answered.send(()).unwrap();
                }
                _ => std::thread::yield_now(),
            }
        }
    })
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

struct Server {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
}

impl Server {
    /// Starts the server and waits until it answers that it is ready.
    fn start(place: &Place) -> Self {
        let clock = Clock::system();
        let began = clock.now();
        let mut command = place.larder(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("ready on http://")?.parse().ok())
            .expect("the server starts");
        wait_until("it is ready", || {
            get(address, "/health/ready").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
        });
        Self { child, address, ready_after: clock.now().since(began) }
    }

    fn get(&self, path: &str) -> String {
        get(self.address, path).unwrap_or_default()
    }

    /// SIGKILL: no handler runs.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again, because a server tells nobody when it will answer something else.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    let began = clock.now();
    while !holds() {
        assert!(clock.now().since(began) < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}
