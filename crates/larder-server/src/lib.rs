//! The larder server: `larder serve` keeps answers from a real database fast, and fresh by itself.
//!
//! A resource is one SQL statement with typed parameters. The first request loads its rows and
//! encodes them once; later requests get the same bytes until a row they were built from changes.
//! Everything that decides about freshness is in the crates below; only this one knows HTTP.
//!
//! Reading order:
//!
//! 1. [`cli`] and [`command`]: what can be typed.
//! 2. [`config`]: from file, environment and flags to settings with their source.
//! 3. [`serve`], [`listen`], [`outflow`], [`stream`], [`shutdown`]: the life of the server and of
//!    its connections; [`server`] is its state.
//! 4. [`route`]: which request goes where; `route/resource.rs` is the hot path.
//! 5. [`guard`], [`auth`], [`position`], [`fence`], [`empties`]: what keeps others out.
//! 6. [`origin`], [`catalog`], [`body`], [`parameters`]: from a statement to bytes.
//! 7. [`literal`], [`items`], [`spoken`], [`declared`], [`rows`], [`tables`]: from what
//!    clients and settings say to dependencies and changes.
//! 8. [`mod@entry`], [`batch`], [`stats`], [`moment`]: an entry of a store, many of them at once,
//!    and how the store is doing, as JSON; moments as people write them.
//! 9. [`mod@table`]: tables held in memory, and `route/tables` which reads and changes them.
//! 10. [`demo`]: the music shop.

pub mod cli;

pub mod command;

pub mod exit;

pub mod log;

pub mod say;

pub mod config;

pub mod serve;

pub mod listen;

pub mod outflow;

pub mod shutdown;

pub mod server;

pub mod phase;

pub mod route;

pub mod problem;

pub mod guard;

pub mod auth;

pub mod secret;

pub mod position;

pub mod fence;

pub mod empties;

pub mod catalog;

pub mod origin;

pub mod owner;

pub mod parameters;

pub mod literal;

pub mod tag;

pub mod items;

pub mod spoken;

pub mod word;

pub mod declared;

pub mod rows;

pub mod tables;

pub mod table;

pub mod entry;

pub mod batch;

pub mod stats;

pub mod moment;

pub mod told;

pub mod recent;

pub mod body;

pub mod stream;

pub mod cache_status;

pub mod histogram;

pub mod demo;
