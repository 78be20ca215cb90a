//! The command line: what can be typed, and its help.
//!
//! Apart from `command`, which does it, so that the whole surface can be read in one place.
//! **Invariant**: every setting a flag can change can also be set in the file.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};

use crate::{items::Items, spoken};

mod cache;

mod table;

pub use cache::{
    AtStore, Backup, Backups, Begin, Cache, CacheCommand, Check, Export, Get, Import, InRegion,
    Incr, Kept, Kind, Living, Ls, Operations, Reshard, Restore, Rm, Selection, Set, Tags, Top,
    TopBy, Touch,
};
pub use table::{
    Asking, Span as TableSpan, Table, TableAdjust, TableCommand, TableGet, TableInvalidate,
    TableLs, TableOrder, TableOutside, TableRefresh, TableStats, Typed,
};

/// Keeps answers from your database fast, and fresh by itself.
#[derive(Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true, after_help = AFTER)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Every setting of the file can also be given in the environment: \
    LARDER_LISTEN, LARDER_ORIGIN__SHOP__URL, LARDER_RESOURCE__ARTIST_ALBUMS__TTL.\n\
    LARDER_LOG=debug shows more (error, warn, info, debug, trace).\n\n\
    Exit codes: 0 done, 1 failed, 2 wrong command line, 3 wrong configuration, \
    4 stopped before all answers were given, \
    5 more would have fallen than --at-most, 6 there is no such entry.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the resources of a configuration file over HTTP.
    Serve(Serve),
    /// See the main job on a made-up music shop with a million order lines.
    Demo(Demo),
    /// Show what it takes to notice changes row by row in a database; with --yes, do it.
    Track(Track),
    /// Show how to take that out again; with --yes, do it.
    Untrack(Untrack),
    /// Check a configuration against its databases without serving.
    CheckConfig(CheckConfig),
    /// Show the effective settings and the counters of a running server.
    Status(Status),
    /// Tell a running server that something changed; with --dry-run, see what would fall.
    Invalidate(Invalidate),
    /// Show what a running server knows of one answer: what it was built from, why it fell.
    Explain(Explain),
    /// Show which answers of a running server depend on something.
    Dependents(Dependents),
    /// Make a token: the secret for the client, and its hash for the configuration.
    Token,
    /// Look into a store, change what is in it, back it up and restore it.
    Cache(Cache),
    /// Read the tables of a running server, move their windows, and tell it what changed in them.
    Table(Table),
    /// Print the completions of a shell.
    Completions(Completions),
    /// Print the manual page, or write a page for each command.
    Man(Man),
}

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration file [default: $LARDER_CONFIG, else larder.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `larder serve`
#[derive(Args, Debug)]
pub struct Serve {
    /// Which configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The address to listen on; off loopback a token must be configured [default: 127.0.0.1:7077]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// `larder demo`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Demo {
    /// Change a row, from a second process.
    #[command(subcommand)]
    pub change: Option<DemoCommand>,
    /// Where and how.
    #[command(flatten)]
    pub options: DemoOptions,
}

/// `larder demo`, without a change.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// Where the database is kept [default: a directory of yours in the system's temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1:7077, or any free port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// How many order lines the shop has sold.
    #[arg(long, value_name = "NUMBER", default_value_t = crate::demo::ORDER_LINES)]
    pub order_lines: u32,
}

/// `larder demo change`
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// Change a row of the demo's database, as any other program would.
    Change {
        /// What to change [default: artist]
        #[command(subcommand)]
        what: Option<Change>,
        /// Where the database is kept.
        #[arg(long, value_name = "DIR", global = true)]
        dir: Option<PathBuf>,
    },
}

/// What `larder demo change` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Change {
    /// Rename an artist.
    Artist {
        /// Which one.
        #[arg(default_value_t = 90)]
        id: i64,
        /// The new name [default: the name with a number that counts up]
        name: Option<String>,
    },
    /// Give a track another price.
    Price {
        /// Which track.
        #[arg(default_value_t = 1234)]
        id: i64,
        /// The new price in cents [default: one cent more]
        cents: Option<i64>,
    },
    /// Let a customer buy a track.
    Order {
        /// Which customer.
        #[arg(default_value_t = 42)]
        customer: i64,
        /// Which track.
        #[arg(default_value_t = 1234)]
        track: i64,
    },
}

