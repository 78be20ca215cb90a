//! `larder cache`: what can be typed about the entries of a store.
//!
//! Apart from the rest of the command line because it is about a file and not about a server.
//! **Invariant**: nothing that removes or replaces more than what was named does so unasked on a
//! terminal.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::{config::Span, moment::Moment};

/// `larder cache`
#[derive(Args, Debug)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub what: CacheCommand,
    /// Which store, and how to print.
    #[command(flatten)]
    pub at: AtStore,
}

/// A store: a file, whether a server has it open or not, or what a server has open.
#[derive(Args, Clone, Debug)]
pub struct AtStore {
    /// The file of the store; `restore` and whatever writes entries make it if there is none
    /// [default: store.path of the configuration]
    #[arg(long, value_name = "FILE", global = true)]
    pub store: Option<PathBuf>,
    /// Ask the server there in place of a file, such as http://127.0.0.1:7077.
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// A file with the token, where the server asks for one.
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `larder cache` can do.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List entries by key, a page at a time.
    Ls(Ls),
    /// Write the value of an entry to standard output; the exit code is 6 if there is none.
    Get(Get),
    /// Write an entry in place of what is there.
    Set(Set),
    /// Begin to compute a value elsewhere, and print what `set --begun` takes: what was removed
    /// meanwhile is then not stored.
    Begin(Begin),
    /// Add to the whole number in an entry, and print the sum.
    Incr(Incr),
    /// Let an entry live so long from now; the exit code is 6 if there is none.
    Touch(Touch),
    /// Remove entries by key, by pattern or by tag.
    Rm(Rm),
    /// List tags with their entries, and how often these were read.
    Tags(Tags),
    /// Show what is in the store, region by region; of a server also hits, misses and evictions.
    Stats,
    /// List the entries that were read most, or that are largest, oldest or longest unread.
    Top(Top),
    /// Do what lines of JSON on standard input say, many at a time, and write what became of each.
    Batch(Operations),
    /// Write entries as lines of JSON.
    Export(Export),
    /// Read entries from lines of JSON, as `export` writes them.
    Import(Import),
    /// Copy the store into a file, while it is in use, and verify the copy.
    Backup(Backup),
    /// List the backups that are kept, the oldest first.
    Backups(Backups),
    /// Put the content of a backup in the place of what is in the store, which may be broken.
    Restore(Restore),
    /// Look whether the file is what it should be.
    Check(Check),
    /// Keep the store in another number of files, while nobody has it open.
    Reshard(Reshard),
    /// Remove what has expired and give free room back to the file system.
    Vacuum,
}

/// A region of a store.
#[derive(Args, Clone, Debug)]
pub struct InRegion {
    /// The region of the entries.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub region: String,
}

/// Which entries; by default all of a region.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those whose key matches; `%` stands for any characters, everything else for itself.
    #[arg(long, value_name = "PATTERN", conflicts_with = "glob")]
    pub pattern: Option<String>,
    /// Those whose key matches; `*` stands for any characters, `?` for one, `[a-z]` for one of a
    /// set.
    #[arg(long, value_name = "PATTERN")]
    pub glob: Option<String>,
    /// Those that have the tag; with several, at least one of them.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Those that have this tag too; with several, every one of them.
    #[arg(long, value_name = "TAG")]
    pub all_tags: Vec<String>,
    /// Only those that do not have the tag.
    #[arg(long, value_name = "TAG")]
    pub not_tag: Vec<String>,
}

/// `larder cache ls`
#[derive(Args, Debug)]
pub struct Ls {
    /// Which entries.
    #[command(flatten)]
    pub which: Selection,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
    /// Entries to show at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,
    /// The last key of the page before.
    #[arg(long, value_name = "KEY")]
    pub after: Option<String>,
}

/// `larder cache get`
#[derive(Args, Debug)]
pub struct Get {
    /// The key of the entry.
    pub key: String,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// JSON text.
    Json,
    /// UTF-8 text.
    Text,
    /// Anything.
    Bytes,
}

/// How long an entry lives; one of the two must be said.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct Living {
    /// So long from now, such as 90s, 10m or 7d.
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<Span>,
    /// Until it is removed or evicted.
    #[arg(long)]
    pub forever: bool,
}

/// `larder cache set`
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("life").required(true).args(["ttl", "forever"])))]
pub struct Set {
    /// The key of the entry.
    pub key: String,
    /// The value [default: all of standard input]
    #[arg(conflicts_with = "file")]
    pub value: Option<String>,
    /// The file with the value.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How long it lives.
    #[command(flatten)]
    pub living: Living,
    /// A label by which it is found and removed with others; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// What the value is [default: json if it reads as such, else text if it is, else bytes]
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Keep it from eviction.
    #[arg(long)]
    pub pin: bool,
    /// Only if there is no entry under the key; else the exit code is 1.
    #[arg(long)]
    pub add: bool,
    /// What `begin` printed before the value was computed: if the entry was removed since, nothing
    /// is stored and the exit code is 1.
    #[arg(long, value_name = "BEGUN")]
    pub begun: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// `larder cache begin`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  begun=$(larder cache begin quote_2330)
  compute-the-quote 2330 | larder cache set quote_2330 --ttl 30m --begun \"$begun\"")]
