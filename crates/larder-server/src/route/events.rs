//! `GET /v1/events`: everything that is invalidated on this node, as Server-Sent Events.
//!
//! **Invariant**: a client hears every event since it was answered, or how many it missed at the
//! place where they are missing; nothing is kept for one that is not there, and one that comes back
//! is told so. A stream never keeps the server from stopping.

use std::sync::Arc;

use http::{Response, request::Parts};
use hyper::body::Bytes;
use larder::{Event, Mode, Notice, Subscription, What};
use serde_json::{Value as Json, json};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::Sender, watch},
    time::timeout,
};

use crate::{
    body::Reply,
    problem::{Code, Problem},
    server::Server,
    stream::Stream,
};

/// What every stream begins with: a browser shows it as open, and waits this long, in
/// milliseconds, before it comes back.
const OPENING: &str = "retry: 2000\n: every line with data is JSON\n\n";

/// What keeps proxies from ending a silent stream.
const HEARTBEAT: &str = ":\n\n";

/// What a client is told that says by which event it had come before.
const RETURNED: &str = "event: lost\ndata: {\"missed\":null,\"why\":\"events are not kept \
                        for those who are away; take what was read before as unknown\"}\n\n";

pub(super) fn answer(server: &Arc<Server>, head: &Parts) -> Result<Response<Reply>, Problem> {
    let place = server.places.clone().try_acquire_owned().map_err(|_| {
        let detail = "as many clients listen as may; see server.subscribers";
        Problem::new(Code::Overloaded, detail).retry_after(1)
    })?;
    let returns = head.headers.contains_key("last-event-id");
    // Before the answer, so that nothing between the two is missed.
    let subscription = server.cache.subscribe();
    let server = server.clone();
    let stream = Stream::made_by(move |parts| {
        let listener = Listener { stopping: server.phase.watch(), server, parts, _place: place };
        listener.tell(subscription, returns)
    });
    let mut response = super::plain("text/event-stream", Reply::Stream(stream));
    // nginx passes an answer on when it has a page full of it, unless told otherwise.
    let unbuffered = http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", unbuffered);
    Ok(response)
}

/// One client that listens.
struct Listener {
    server: Arc<Server>,
    stopping: watch::Receiver<bool>,
    parts: Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn tell(mut self, mut subscription: Subscription, returns: bool) {
        let opening = if returns { [OPENING, RETURNED].concat() } else { OPENING.to_owned() };
        if !self.send(opening).await {
            return;
        }
        let heartbeat = self.server.config.server.heartbeat;
        loop {
            let notice = tokio::select! {
                notice = timeout(heartbeat, subscription.next()) => notice,
                _ = self.stopping.wait_for(|stopping| *stopping) => return,
            };
            let part = match notice {
                Err(_) => HEARTBEAT.to_owned(),
                Ok(None) => return,
                Ok(Some(notice)) => self.part(&notice),
            };
            if !self.send(part).await {
                return;
            }
        }
    }

    /// Waits until the connection takes more; whether it does.
    async fn send(&mut self, part: String) -> bool {
        tokio::select! {
            sent = self.parts.send(part.into()) => sent.is_ok(),
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    fn part(&self, notice: &Notice) -> String {
        match notice {
            Notice::Invalidated(event) => {
                self.server.told.events.add(1);
                let id = format!("{}.{}", event.timeline, event.position.0);
                format!("id: {id}\nevent: invalidated\ndata: {}\n\n", self.shown(event))
            }
            Notice::Missed(count) => {
                self.server.told.lost.add(*count);
                let data = json!({ "missed": count, "why": "this client took them too slowly" });
                format!("event: lost\ndata: {data}\n\n")
            }
            // One that this server cannot put into words is one that the client does not get.
            _ => {
                self.server.told.lost.add(1);
                "event: lost\ndata: {\"missed\":1}\n\n".to_owned()
            }
        }
    }

    fn shown(&self, event: &Event) -> Json {
        let what = match &event.what {
            What::Named(dependencies) => {
                let names: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
                json!({ "named": names })
            }
            What::Reported { changes, words } => {
                json!({ "reported": &**words, "changes": changes })
            }
            What::Restarted(doubt) => json!({ "restarted": doubt.to_string() }),
            _ => json!({}),
        };
        json!({
            "timeline": &*event.timeline,
            "position": event.position.0,
            "what": what,
            "mode": match event.mode {
                Mode::Hard => "hard",
                Mode::Soft => "soft",
            },
            "entries": event.entries,
            // As `uptime_seconds` of the status has it: wall clocks go back.
            "at": event.at.since(self.server.started).as_secs_f64(),
        })
    }
}
