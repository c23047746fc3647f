//! The octets of a VSTP session in binary messages. Where a message ends means nothing: a frame may be
//! spread over several, and a message may hold many.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use postern_core::websocket::{CloseCode, CloseFrame, ClosedBy};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::channel::Channel;
use crate::{Shutdown, link::StreamLink};

/// A stream of octets over a WebSocket.
pub(crate) struct WebSocketLink<S> {
    channel: Channel<S>,
    /// Read, and not taken.
    plain: Bytes,
    /// Of the listener: says with which code a session ends.
    shutdown: Option<Shutdown>,
    is_finished: bool,
}

impl<S: StreamLink> WebSocketLink<S> {
    pub(crate) const fn new(channel: Channel<S>, shutdown: Option<Shutdown>) -> Self {
        Self {
            channel,
            plain: Bytes::new(),
            shutdown,
            is_finished: false,
        }
    }

    /// The next octets; none where the session has closed the link.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.is_finished {
            let piece = self.channel.poll_piece(cx);
            // Pongs leave by the way; what cannot leave is met by whoever writes.
            if self.channel.is_open() {
                let _ = self.channel.poll_send(cx)?;
            }
            if let Some(piece) = ready!(piece)? {
                self.plain = piece.octets;
                continue;
            }
            ready!(self.channel.poll_finish(cx));
            self.is_finished = true;
            match self.channel.closed_by() {
                // The session has shut the link down; this is its end.
                Some(ClosedBy::Us(_)) => {}
                Some(ClosedBy::Peer(close)) => {
                    let close = close.as_ref().map_or_else(String::new, ToString::to_string);
                    let message = format!("the peer has closed the WebSocket: {close}");
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        message,
                    )));
                }
                Some(ClosedBy::Fault(fault)) => {
                    let message = fault.to_string();
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.channel.is_open() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.channel.poll_send(cx))?;
        let n_octets: usize = slices.iter().map(|slice| slice.len()).sum();
        let n_octets = n_octets.min(MESSAGE_BYTES);
        let mut message = BytesMut::with_capacity(n_octets);
        for slice in slices {
            let left = n_octets - message.len();
            message.extend_from_slice(slice.get(..left).unwrap_or(slice));
        }
        if n_octets > 0 {
            self.channel.send(message.freeze());
        }
        // What does not leave at once is asked for by the next write, or flush.
        if let Poll::Ready(sent) = self.channel.poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(n_octets))
    }
}

impl<S: StreamLink> AsyncRead for WebSocketLink<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_plain(cx))?;
        let n_octets = self.plain.len().min(buffer.remaining());
        buffer.put_slice(self.plain.get(..n_octets).unwrap_or_default());
        self.plain.advance(n_octets);
        Poll::Ready(Ok(()))
    }
}

impl<S: StreamLink> AsyncWrite for WebSocketLink<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel.poll_send(cx)
    }

    /// Says Close. The peer's is waited for by whoever reads on.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_draining = self.shutdown.as_ref().is_some_and(Shutdown::is_draining);
        let code = match is_draining {
            true => CloseCode::GOING_AWAY,
            false => CloseCode::NORMAL,
        };
        self.channel.close(&CloseFrame::new(code, ""));
        self.channel.poll_send(cx)
    }
}

/// Octets of one message at most.
const MESSAGE_BYTES: usize = 64 * 1024;
