//! The stream of a QUIC connection that carries the session: the first one, which the client opens.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use postern_core::BoxFuture;
use quinn::{RecvStream, SendStream, StoppedError, VarInt};
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
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf)
    }
}

impl AsyncWrite for QuicLink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, octets)
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
