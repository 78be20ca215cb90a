//! Answers of tables: a page as JSON, or a stream of lines or of Arrow's batches.
//!
//! **Invariant**: of a stream no more than a few parts are in memory besides the records that the
//! table holds anyway; a page has at most as many bytes as are said here.

use std::sync::Arc;

use arrow_schema::ArrowError;
use http::{HeaderName, HeaderValue, Response};
use hyper::body::Bytes;
use larder_table::{Cursor, Record as _, sql::RowKey};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::{
    body::Reply,
    position,
    problem::{Code, Problem},
    stream::Stream,
    table::{
        Table,
        arrow::{Batches, Shape},
        cursor,
    },
};

use super::read::{Covered, Found, Question};

/// A page ends with the record that reaches this: ten times more would let a hundred clients take
/// gigabytes, a tenth would cut pages of wide records.
const PAGE_BYTES: usize = 8 << 20;

/// A part of a stream: a tenth would wake the connection for every few records, ten times more
/// would hold half a megabyte for each client that reads slowly.
const PART_BYTES: usize = 64 << 10;

/// A batch of columns ends with the record that reaches this: larger ones are quicker to read, and
/// each client that reads slowly holds a few.
const BATCH_BYTES: usize = 512 << 10;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const POSITION: HeaderName = HeaderName::from_static(position::POSITION);
const NEXT: HeaderName = HeaderName::from_static("larder-next");

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One object with a page of them.
    Json,
    /// One object in each line, as a stream.
    Lines,
    /// Batches of columns, as a stream.
    Arrow,
}

impl Format {
    /// The format with that media type.
    pub(super) fn named(media_type: &str) -> Option<Self> {
        match media_type {
            "application/json" => Some(Self::Json),
            LINES => Some(Self::Lines),
            ARROW => Some(Self::Arrow),
            _ => None,
        }
    }
}

const LINES: &str = "application/x-ndjson";

const ARROW: &str = "application/vnd.apache.arrow.stream";

pub(super) fn respond(
    table: &Arc<Table>,
    question: &Question<'_>,
    found: Found,
    covered: Covered,
    position: HeaderValue,
    format: Format,
) -> Result<Response<Reply>, Problem> {
    let encoded = |cursor: &Cursor<RowKey, RowKey>| {
        cursor::encoded(cursor, &question.index.name, question.order)
    };
    let (mut response, next) = match format {
        Format::Json => {
            let (records, next) = page(table, &found);
            let next = next.as_ref().map(encoded);
            let head = json!({
                "table": table.name,
                "index": question.index.name,
                "columns": table.columns.iter().map(|name| &**name).collect::<Vec<_>>(),
                "covered": covered != Covered::NotWholly,
                "within_slack": covered == Covered::WithSlack,
                "position": position.to_str().unwrap_or_default(),
                "next": next,
            });
            (super::super::plain("application/json", with_records(&head, &records)), next)
        }
        Format::Lines => {
            let next = found.next().as_ref().map(encoded);
            let table = table.clone();
            let stream = Stream::made_by(move |parts| lines(table, found, parts));
            (super::super::plain(LINES, Reply::Stream(stream)), next)
        }
        Format::Arrow => {
            let next = found.next().as_ref().map(encoded);
            let table = table.clone();
            let stream = Stream::made_by(move |parts| batches(table, found, parts));
            (super::super::plain(ARROW, Reply::Stream(stream)), next)
        }
    };
    let headers = response.headers_mut();
    let status = match covered {
        Covered::Wholly => "larder; hit",
        Covered::WithSlack => "larder; hit; detail=slack",
        Covered::NotWholly => "larder; fwd=partial",
    };
    headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
    headers.insert(POSITION, position);
    if let Some(next) = next {
        let next = HeaderValue::try_from(next);
        let next = next.map_err(|_| Problem::new(Code::LoadFailed, "the cursor is no header"))?;
        headers.insert(NEXT, next);
    }
    Ok(response)
}

/// The records of a page as far as its bytes go, and where the next one begins.
fn page(table: &Table, found: &Found) -> (Vec<u8>, Option<Cursor<RowKey, RowKey>>) {
    let Found::Page(page) = found else { return (Vec::new(), None) };
    let mut out = Vec::with_capacity(page.len().saturating_mul(64).min(PAGE_BYTES));
    let mut entries = page.entries();
    while let Some((key, record)) = entries.next() {
        if !out.is_empty() {
            out.push(b',');
        }
        table.members.put(&mut out, record);
        if PAGE_BYTES <= out.len() && entries.len() != 0 {
            return (out, Some(Cursor { key: key.clone(), primary: record.key() }));
        }
    }
    (out, page.next())
}

/// `head` with the records as its last member.
fn with_records(head: &Value, records: &[u8]) -> Reply {
    let mut out = head.to_string().into_bytes();
    out.pop();
    out.extend_from_slice(b",\"records\":[");
    out.extend_from_slice(records);
    out.extend_from_slice(b"]}");
    Reply::new(out.into())
}

async fn lines(table: Arc<Table>, found: Found, parts: Sender<Bytes>) {
    let mut part = Vec::with_capacity(PART_BYTES + PART_BYTES / 8);
    for record in found.iter() {
        table.members.put(&mut part, record);
        part.push(b'\n');
        if PART_BYTES <= part.len() {
            let full = std::mem::replace(&mut part, Vec::with_capacity(PART_BYTES));
            if parts.send(full.into()).await.is_err() {
                return;
            }
        }
    }
    if !part.is_empty() {
        // Whoever has gone does not miss it.
        parts.send(part.into()).await.ok();
    }
}

/// Records that are looked at before others have their turn: some milliseconds.
const LOOKED_AT: usize = 10_000;

async fn batches(table: Arc<Table>, found: Found, parts: Sender<Bytes>) {
    let mut shape = Shape::new(&table.known);
    for (place, record) in found.iter().enumerate() {
        shape.look_at(record);
        if place % LOOKED_AT == LOOKED_AT - 1 {
            tokio::task::yield_now().await;
        }
    }
    if let Err(error) = send_batches(&table, &shape, &found, &parts).await {
        tracing::error!(target: "larder::table", table = %table.name, %error, "cannot encode");
    }
}

/// Sends them, until they end or the client has gone.
async fn send_batches(
    table: &Table,
    shape: &Shape,
    found: &Found,
    parts: &Sender<Bytes>,
) -> Result<(), ArrowError> {
    let mut batches = Batches::begin(&table.known, shape)?;
    for record in found.iter() {
        batches.put(record);
        if BATCH_BYTES <= batches.bytes() && parts.send(batches.cut()?.into()).await.is_err() {
            return Ok(());
        }
    }
    // Whoever has gone does not miss it.
    parts.send(batches.end()?.into()).await.ok();
    Ok(())
}