/// `larder track`
#[derive(Args, Debug)]
pub struct Track {
    /// Which configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this origin [default: all whose `track` is "rows"]
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
    /// Apply what is shown.
    #[arg(long)]
    pub yes: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder untrack`
#[derive(Args, Debug)]
pub struct Untrack {
    /// Which configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this origin [default: all]
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
    /// Apply what is shown.
    #[arg(long)]
    pub yes: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder check-config`
#[derive(Args, Debug)]
pub struct CheckConfig {
    /// Which configuration.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder status`
#[derive(Args, Debug)]
pub struct Status {
    /// Which server.
    #[command(flatten)]
    pub server: AtServer,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder invalidate`
#[derive(Args, Debug)]
pub struct Invalidate {
    /// What changed: tag:NAME, tag/NAMESPACE:NAME, ORIGIN.TABLE, ORIGIN.TABLE/KEY,
    /// ORIGIN.TABLE:COLUMN=VALUE (also with <, <=, >, >=, and several with commas),
    /// everything:ORIGIN, or an item as JSON
    #[arg(required = true, value_name = "DEPENDENCY")]
    pub what: Vec<Spoken>,
    /// Only show what would fall.
    #[arg(long)]
    pub dry_run: bool,
    /// Refuse to let more entries fall than this.
    #[arg(long, value_name = "NUMBER")]
    pub at_most: Option<u64>,
    /// Let the entries be stale at once, and served as such while they are loaded again.
    #[arg(long)]
    pub soft: bool,
    /// Load so many of the entries again, the most read ones first, and wait for it up to 5s.
    #[arg(long, value_name = "NUMBER", conflicts_with = "dry_run")]
    pub rewarm: Option<u64>,
    /// How many of them at once, at most half of cache.loads.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, requires = "rewarm")]
    pub rewarm_concurrency: u64,
    /// Which server.
    #[command(flatten)]
    pub server: AtServer,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder explain`
#[derive(Args, Debug)]
pub struct Explain {
    /// Which resource.
    pub resource: String,
    /// Its parameters.
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    pub parameters: Vec<(String, String)>,
    /// Which server.
    #[command(flatten)]
    pub server: AtServer,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder dependents`
#[derive(Args, Debug)]
pub struct Dependents {
    /// On what, in one of the forms of `larder invalidate`.
    #[arg(value_name = "DEPENDENCY")]
    pub of: Spoken,
    /// Entries to show at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub size: u32,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub server: AtServer,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `larder completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell.
    pub shell: clap_complete::Shell,
}

/// `larder man`
#[derive(Args, Debug)]
pub struct Man {
    /// The directory in which to write a page for each command.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A running server.
#[derive(Args, Clone, Debug)]
pub struct AtServer {
    /// The configuration that the server was started with; it says where the server listens.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The address of the server [default: that of the configuration, else 127.0.0.1:7077]
    #[arg(long, visible_alias = "address", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The server by its URL, such as http://127.0.0.1:7077, in place of its address.
    #[arg(long, value_name = "URL", conflicts_with = "listen")]
    pub server: Option<String>,
    /// A file with the token, where the server asks for one.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A dependency in one word, and the item that it stands for.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// As it was typed.
    pub word: String,
    /// What it means.
    pub items: Items,
}

impl FromStr for Spoken {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(Self { word: word.to_owned(), items: spoken::parse(word)? })
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    parts.ok_or_else(|| "write NAME=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_change_needs_no_words() {
        let cli = Cli::try_parse_from(["larder", "demo", "change"]).unwrap();
        let Command::Demo(demo) = cli.command else { panic!("it is a demo") };
        assert!(matches!(demo.change, Some(DemoCommand::Change { what: None, dir: None })));
        let words = ["larder", "demo", "change", "artist", "7", "New name", "--dir", "/x"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Demo(demo) = cli.command else { panic!("it is a demo") };
        let Some(DemoCommand::Change { what: Some(Change::Artist { id: 7, name }), dir }) =
            demo.change
        else {
            panic!("it changes an artist")
        };
        assert_eq!((name.as_deref(), dir), (Some("New name"), Some("/x".into())));
    }
}
