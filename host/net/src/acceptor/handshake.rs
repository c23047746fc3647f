//! Between accepting and serving: one step of each connection, bounded in time and number.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use postern_core::{Origin, tls::TlsFacts};

use super::AcceptLimits;
use crate::{link::StreamLink, shutdown::Shutdown, tls::AnsweredChallenge};

/// What makes of an accepted connection what is served: TLS, the PROXY protocol, QUIC, or nothing.
pub(crate) trait Handshake<A>: Send + Sync + 'static {
    /// What is served.
    type Stream: Send + 'static;

    /// Whether a connection over the limit can be told so without the handshake.
    const CAN_REFUSE: bool = true;

    /// Talks to the peer until the stream can be served. `facts` are what is known of the connection;
    /// what the peer proves is added to them.
    ///
    /// # Errors
    /// Why there is nothing to be served.
    fn shake(
        &self,
        accepted: A,
        facts: ConnectionFacts,
    ) -> impl Future<Output = io::Result<(Self::Stream, ConnectionFacts)>> + Send;
}

/// Serves streams as they are accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

/// What is known of a connection before anything is read of what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionFacts {
    pub(crate) origin: Origin,
    /// None where the connection is plain.
    pub(crate) tls: Option<Arc<TlsFacts>>,
}

/// Counts a handshake that waits for its peer.
struct Shaking(Arc<AtomicUsize>);

/// Why a connection is closed before it is served.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Failed(#[from] io::Error),
    #[error("it was not done within {0:?}")]
    Late(Duration),
    #[error("{limit} others are in progress, which is the limit")]
    TooMany { limit: usize },
    #[error("the listener drains")]
    Draining,
}

impl HandshakeError {
    /// Whether a peer failed that was to be served.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Failed(error) => !AnsweredChallenge::is_in(error),
            Self::Late(_) | Self::TooMany { .. } => true,
            Self::Draining => false,
        }
    }
}

impl<A: StreamLink> Handshake<A> for Plain {
    type Stream = A;

    async fn shake(&self, accepted: A, facts: ConnectionFacts) -> io::Result<(A, ConnectionFacts)> {
        Ok((accepted, facts))
    }
}

impl Shaking {
    fn try_begin(n_handshakes: Arc<AtomicUsize>, limit: usize) -> Result<Self, HandshakeError> {
        let shaking = Self(n_handshakes);
        if shaking.0.fetch_add(1, Ordering::AcqRel) >= limit {
            return Err(HandshakeError::TooMany { limit });
        }
        Ok(shaking)
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A handshake within the bounds of time and number.
pub(super) async fn bounded<T>(
    shaking: impl Future<Output = io::Result<T>>,
    limits: AcceptLimits,
    n_handshakes: Arc<AtomicUsize>,
    shutdown: &Shutdown,
) -> Result<T, HandshakeError> {
    let mut shaking = pin!(shaking);
    let first = poll_fn(|cx| Poll::Ready(shaking.as_mut().poll(cx))).await;
    if let Poll::Ready(shaken) = first {
        return Ok(shaken?);
    }
    let _counted = Shaking::try_begin(n_handshakes, limits.handshakes_max)?;
    let timeout = limits.handshake_timeout;
    tokio::select! {
        biased;
        shaken = shaking => Ok(shaken?),
        () = shutdown.draining() => Err(HandshakeError::Draining),
        () = tokio::time::sleep(timeout) => Err(HandshakeError::Late(timeout)),
    }
}
