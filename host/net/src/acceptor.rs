//! The one way from a listener to what is served on it, whatever is spoken there.
//!
//! ```text
//! accept ─▶ admit ─▶ handshake ─▶ serve ─▶ closed
//!   │         │          └ failed, late, or one too many: closed without a word
//!   │         └ over `connections_max`: told so, where nothing is encrypted, and closed
//!   └ pauses while descriptors are short
//! ```
//! All from the handshake on runs in the connection's own task, so that nobody waits for a peer but its
//! own connection. Draining ends accepting and what is in its handshake; connections that are served
//! are told, and cut when `drain_timeout` is over.
//!
//! A handshake counts against `handshakes_max` from the moment that it waits for its peer: one that is
//! done in its first step, as `Plain` is, takes up nothing.

mod backoff;
mod handshake;
pub(crate) mod proxy_protocol;
pub(crate) mod streams;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postern_core::Origin;
use tokio::task::{JoinError, JoinSet};

use self::backoff::{Advice, Backoff};
pub(crate) use self::handshake::{ConnectionFacts, Handshake, Plain};
use crate::{counters::Counters, link::Listener, shutdown::Shutdown};

/// How much a listener takes, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptLimits {
    /// Connections open at once, those in their handshake included.
    pub(crate) connections_max: usize,
    /// Handshakes that wait for their peers at once.
    pub(crate) handshakes_max: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) drain_timeout: Duration,
}

/// Lets connections of one listener in.
struct Acceptor<H, V> {
    handshake: Arc<H>,
    service: Arc<V>,
    shutdown: Shutdown,
    n_open: Arc<AtomicUsize>,
    n_handshakes: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
    /// The last connection was turned away; said once.
    is_full: bool,
}

/// Counts an open connection, however its task ends.
struct Opened {
    counters: Arc<Counters>,
    n_open: Arc<AtomicUsize>,
}

/// Serves what comes to `listener` until `shutdown`; every connection is closed when this returns.
pub(crate) async fn run<L, H, V>(mut listener: L, handshake: H, service: Arc<V>, shutdown: Shutdown)
where
    L: Listener,
    H: Handshake<L::Link>,
    V: Serve<L::Link, H::Stream>,
{
    let mut acceptor = Acceptor::new(handshake, service, shutdown.clone());
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.draining() => break,
            Some(ended) = acceptor.tasks.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((link, origin)) => {
                backoff.succeeded();
                acceptor.admit(link, ConnectionFacts { origin, tls: None });
            }
            Err(error) => match backoff.failed(&error) {
                Advice::Again => tracing::debug!(%error, "connection lost early"),
                Advice::Pause(pause) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections");
                    tokio::select! {
                        () = shutdown.draining() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            },
        }
    }
    let drain_timeout = acceptor.service.limits().drain_timeout;
    let refusing = listener.refuse();
    let refusing = async {
        refusing.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = drain(acceptor.tasks, &shutdown, drain_timeout) => {}
        () = refusing => {}
    }
}

/// What is served: VSTP, HTTP.
pub(crate) trait Serve<A, S>: Send + Sync + 'static {
    /// Those in force; they may change while connections come.
    fn limits(&self) -> AcceptLimits;

    fn counters(&self) -> &Arc<Counters>;

    /// Tells a connection over the limit why it is closed, within `REFUSAL_WAIT`.
    fn turn_away(&self, accepted: A, limit: usize) -> impl Future<Output = ()> + Send;

    /// Serves a connection until it is closed.
    fn serve(
        self: Arc<Self>,
        stream: S,
        facts: ConnectionFacts,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send;
}

impl<H, V> Acceptor<H, V> {
    fn new(handshake: H, service: Arc<V>, shutdown: Shutdown) -> Self {
        Self {
            handshake: Arc::new(handshake),
            service,
            shutdown,
            n_open: Arc::default(),
            n_handshakes: Arc::default(),
            tasks: JoinSet::new(),
            is_full: false,
        }
    }

    fn admit<A>(&mut self, accepted: A, facts: ConnectionFacts)
    where
        A: Send + 'static,
        H: Handshake<A>,
        V: Serve<A, H::Stream>,
    {
        let limits = self.service.limits();
        if self.n_open.load(Ordering::Acquire) >= limits.connections_max {
            self.turn_away(accepted, &facts.origin, limits.connections_max);
            return;
        }
        self.is_full = false;
        let (service, step) = (Arc::clone(&self.service), Arc::clone(&self.handshake));
        let n_handshakes = Arc::clone(&self.n_handshakes);
        let shutdown = self.shutdown.child();
        let opened = Opened::new(&self.n_open, service.counters());
        self.tasks.spawn(async move {
            let origin = facts.origin.clone();
            let shaking = step.shake(accepted, facts);
            match handshake::bounded(shaking, limits, n_handshakes, &shutdown).await {
                Ok((stream, facts)) => service.serve(stream, facts, shutdown).await,
                Err(error) => {
                    if error.is_failure() {
                        service.counters().handshakes_failed.add(1);
                    }
                    tracing::debug!(peer = %origin, %error, "handshake failed");
                }
            }
            drop(opened);
        });
    }

    fn turn_away<A, S>(&mut self, accepted: A, origin: &Origin, limit: usize)
    where
        A: Send + 'static,
        S: Send + 'static,
        H: Handshake<A, Stream = S>,
        V: Serve<A, S>,
    {
        self.service.counters().connections_refused.add(1);
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::warn!(peer = %origin, limit, "connections are refused: too many are open");
        }
        if H::CAN_REFUSE && self.tasks.len() < limit.saturating_add(REFUSALS_MAX) {
            let service = Arc::clone(&self.service);
            self.tasks.spawn(async move {
                let telling = service.turn_away(accepted, limit);
                // Whether the peer reads it is its own affair.
                let _ = tokio::time::timeout(REFUSAL_WAIT, telling).await;
            });
        }
    }
}

impl Opened {
    fn new(n_open: &Arc<AtomicUsize>, counters: &Arc<Counters>) -> Self {
        n_open.fetch_add(1, Ordering::AcqRel);
        counters.connections_opened.add(1);
        Self {
            counters: Arc::clone(counters),
            n_open: Arc::clone(n_open),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.n_open.fetch_sub(1, Ordering::AcqRel);
        self.counters.connections_closed.add(1);
    }
}

/// Awaits what drains; cuts what is left when the time is over or the end has come.
async fn drain(mut tasks: JoinSet<()>, shutdown: &Shutdown, drain_timeout: Duration) {
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        biased;
        () = shutdown.ended() => {}
        () = drained => {}
        () = tokio::time::sleep(drain_timeout) => {
            tracing::warn!(?drain_timeout, "connections are cut: draining took too long");
        }
    }
    tasks.shutdown().await;
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// How long a connection over the limit may take to read why it is turned away.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);
/// Connections that are being turned away; more are closed without a word.
const REFUSALS_MAX: usize = 64;
