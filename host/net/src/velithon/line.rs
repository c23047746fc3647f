//! The octets of one connection: what has come and is not read yet, and what waits for the peer. Both count
//! as held.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use postern_core::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{ByteBudgetError, ConnectionBytes, Counters, HeldBytes, link::StreamLink};

pub(super) struct Line<S> {
    stream: S,
    input: BytesMut,
    /// What `input` takes beyond `HELD_BYTES_MIN`.
    held: Option<HeldBytes>,
    queue: VecDeque<Bytes>,
    n_queued: usize,
    /// Since when the peer takes nothing of what is queued.
    stalled_since: Option<Instant>,
    has_ended: bool,
    bytes: ConnectionBytes,
    counters: Arc<Counters>,
}

impl<S: StreamLink> Line<S> {
    pub(super) fn new(stream: S, bytes: ConnectionBytes, counters: Arc<Counters>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            held: None,
            queue: VecDeque::new(),
            n_queued: 0,
            stalled_since: None,
            has_ended: false,
            bytes,
            counters,
        }
    }

    /// What has come and is not taken yet.
    pub(super) const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The peer sends nothing more.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Octets that wait for the peer.
    pub(super) const fn n_queued(&self) -> usize {
        self.n_queued
    }

    pub(super) const fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Reads once. Whether anything came.
    ///
    /// # Errors
    /// What ends the connection.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.has_ended {
            return Ok(false);
        }
        if self.input.capacity() - self.input.len() < READ_BYTES {
            // Of a long message twice as much each time, as it comes.
            self.input
                .reserve(self.input.len().clamp(READ_BYTES, READ_BYTES_MAX));
        }
        let mut reading = pin!(self.stream.read_buf(&mut self.input));
        let n_octets = match reading.as_mut().poll(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read?,
        };
        self.counters.bytes_in.add(n_octets as u64);
        self.has_ended = n_octets == 0;
        Ok(true)
    }

    /// Counts what has come as held.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(super) fn hold_input(&mut self) -> Result<(), ByteBudgetError> {
        let n_octets = self.input.len();
        if n_octets < HELD_BYTES_MIN {
            self.held = None;
            return Ok(());
        }
        match &mut self.held {
            Some(held) if held.len() >= n_octets => held.shrink_to(n_octets),
            Some(held) => held.grow(n_octets - held.len())?,
            None => self.held = Some(self.bytes.hold(n_octets)?),
        }
        Ok(())
    }

    /// Counts a part of a message as held until nobody has it any more.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(super) fn hold(&self, part: Bytes) -> Result<Bytes, Error> {
        if part.len() < HELD_BYTES_MIN {
            return Ok(part);
        }
        Ok(self.bytes.hold(part.len())?.attach_to(part))
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.counters.frames_out.add(1);
        self.n_queued += frame.len();
        self.queue.push_back(frame);
    }

    /// Writes what is queued, as far as the peer takes it. Whether it took any.
    ///
    /// # Errors
    /// What ends the connection.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut has_written = false;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut n_slices = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(frame);
                n_slices += 1;
            }
            let slices = slices.get(..n_slices).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Pending => {
                    self.stalled_since.get_or_insert(now);
                    return Ok(has_written);
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.on_written(written?),
            }
            has_written = true;
            self.stalled_since = None;
        }
        self.stalled_since = None;
        // TLS has octets of its own.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| has_written),
            Poll::Pending => Ok(has_written),
        }
    }

    fn on_written(&mut self, mut n_octets: usize) {
        self.counters.bytes_out.add(n_octets as u64);
        self.n_queued = self.n_queued.saturating_sub(n_octets);
        while let Some(first) = self.queue.front_mut() {
            let n_of_first = n_octets.min(first.len());
            first.advance(n_of_first);
            n_octets -= n_of_first;
            if !first.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// Says that nothing more comes from here.
    pub(super) async fn close(&mut self) {
        // A peer that is gone misses nothing.
        let _ = self.stream.shutdown().await;
    }
}

/// What is read at a time, at the least and at the most.
const READ_BYTES: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Shorter messages are not counted.
const HELD_BYTES_MIN: usize = 4096;
/// Frames of one write.
const SLICES_MAX: usize = 32;
