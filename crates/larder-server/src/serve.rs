//! Serving: from a configuration to a server that answers, and back to rest.
//!
//! What the binary does and what tests do is the same. **Invariant**: when [`start`] returns, the
//! address accepts connections and every resource can be asked; tables are being loaded.

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    config::{Config, ConfigError},
    listen::Connections,
    server::{Server, Timing},
    table::replica::Follower,
};

/// A server that answers.
#[derive(Debug)]
pub struct Running {
    /// The address it listens on, with the real port.
    pub address: SocketAddr,
    /// What every request sees.
    pub server: Arc<Server>,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// How a server came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every answer under way was given.
    Whole,
    /// The time ran out; connections were cut.
    Cut,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be served.
    Config(ConfigError),
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => fmt::Display::fmt(error, f),
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}. Choose another with --listen")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Opens the origins and begins to answer. Must be called inside a tokio runtime.
pub async fn start(config: Config, timing: Timing) -> Result<Running, StartError> {
    let wanted = config.server.listen;
    let listener =
        TcpListener::bind(wanted).await.map_err(|error| StartError::Listen(wanted, error))?;
    begin(listener, Server::build(config, timing).await?)
}

/// Begins to answer on `listener`. Must be called inside a tokio runtime.
pub fn begin(listener: TcpListener, server: Arc<Server>) -> Result<Running, StartError> {
    let wanted = server.config.server.listen;
    let address = listener.local_addr().map_err(|error| StartError::Listen(wanted, error))?;
    let connections = Arc::new(Connections::new(server.clone()));
    server.catalog.tables.iter().for_each(|table| table.begin(&server.clock));
    server.catalog.followers.iter().for_each(Follower::begin);
    let checked = server.clone();
    tokio::task::spawn_blocking(move || checked.check_origins());
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn({
        let connections = connections.clone();
        async move { connections.accept(listener, stopped).await }
    });
    Ok(Running { address, server, connections, stop, accepting })
}

impl Running {
    /// Takes no more connections, lets running requests end within `server.drain`, saves tables
    /// that are kept within as much again, and closes the cache.
    pub async fn stop(self) -> Drained {
        self.server.phase.stop();
        self.stop.send_replace(true);
        // It ends as soon as it sees the signal, and cannot fail otherwise than by a panic.
        let _ = self.accepting.await;
        let drained = self.connections.drained(self.server.config.server.drain).await;
        self.server.catalog.followers.iter().for_each(|follower| follower.stop());
        let tables = &self.server.catalog.tables;
        tables.iter().for_each(|table| table.life.stop());
        let save = async {
            for table in tables {
                table.save().await;
            }
        };
        // What is not written by then is loaded the next time.
        tokio::time::timeout(self.server.config.server.drain, save).await.ok();
        self.server.cache.close().await;
        if drained { Drained::Whole } else { Drained::Cut }
    }
}
