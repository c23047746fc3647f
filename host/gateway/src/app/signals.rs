//! Signals: the first asks for a drain, the second ends at once.

use std::io;

use postern_net::Shutdown;
use tracing::{info, warn};

/// Follows the process's signals until `shutdown` has ended.
///
/// # Errors
/// Whatever the system says when signals cannot be followed.
pub(crate) async fn follow(shutdown: Shutdown) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let name = signals.next().await;
    info!(signal = name, "draining; a second signal ends at once");
    shutdown.drain();
    let name = signals.next().await;
    warn!(signal = name, "ending at once");
    shutdown.end();
    Ok(())
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "ctrl-c",
            Err(_) => std::future::pending().await,
        }
    }
}
