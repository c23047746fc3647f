//! The octets of one connection: what was read and not taken, what is written and not sent.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::fault::BrokerFault;
use crate::link::StreamLink;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum LinkEnd {
    /// The broker has closed it.
    Closed,
    Io(io::Error),
    Fault(BrokerFault),
    /// The broker has not taken it in time.
    Late,
    /// This side ends it.
    Leaving,
}

/// A connection whose packets somebody else reads and writes. What was read is bounded by whoever takes
/// packets off it whole.
pub(super) struct BrokerLink {
    stream: Box<dyn StreamLink>,
    input: BytesMut,
    output: BytesMut,
    is_unflushed: bool,
}

impl BrokerLink {
    pub(super) fn new(stream: Box<dyn StreamLink>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_unflushed: false,
        }
    }

    pub(super) const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    pub(super) fn push(&mut self, octets: Bytes) {
        self.output.extend_from_slice(&octets);
    }

    /// Whether more may be written before something has left.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES
    }

    /// Completes when octets have come. Writes what there is meanwhile; may be dropped and called
    /// again.
    pub(super) async fn exchange(&mut self, is_reading: bool) -> Result<(), LinkEnd> {
        std::future::poll_fn(|cx| self.poll_exchange(cx, is_reading)).await
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        is_reading: bool,
    ) -> Poll<Result<(), LinkEnd>> {
        let had_room = self.has_room();
        if let Poll::Ready(Err(error)) = self.poll_write_all(cx) {
            return Poll::Ready(Err(LinkEnd::Io(error)));
        }
        // Whoever waits for room is asked again.
        if !had_room && self.has_room() {
            return Poll::Ready(Ok(()));
        }
        if !is_reading {
            return Poll::Pending;
        }
        self.input.reserve(READ_BYTES);
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(LinkEnd::Closed)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(LinkEnd::Io(error))),
            Poll::Pending => {
                if self.input.is_empty() && self.input.capacity() > READ_BYTES {
                    // Nothing is under way: an idle connection keeps no large buffer.
                    self.input = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.output);
            let n_octets = std::task::ready!(written)?;
            if n_octets == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(n_octets);
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is left and closes this side.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_write_all(cx)).await?;
        self.stream.shutdown().await
    }
}

/// Octets that are read at a time.
const READ_BYTES: usize = 16 * 1024;
/// From so many octets on nothing new is written.
const OUTPUT_BYTES: usize = 64 * 1024;
