//! larder: a cache that knows when the data beneath it changed.
//!
//! A [`Cache`] holds regions. A [`Region`] is a typed set of entries with a loader and deadlines.
//! The loader gets a [`Load`], to which it says what the value was built from; when one of those
//! things changes, exactly the entries built from it fall. An origin with a feed (SQLite, with the
//! feature `sqlite`) reports its changes by itself; everything else is reported by
//! [`Cache::invalidate`].
//!
//! ```
//! use std::time::Duration;
//! use larder::{Cache, Dependency, Error};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder().build()?;
//! let names = cache
//!     .region::<u32, String>("names")
//!     .ttl(Duration::from_secs(60))
//!     .loader(|id, load| async move {
//!         load.depends_on(Dependency::id("app", "User", [id]));
//!         Ok::<_, Error>(format!("user {id}"))
//!     })
//!     .build()?;
//!
//! assert_eq!(*names.get_or_load(&7).await?, "user 7");
//! assert!(names.get(&7).await?.is_some());
//!
//! cache.invalidate([Dependency::id("app", "User", [7])]).await?;
//! assert!(names.get(&7).await?.is_none());
//! # Ok(()) }
//! ```
//!
//! # The promise
//!
//! A node knows a change once it has applied its position; the node that took `invalidate` knows it
//! when the call returns. No read that starts on a node after that returns, as fresh, a value that
//! was loaded without the change.
//!
//! # Features
//!
//! | feature | adds | costs |
//! |---|---|---|
//! | `derive` (default) | `#[derive(Tracked)]` for row types, and `Stored` | one crate more |
//! | `sqlite` (default) | [`sqlite`]: SQLite as origin, feed and store | a C compiler, sqlparser |
//! | `store` (default) | `stored` regions, with serde and MessagePack | about ten small crates |
//! | `positional` | [`Codec`] for types that derive `Stored`: no names, fewer bytes | two crates |
//! | `table` | `larder::table`: cached tables, of a SELECT with `sqlite` | one crate more |
//! | `mutants` | switches that take safeguards out, for larder's own tests | never for use |
//!
//! Reading order: [`Cache`], [`Region`], [`Load`]; inside: `flight`, `landing`, `nested`, `node`.

mod cache;

mod builder;

mod region;

mod region_builder;

mod loader;

mod load;

mod nested;

mod collected;

mod ambient;

mod begin;

mod l2;

mod claimed;

mod journal;

mod line;

mod places;

mod origins;

mod shared;

mod codec;

mod fetched;

mod explain;

mod invalidation;

mod changed;

mod hold;

mod preview;

mod events;

mod rewarm;

mod heat;

mod flight;

mod waits;

mod landing;

mod pause;

mod sample;

mod node;

mod regions;

mod capacity;

mod stats;

mod error;

mod sync;

pub use begin::Begun;
pub use builder::CacheBuilder;
pub use cache::{Cache, Status, TimelineStatus};
pub use claimed::SingleFlight;
pub use codec::Codec;
pub use error::{LoadError, Transient};
pub use events::{Event, Notice, Subscription, What};
pub use explain::{EntryState, Explanation};
pub use fetched::{Fetched, Kept, Source};
pub use invalidation::{Invalidated, Invalidating, Told};
pub use larder_core::{
    After, Asks, BoxFuture, Change, Clock, Column, Condition, Dependency, DependencySet, DependsOn,
    Description, Epoch, Error, ErrorKind, Exact, Fingerprint, Invalidation, Key, KeyDecoder,
    KeyEncoder, Layout, Mode, Moment, Name, Nulls, Order, Position, Related, RowChange, Scope,
    Span, Stamp, Stamps, Stored, Tracked, TrackedChange, Value, ValueOf, WallMillis, Watch, Weigh,
    any_of,
    claim::Fence,
    dependency::Atom,
    feed::{Doubt, Feed, FeedSink},
    fork::Fork,
    null,
    origin::{Answer, Origin},
    store::{Claims, Store, Written},
    token::{Token, TokenKey},
};
pub use larder_memory::MemoryLimit;
pub use load::Load;
pub use preview::{Affected, Cursor, Dependent, Dependents, Page, Preview, RegionAffected};
pub use region::{Region, UntrackedRegion};
pub use region_builder::{OnAbandon, RegionBuilder};
pub use rewarm::{Rewarm, Rewarmed, Rewarming};
pub use stats::Stats;

/// The program of the README, compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the page on dependencies.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../../../docs/concept/dependencies.md")]
struct DependenciesPage;

/// The examples of the page on invalidation.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../docs/concept/invalidation.md")]
struct InvalidationPage;

#[cfg(feature = "sqlite")]
/// SQLite as origin, feed and store.
pub use larder_sqlite as sqlite;

#[cfg(feature = "table")]
/// Cached tables: ranges of a big query at memory speed.
pub use larder_table as table;

/// ```
/// use larder::{Dependency, DependsOn, Order, Tracked, any_of};
///
/// #[derive(Tracked)]
/// #[tracked(table = "shop.Article", group(name = "front", columns(published, category)))]
/// struct Article {
///     #[id]
///     id: i64,
///     #[scope]
///     category: Option<String>,
///     #[scope]
///     price: i64,
///     published: bool,
///     title: String,
///     #[related]
///     authors: Vec<Author>,
/// }
///
/// #[derive(Tracked)]
/// #[tracked(table = "shop.Author")]
/// struct Author {
///     #[id]
///     #[tracked(column = "AuthorId")]
///     id: i64,
/// }
///
/// # fn main() -> Result<(), larder::Error> {
/// assert_eq!(Article::id(7), Dependency::id("shop", "Article", [7]));
///
/// // What a list asks for, as it is asked: values, lists, ranges, and the first so many.
/// let cheap = Article::scope().category(any_of(["sci-fi", "fantasy"])).price(..10);
/// let front = Article::front(true, "sci-fi");
/// let rows = vec![Article {
///     id: 7,
///     category: Some("sci-fi".into()),
///     price: 5,
///     published: true,
///     title: "Solaris".into(),
///     authors: vec![Author { id: 3 }],
/// }];
/// let newest = Article::front(true, "sci-fi").first_by_id(Order::Descending, 10, &rows);
///
/// // Each of these can be given to a load, and rows are named with all that is nested in them.
/// let mut named = Vec::new();
/// rows.iter().try_for_each(|row| row.each(&mut |dependency| named.push(dependency)))?;
/// assert_eq!(named, [Article::id(7), Author::id(3)]);
/// # for scope in [cheap, front, newest] { scope.each(&mut |_| {})? }
/// # Ok(()) }
/// ```
#[cfg(feature = "derive")]
pub use larder_macros::Tracked;

/// ```
/// use larder::{Fingerprint, Stored};
///
/// #[derive(Stored)]
/// struct Quote {
///     symbol: String,
///     #[stored(name = "price")]
///     close: f64,
/// }
///
/// /// What was stored before `price` was called `close`.
/// mod before {
///     #[derive(larder::Stored)]
///     pub struct Quote {
///         symbol: String,
///         price: f64,
///     }
/// }
///
/// let of = |format| (Fingerprint::of::<Quote>(format), Fingerprint::of::<before::Quote>(format));
/// let (now, then) = of("postcard 1");
/// assert_eq!(now, then);
/// ```
#[cfg(feature = "derive")]
pub use larder_macros::Stored;
