//! The end: which signals ask for it.
//!
//! **Invariant**: only the binary listens to signals; whoever embeds the server stops it by hand.

/// Waits for SIGTERM or SIGINT, and gives its name.
pub async fn signal() -> &'static str {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate());
        let Ok(mut terminate) = terminate else { return interrupt().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            name = interrupt() => name,
        }
    }
    #[cfg(not(unix))]
    interrupt().await
}

async fn interrupt() -> &'static str {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the default action ends the process, which is what is wanted.
        std::future::pending::<()>().await;
    }
    "SIGINT"
}
