//! The owner of a table that is followed here: its stream, and questions to it.
//!
//! Apart from `command/client.rs`, with which commands ask once and end. **Invariant**: whatever
//! another server answers that is not what was asked for is an error with its words.

use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use larder::{Error, ErrorKind};
use larder_core::BoxFuture;
use larder_table::Version;
use serde::Deserialize;
use tokio::{net::TcpStream, sync::Mutex, task::AbortHandle};

use crate::config::replica::Replica as Settings;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a refusal is read: more than any problem document has.
const REFUSAL_BYTES: usize = 64 << 10;

/// The server that has a table, as far as that is concerned.
#[derive(Debug)]
pub struct Owner {
    settings: Settings,
    /// The name of the table, here and there.
    table: String,
    /// Over which questions are asked, one after the other.
    asking: Mutex<Option<Asking>>,
}

/// A connection that is kept.
#[derive(Debug)]
struct Asking {
    send: SendRequest<Empty<Bytes>>,
    task: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A stream that comes.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    _connection: Asking,
}

impl Streamed {
    /// The next bytes, which come within `silence`.
    ///
    /// # Errors
    /// `Unavailable` when nothing comes in time, or nothing more.
    pub async fn next(&mut self, silence: Duration) -> Result<Bytes, Error> {
        let ended = |why: String| {
            Error::new(ErrorKind::Unavailable, "follow the owner of table").detail(why)
        };
        loop {
            let frame = tokio::time::timeout(silence, self.body.frame()).await;
            match frame {
                Err(_) => return Err(ended(format!("nothing came for {silence:?}"))),
                Ok(None) => return Err(ended("the stream ended".to_owned())),
                Ok(Some(Err(error))) => return Err(ended(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(bytes);
                    }
                }
            }
        }
    }
}

/// The answer to a question for the version.
#[derive(Debug, Deserialize)]
struct Answered {
    life: u64,
    number: u64,
}

impl Owner {
    /// That of the table with this name.
    pub fn new(table: &str, settings: &Settings) -> Self {
        let (table, settings) = (table.to_owned(), settings.clone());
        Self { settings, table, asking: Mutex::default() }
    }

    /// Begins to be sent the table; the bytes of the answer are the stream.
    ///
    /// # Errors
    /// `Unavailable` when the owner does not answer, or with something else.
    pub async fn stream(&self) -> Result<Streamed, Error> {
        let mut asking = self.connect().await?;
        let sent = tokio::time::timeout(PATIENCE, self.send(&mut asking, "stream")).await;
        let response = sent.map_err(|_| self.silent("it did not answer in time"))??;
        Ok(Streamed { body: response.into_body(), _connection: asking })
    }

    /// Where the owner listens.
    pub fn address(&self) -> String {
        self.settings.owner.to_string()
    }

    async fn connect(&self) -> Result<Asking, Error> {
        let owner = &self.settings.owner;
        let connecting = async {
            let stream = TcpStream::connect((&*owner.host, owner.port)).await?;
            stream.set_nodelay(true)?;
            handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        let connected = connected.map_err(|_| self.silent("it did not answer in time"))?;
        let (send, connection) = connected.map_err(|error| self.lost(error))?;
        let task = tokio::spawn(async move {
            // What goes wrong is told to whoever waits for an answer.
            connection.await.ok();
        });
        Ok(Asking { send, task: task.abort_handle() })
    }

    /// Asks for something of the table.
    async fn send(&self, asking: &mut Asking, what: &str) -> Result<Response<Incoming>, Error> {
        let mut request = Request::get(format!("/v1/tables/{}/{what}", self.table))
            .header(header::HOST, self.settings.owner.authority())
            .header(header::USER_AGENT, concat!("larder/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| self.lost(error))?;
        if let Some(token) = &self.settings.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|_| self.silent("its token is no header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        asking.send.ready().await.map_err(|error| self.lost(error))?;
        let sent = asking.send.send_request(request).await;
        let response = sent.map_err(|error| self.lost(error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(self.refused(status, response.into_body()).await),
        }
    }

    async fn ask(&self) -> Result<Version, Error> {
        let mut kept = self.asking.lock().await;
        // One that was kept may have ended meanwhile: a new one is tried before it is an error.
        let mut tries = kept.take().into_iter().map(Some).chain([None]);
        loop {
            let asking = tries.next().flatten();
            let was_kept = asking.is_some();
            let mut asking = match asking {
                Some(asking) => asking,
                None => self.connect().await?,
            };
            match self.send(&mut asking, "version").await {
                Ok(response) => {
                    let body = Limited::new(response.into_body(), REFUSAL_BYTES).collect().await;
                    let body = body.map_err(|error| self.lost(error))?.to_bytes();
                    let answered = serde_json::from_slice::<Answered>(&body);
                    let Answered { life, number } = answered.map_err(|error| self.lost(error))?;
                    *kept = Some(asking);
                    return Ok(Version { life, number });
                }
                Err(_) if was_kept && asking.send.is_closed() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What the owner says in place of an answer.
    #[cold]
    async fn refused(&self, status: StatusCode, body: Incoming) -> Error {
        let body = Limited::new(body, REFUSAL_BYTES).collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let of = |name: &str| problem.get(name).and_then(|text| text.as_str()).unwrap_or_default();
        self.silent(&format!("it answers {}: {}: {}", status.as_u16(), of("title"), of("detail")))
    }

    #[cold]
    fn silent(&self, detail: &str) -> Error {
        Error::new(ErrorKind::Unavailable, "ask the owner of table")
            .subject(self.settings.owner.to_string())
            .detail(detail.to_owned())
    }

    #[cold]
    fn lost(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.silent(&error.into().to_string())
    }
}

impl larder_table::Owner for Owner {
    fn version(&self) -> BoxFuture<'_, Result<Version, Error>> {
        Box::pin(self.ask())
    }
}
