//! The stream of a QUIC connection that carries the session: the first one, which the client opens.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use postern_core::BoxFuture;
use quinn::{ConnectionError, RecvStream, SendStream, StoppedError, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The session's stream. Its octets are those of a session over TCP.
pub(crate) struct QuicLink {
    send: SendStream,
    recv: RecvStream,
    /// Ready when the peer has all that was written.
    delivered: Option<BoxFuture<Result<Option<VarInt>, StoppedError>>>,
}

impl QuicLink {
    pub(super) const fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            delivered: None,
        }
    }
}

impl AsyncRead for QuicLink {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf);
        read.map_err(explained)
    }
}

impl AsyncWrite for QuicLink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = AsyncWrite::poll_write(Pin::new(&mut self.send), cx, octets);
        written.map_err(explained)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has acknowledged all octets: a connection that is closed before forgets
    /// those that are on their way, unlike a socket of the kernel.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.delivered.is_none() {
            this.send.finish()?;
        }
        let delivered = this
            .delivered
            .get_or_insert_with(|| Box::pin(this.send.stopped()));
        ready!(delivered.as_mut().poll(cx))?;
        Poll::Ready(Ok(()))
    }
}

/// The same with the reason for which the connection is lost, which quinn names as a source only.
fn explained(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|inner| inner.source());
    match source.and_then(|source| source.downcast_ref::<ConnectionError>()) {
        Some(lost) => io::Error::new(error.kind(), format!("connection lost: {}", told(lost))),
        None => error,
    }
}

/// Why there is no connection, for whoever looks for the cause at the server.
pub(super) fn told(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            "the server refuses connections: too many are open, or it is closing".into()
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => error.to_string(),
    }
}
