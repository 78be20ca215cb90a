//! What the server promises, asked over real connections of a real server on a real database.
//!
//! One binary, so that the crate is linked once. Read in this order:
//!
//! - `client`, `shop`: a small HTTP client, and the database and server that the tests use.
//! - `freshness`: another program changes a row, and the next answer is right.
//! - `answers`: statuses, headers and bodies of `/v1/resources`.
//! - `explaining`, `invalidating`, `naming`, `changing`, `declaring`, `rewarming`: what an entry
//!   is, what makes it fall, and what brings it back.
//! - `listening`: events, as they are told.
//! - `operating`: metrics, health, the page, shutdown.
//! - `security`: every bullet of what keeps others out.
//! - `limits`: every bullet of what keeps one client from taking everything.
//! - `hostile`: requests that no well-meaning client sends.
//! - `program`: the binary as a process: exit codes, what it changes, signals.
//! - `caching`: `larder cache` on a file, and what shells and manuals are told.
//! - `asking`: the same words against a running server.
//! - `storing`: entries of the store over HTTP.
//! - `batching`: many entries at once, and values that are computed while others remove.
//! - `sharded`: a store in several files, as one in a single file.
//! - `whole`: the store as a whole: how it is, its backups.
//! - `tabling`, `told`, `arrowed`, `holding`: tables: ranges and changes, what is asked of their
//!   feed, columns, how they live.
//! - `keeping`: tables that outlive the server.
//! - `replicating`: tables that follow those of another server.
//! - `described`: the OpenAPI document against the running server.
//! - `printed`: what the commands print, word by word and as JSON.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect ends it"
)]

mod client;
mod shop;

mod answers;
mod arrowed;
mod asking;
mod batching;
mod caching;
mod changing;
mod declaring;
mod described;
mod explaining;
mod freshness;
mod holding;
mod hostile;
mod invalidating;
mod keeping;
mod limits;
mod listening;
mod naming;
mod operating;
mod printed;
mod program;
mod replicating;
mod rewarming;
mod security;
mod sharded;
mod storing;
mod tabling;
mod told;
mod whole;
