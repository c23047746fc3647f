//! What signals mean to a running gateway.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT, SIGQUIT | drain; the second of them ends at once |
//! | SIGHUP | read the configuration and the files that it names again |
//! | SIGHUP when the terminal has closed | drain |
//! | SIGUSR1, SIGUSR2 | a line in the log: there is no log file to open again |
//!
//! The default action of each is to end the process with calls in flight.

use std::{
    convert::Infallible,
    io::{self, IsTerminal},
};

use tracing::{info, warn};

use super::gateway::Gateway;

/// Signals of this process, from their registration on.
pub(crate) struct Signals {
    received: Received,
    /// Whether there was a terminal at the start.
    had_terminal: bool,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    HangUp,
    Nothing,
}

impl Signals {
    /// Registers for every signal; none has its default action from here on.
    ///
    /// # Errors
    /// Whatever the system says when signals cannot be followed.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            received: Received::new()?,
            had_terminal: has_terminal(),
        })
    }

    /// Does what signals ask for, until it is dropped.
    pub(crate) async fn follow(mut self, gateway: &Gateway) -> Infallible {
        let mut is_stopping = false;
        loop {
            let (signal, asked) = self.received.next().await;
            match asked {
                Asked::Stop if is_stopping => {
                    warn!(signal, "ending at once");
                    gateway.shutdown().end();
                }
                Asked::Stop => {
                    is_stopping = true;
                    info!(signal, "draining; a second signal ends at once");
                    gateway.drain();
                }
                Asked::HangUp if self.has_lost_terminal() => {
                    is_stopping = true;
                    info!(signal, "the terminal has closed: draining");
                    gateway.drain();
                }
                Asked::HangUp => {
                    info!(signal, "reading the configuration again");
                    gateway.read_again();
                }
                Asked::Nothing => info!(signal, "received; it has no meaning here"),
            }
        }
    }

    /// A terminal that has hung up answers no question about itself any more.
    fn has_lost_terminal(&self) -> bool {
        self.had_terminal && !has_terminal()
    }
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

#[cfg(unix)]
struct Received {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    user_1: tokio::signal::unix::Signal,
    user_2: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Received {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> (&'static str, Asked) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", Asked::Stop),
            _ = self.interrupt.recv() => ("SIGINT", Asked::Stop),
            _ = self.quit.recv() => ("SIGQUIT", Asked::Stop),
            _ = self.hang_up.recv() => ("SIGHUP", Asked::HangUp),
            _ = self.user_1.recv() => ("SIGUSR1", Asked::Nothing),
            _ = self.user_2.recv() => ("SIGUSR2", Asked::Nothing),
        }
    }
}

#[cfg(not(unix))]
struct Received;

#[cfg(not(unix))]
impl Received {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> (&'static str, Asked) {
        match tokio::signal::ctrl_c().await {
            Ok(()) => ("ctrl-c", Asked::Stop),
            Err(_) => std::future::pending().await,
        }
    }
}