pub struct Begin {
    /// The key of the entry.
    pub key: String,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// `larder cache batch`
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is an object with `op` (get, put, add, remove, touch or incr) and `key`. `put` and
`add` take what `import` takes: value, text or base64, tags, pinned, ttl_ms. `touch` takes
ttl_ms, `incr` also `by`. Lines of one `op` and region that follow each other are one commit.
A result with an `error` makes the exit code 1.

Examples:
  printf '%s\\n' '{\"op\":\"incr\",\"key\":\"visits\"}' '{\"op\":\"get\",\"key\":\"quote_2330\"}' |
    larder cache batch --ttl 7d")]
pub struct Operations {
    /// The region of lines that name none.
    #[command(flatten)]
    pub place: InRegion,
    /// How long entries live whose lines do not say it.
    #[command(flatten)]
    pub living: Living,
}

/// `larder cache incr`
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("life").required(true).args(["ttl", "forever"])))]
pub struct Incr {
    /// The key of the entry; where there is none, it begins at zero.
    pub key: String,
    /// What is added; it may be negative.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, allow_hyphen_values = true)]
    pub by: i64,
    /// How long it lives if it begins now.
    #[command(flatten)]
    pub living: Living,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// `larder cache touch`
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("life").required(true).args(["ttl", "forever"])))]
pub struct Touch {
    /// The key of the entry.
    pub key: String,
    /// How long it lives from now.
    #[command(flatten)]
    pub living: Living,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// `larder cache rm`
#[derive(Args, Debug)]
pub struct Rm {
    /// The keys of the entries; or say which with one of the options.
    #[arg(
        value_name = "KEY",
        required_unless_present_any = ["pattern", "glob", "tag", "all_tags", "not_tag", "all"],
        conflicts_with_all = ["pattern", "glob", "tag", "all_tags", "not_tag", "all"]
    )]
    pub keys: Vec<String>,
    /// Which entries.
    #[command(flatten)]
    pub which: Selection,
    /// All entries of the region.
    #[arg(long, conflicts_with_all = ["pattern", "glob", "tag", "all_tags", "not_tag"])]
    pub all: bool,
    /// Only show how many would be removed.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; off a terminal nobody is asked anyway.
    #[arg(long)]
    pub yes: bool,
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
}

/// `larder cache tags`
#[derive(Args, Debug)]
pub struct Tags {
    /// Where.
    #[command(flatten)]
    pub place: InRegion,
    /// Tags to show at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,
    /// The last tag of the page before.
    #[arg(long, value_name = "TAG")]
    pub after: Option<String>,
}

/// By what `larder cache top` sorts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TopBy {
    /// Read most often first.
    Reads,
    /// Largest first.
    Size,
    /// Written longest ago first.
    Age,
    /// Read or written longest ago first: what eviction would take.
    Idle,
}

/// `larder cache top`
#[derive(Args, Debug)]
pub struct Top {
    /// What comes first.
    #[arg(long, default_value = "reads")]
    pub by: TopBy,
    /// Entries to show at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub limit: usize,
    /// Only entries of this region [default: all]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
}

/// `larder cache export`
#[derive(Args, Debug)]
pub struct Export {
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Which entries.
    #[command(flatten)]
    pub which: Selection,
    /// Only entries of this region [default: all]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
}

/// `larder cache import`
#[derive(Args, Debug)]
pub struct Import {
    /// The file to read [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The region of lines that name none.
    #[command(flatten)]
    pub place: InRegion,
    /// How long entries live whose lines do not say it.
    #[command(flatten)]
    pub living: Living,
}

/// The directory of backups.
#[derive(Args, Clone, Debug)]
pub struct Kept {
    /// The directory in which backups are kept [default: store.backups of the configuration]
    #[arg(long, value_name = "DIR")]
    pub backups: Option<PathBuf>,
}

/// `larder cache backup`
#[derive(Args, Debug)]
pub struct Backup {
    /// The file to write; a backup that is there is replaced once the new one is whole [default:
    /// a new one in the directory of backups, named after the store and the time]
    #[arg(conflicts_with = "backups")]
    pub to: Option<PathBuf>,
    /// Where backups are kept.
    #[command(flatten)]
    pub kept: Kept,
}

/// `larder cache backups`
#[derive(Args, Debug)]
pub struct Backups {
    /// Where backups are kept.
    #[command(flatten)]
    pub kept: Kept,
}

/// `larder cache restore`
#[derive(Args, Debug)]
pub struct Restore {
    /// The backup: a file, or the name of one of those that are kept (`larder cache backups`).
    #[arg(required_unless_present = "as_of", conflicts_with = "as_of")]
    pub from: Option<PathBuf>,
    /// Of the backups that are kept, the newest one that was taken at this time or before, such as
    /// "2026-11-22 05:33" (UTC unless it says otherwise).
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Moment>,
    /// Where backups are kept.
    #[command(flatten)]
    pub kept: Kept,
    /// Do not ask; off a terminal nobody is asked anyway.
    #[arg(long)]
    pub yes: bool,
}

/// `larder cache check`
#[derive(Args, Debug)]
pub struct Check {
    /// Only the pages and the totals, not every index, tag and value.
    #[arg(long)]
    pub quick: bool,
}

/// `larder cache reshard`
#[derive(Args, Debug)]
pub struct Reshard {
    /// In how many files it is kept from then on, 1 to 64; say the same in `store.shards`.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,
}
