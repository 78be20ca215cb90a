//! Vocabulary and decisions of larder, without I/O and without a runtime.
//!
//! Everything that decides whether a cached value may be served lives here as plain data and pure
//! functions, so that it can be model-checked, property-tested and driven by a simulated origin.
//! The crates above only move bytes and wake tasks.
//!
//! Reading order:
//!
//! 1. [`value`] and [`key`]: what identifies a thing, encoded injectively.
//! 2. [`dependency`] and [`span`]: what an entry was built from; [`change`]: what happened to it.
//!    [`tracked`], [`condition`] and [`scope`]: how an application says both.
//!    [`widen`]: what becomes of too large a set.
//! 3. [`timeline`]: positions, epochs, stamps; [`history`]: the bounded memory of changes.
//! 4. [`freshness`] and [`flight`]: the two decisions, as pure functions.
//! 5. [`token`], [`record`], [`invalidation`]: what leaves the process.
//! 6. [`feed`], [`origin`], [`store`]: what a backend implements; [`fork`]: one feed for several.
//!    [`claim`] and [`announcement`]:
//!    what caches that share a store do about loads and invalidations.
//!
//! **Invariant**: nothing in this crate reads a clock, a file or a socket, except [`clock`], which
//! is the one place where larder takes the time.

pub mod value;

pub mod key;

pub mod dependency;

pub mod span;

mod lasting;

pub mod widen;

pub mod change;

pub mod timeline;

pub mod tracked;

pub mod condition;

pub mod scope;

pub mod history;

mod shape;

pub mod by_digest;

pub mod invalidation;

pub mod freshness;

pub mod flight;

pub mod token;

pub mod record;

pub mod feed;

pub mod fork;

pub mod origin;

pub mod claim;

pub mod announcement;

pub mod store;

pub mod clock;

pub mod layout;

pub mod weigh;

pub mod error;

pub mod safeguard;

mod encoding;

pub use change::{After, Change, RowChange};
pub use clock::{Clock, Moment, WallMillis};
pub use condition::{Asks, Condition, Exact, ValueOf, any_of, null};
pub use dependency::{Dependency, DependencySet, Digest, Watch};
pub use error::{Error, ErrorKind};
pub use history::History;
pub use invalidation::{Invalidation, Mode};
pub use key::{Key, KeyBytes, KeyDecoder, KeyEncoder, KeyRef, KeyWords};
pub use layout::{Fingerprint, Layout, Stored};
pub use scope::{Order, Scope};
pub use span::{Nulls, Span};
pub use timeline::{Epoch, Name, Position, Stamp, Stamps};
pub use tracked::{Column, DependsOn, Description, Related, Tracked, TrackedChange};
pub use value::Value;
pub use weigh::Weigh;

/// A boxed future, as the `dyn`-safe traits of this crate return it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
