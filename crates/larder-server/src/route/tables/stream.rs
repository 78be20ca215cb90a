//! `GET /v1/tables/{table}/stream` and `/version`: what a replica of a table asks its owner.
//!
//! **Invariant**: a stream is never silent for longer than the heartbeat, holds a few parts in
//! memory besides the table itself, and never keeps the server from stopping.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Bytes;
use larder::{Error, ErrorKind};
use larder_table::{
    Outgoing, Version,
    sql::{Row, RowKey},
};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::Sender, watch},
    time::timeout,
};

use crate::{
    body::Reply,
    problem::{Code, Problem},
    server::Server,
    stream::Stream,
    table::{Table, replica::About},
};

use super::failure;

/// What a stream is, for whoever looks at it.
const MEDIA_TYPE: &str = "application/vnd.larder.table";

pub(super) fn answer(server: &Arc<Server>, table: &Table) -> Result<Response<Reply>, Problem> {
    let place = server.places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!(
            "{} clients listen, as many as may (server.subscribers); come back later",
            server.config.server.subscribers
        );
        Problem::new(Code::Overloaded, detail).retry_after(1)
    })?;
    let about = About::of(table, server.config.server.heartbeat);
    let shape = about.shape().map_err(|error| failure::of(server, table, &error))?;
    let outgoing = table.held.outgoing(&shape.codec(), about.encode());
    let (server, name, held) = (server.clone(), table.name.clone(), table.held.clone());
    let stream = Stream::made_by(move |parts| {
        let stopping = server.phase.watch();
        let sending = Sending { server, name, outgoing, parts, stopping, _place: place };
        async move {
            // While something is in doubt nothing would be sent until somebody asks.
            tokio::join!(sending.send_all(), async { held.version().await.ok() });
        }
    });
    let mut response = super::super::plain(MEDIA_TYPE, Reply::Stream(stream));
    // nginx passes an answer on when it has a page full of it, unless told otherwise.
    let unbuffered = http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", unbuffered);
    Ok(response)
}

/// One replica that is sent the table.
struct Sending {
    server: Arc<Server>,
    name: String,
    outgoing: Outgoing<Row, RowKey>,
    parts: Sender<Bytes>,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Sending {
    async fn send_all(mut self) {
        let heartbeat = self.server.config.server.heartbeat;
        loop {
            let next = tokio::select! {
                next = timeout(heartbeat, self.outgoing.next()) => next,
                _ = self.stopping.wait_for(|stopping| *stopping) => return,
            };
            let bytes = next.unwrap_or_else(|_| self.outgoing.beat());
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    let table = &*self.name;
                    tracing::error!(target: "larder::table", %table, %error, "cannot be sent");
                    return;
                }
            };
            let is_taken = tokio::select! {
                sent = self.parts.send(bytes.into()) => sent.is_ok(),
                _ = self.stopping.wait_for(|stopping| *stopping) => false,
            };
            if !is_taken {
                return;
            }
        }
    }
}

pub(super) async fn version(server: &Server, table: &Table) -> Result<Response<Reply>, Problem> {
    let limit = server.config.server.request_timeout;
    let asked = timeout(limit, table.held.version()).await;
    let asked = asked.unwrap_or_else(|_| {
        let detail = format!("it took longer than {limit:?}");
        Err(Error::new(ErrorKind::Timeout, "answer the request").detail(detail))
    });
    let Version { life, number } = asked.map_err(|error| failure::of(server, table, &error))?;
    Ok(super::super::json(StatusCode::OK, &json!({ "life": life, "number": number })))
}
