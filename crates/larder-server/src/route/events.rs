//! `GET /v1/events`: everything that is invalidated on this node, as Server-Sent Events.
//!
//! **Invariant**: a client hears every event since it was answered, or since the one that it names
//! in `Last-Event-ID`, in their order; where some are not kept any more it is told so, at that
//! place. Nobody waits for a client, and a stream never keeps the server from stopping.

use std::sync::Arc;

use http::{HeaderMap, Response, request::Parts};
use hyper::body::Bytes;
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::Sender, watch},
    time::timeout,
};

use crate::{
    body::Reply,
    problem::{Code, Problem},
    recent::Next,
    server::Server,
    stream::Stream,
};

/// What keeps proxies from ending a silent stream.
const HEARTBEAT: &str = ":\n\n";

/// What a client is told that must start anew.
const DISTRUST: &str = "take all that was read before as unknown";

pub(super) fn answer(server: &Arc<Server>, head: &Parts) -> Result<Response<Reply>, Problem> {
    let place = server.places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!(
            "{} clients listen, as many as may (server.subscribers); come back later",
            server.config.server.subscribers
        );
        Problem::new(Code::Overloaded, detail).retry_after(1)
    })?;
    // Before the answer, so that nothing between the two is missed.
    let start = Start::of(server, &head.headers);
    let server = server.clone();
    let stream = Stream::made_by(move |parts| {
        let listener = Listener { stopping: server.phase.watch(), server, parts, _place: place };
        listener.tell(start)
    });
    let mut response = super::plain("text/event-stream", Reply::Stream(stream));
    // nginx passes an answer on when it has a page full of it, unless told otherwise.
    let unbuffered = http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", unbuffered);
    Ok(response)
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// After this event.
    After(u64),
    /// After this event, for one that names another that is not of this run.
    Anew(u64),
}

impl Start {
    fn of(server: &Server, headers: &HeaderMap) -> Self {
        let named = headers.get("last-event-id");
        let known = named.map(|id| id.to_str().ok().and_then(|id| server.recent.number(id)));
        match known {
            None => Self::After(server.recent.last()),
            Some(Some(number)) => Self::After(number),
            Some(None) => Self::Anew(server.recent.last()),
        }
    }
}

/// One client that listens.
struct Listener {
    server: Arc<Server>,
    stopping: watch::Receiver<bool>,
    parts: Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn tell(mut self, start: Start) {
        let (Start::After(mut number) | Start::Anew(mut number)) = start;
        if !self.send(self.opening(start)).await {
            return;
        }
        let heartbeat = self.server.config.server.heartbeat;
        let mut grown = self.server.recent.watch();
        loop {
            grown.mark_unchanged();
            let part = match self.server.recent.after(number) {
                Next::Event(text) => {
                    number += 1;
                    self.server.told.events.add(1);
                    text
                }
                Next::Missed(count) => {
                    number += count;
                    self.server.told.lost.add(count);
                    self.lost(number, Some(count))
                }
                Next::End => return,
                Next::Nothing => {
                    let waited = tokio::select! {
                        waited = timeout(heartbeat, grown.changed()) => waited,
                        _ = self.stopping.wait_for(|stopping| *stopping) => return,
                    };
                    if waited.is_ok() {
                        continue;
                    }
                    Bytes::from_static(HEARTBEAT.as_bytes())
                }
            };
            if !self.send(part).await {
                return;
            }
        }
    }

    /// Waits until the connection takes more; whether it does.
    async fn send(&mut self, part: Bytes) -> bool {
        tokio::select! {
            sent = self.parts.send(part) => sent.is_ok(),
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// What every stream begins with: a browser shows it as open, waits this long, in milliseconds,
    /// before it comes back, and knows where it was even if it has not heard anything.
    fn opening(&self, start: Start) -> Bytes {
        let (Start::After(number) | Start::Anew(number)) = start;
        let id = self.server.recent.id(number);
        let opening = format!("retry: 2000\nid: {id}\n: every line with data is JSON\n\n");
        match start {
            Start::After(_) => opening.into(),
            Start::Anew(number) => [opening.as_bytes(), &self.lost(number, None)].concat().into(),
        }
    }

    /// Some are missing up to the event with that number: so many, or nobody knows how many.
    fn lost(&self, number: u64, count: Option<u64>) -> Bytes {
        let why = match count {
            Some(_) => format!("they are not kept any more; {DISTRUST}"),
            None => format!("the last event is not one of this server's run; {DISTRUST}"),
        };
        let data = json!({ "missed": count, "why": why });
        format!("id: {}\nevent: lost\ndata: {data}\n\n", self.server.recent.id(number)).into()
    }
}
