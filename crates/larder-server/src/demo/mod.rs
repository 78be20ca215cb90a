//! `larder demo`: the main job on a made-up music shop, with nothing to set up.
//!
//! It writes an ordinary database and an ordinary `larder.toml` and serves them with the same code
//! as `larder serve`. **Invariant**: what it prints to try works as printed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    cli::{Change, Demo, DemoCommand, DemoOptions},
    command::{serve::runtime, track},
    config::{Config, Inputs},
    exit::Exit,
    say,
    serve::{self, Drained, Running, StartError},
    server::Timing,
    shutdown,
};

pub mod database;

pub mod change;

pub mod live;

mod place;

/// Order lines that the shop has sold, unless told otherwise.
pub const ORDER_LINES: u32 = 1_000_000;

/// The configuration of the demo: what a user would write.
pub const CONFIG: &str = include_str!("larder.toml");

/// What to try: a request, and the change that makes its answer new.
const TRIALS: [(&str, &str, &str); 5] = [
    ("resources/artist-albums?artist=90", "the albums of an artist", "artist"),
    ("resources/track?id=1234", "a track, by its key", "price"),
    ("resources/customer-orders?customer=42", "the latest orders of a customer", "order"),
    ("resources/bestsellers?genre=Jazz", "a join of four tables over a million rows", "order"),
    ("tables/albums?index=artist&from=90&to=91", "a range of a join kept in memory", "artist"),
];

/// Runs the demo, or changes one of its rows.
pub fn run(arguments: Demo) -> Result<Exit> {
    match arguments.change {
        None => run_shop(&arguments.options),
        Some(DemoCommand::Change { what, dir }) => {
            let dir = place::directory(dir.or(arguments.options.dir).as_deref())?;
            let what = what.unwrap_or(Change::Artist { id: 90, name: None });
            let done = change::apply(&dir.join(database::FILE), &what)?;
            say!("{done}");
            Ok(Exit::Done)
        }
    }
}

fn run_shop(options: &DemoOptions) -> Result<Exit> {
    let dir = place::prepare(options.dir.as_deref())?;
    let database = dir.join(database::FILE);
    database::ensure(&database, options.order_lines)?;
    let file = dir.join("larder.toml");
    std::fs::write(&file, CONFIG).with_context(|| format!("cannot write {}", file.display()))?;
    let inputs = Inputs { file: Some(file.clone()), variables: Vec::new(), listen: options.listen };
    let config = Config::load(inputs)?;
    track::ensure(&config)?;
    runtime(&config)?.block_on(async {
        let running = start(config, options).await?;
        print_trials(&running, options, &database, &file);
        let stop = shutdown::signal();
        live::show(&running.server, stop).await;
        say!("stopping");
        Ok(match running.stop().await {
            Drained::Whole => Exit::Done,
            Drained::Cut => Exit::Cut,
        })
    })
}

/// Starts on the usual port, or on any if that one is taken and nobody asked for it.
async fn start(mut config: Config, options: &DemoOptions) -> Result<Running, StartError> {
    match serve::start(config.clone(), Timing::All).await {
        Err(StartError::Listen(..)) if options.listen.is_none() => {
            config.server.listen.set_port(0);
            serve::start(config, Timing::All).await
        }
        started => started,
    }
}

fn print_trials(running: &Running, options: &DemoOptions, database: &Path, file: &Path) {
    let base = format!("http://{}/v1", running.address);
    let larder = program();
    let dir = options.dir.as_deref().map_or(String::new(), |dir| format!(" --dir {}", quoted(dir)));
    say!("Ask twice, then change what the answer was built from, and ask again:\n");
    for (path, what, change) in TRIALS {
        say!("  curl -i '{base}/{path}'");
        say!("    {what:<43}{larder} demo change {change}{dir}");
    }
    say!();
    say!("The first answer of a resource says `cache-status: larder; fwd=miss`, the second `hit`.");
    say!("Any other program can make the change as well; nothing tells larder of it.\n");
    if place::has_sqlite3() {
        let sql = "UPDATE Artist SET Name = 'The New Name' WHERE ArtistId = 90";
        say!("  sqlite3 {} \"{sql}\"", quoted(database));
    }
    say!();
    say!("Why an answer fell:  curl '{base}/resources/artist-albums/explain?artist=90'");
    say!("In the browser:      http://{}/", running.address);
    say!("The configuration:   {}\n", file.display());
}

/// This program as it was called, so that the printed lines work where they are read.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    called.map_or_else(|| "larder".to_owned(), |path| quoted(&path))
}

/// A path for the shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
