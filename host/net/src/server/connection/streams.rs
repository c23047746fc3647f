//! The streaming calls of a connection, as far as they need the rest of it.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use postern_core::wire::{Dialect, Features, Frame};

use super::ServedConnection;
use crate::{
    link::StreamLink,
    server::streaming::{StreamContext, Streaming},
};

impl<S: StreamLink> ServedConnection<S> {
    pub(super) fn has_mux(&self) -> bool {
        match self.line.connection.dialect() {
            Some(Dialect::Full(greeting)) => greeting.features.contains(Features::MUX),
            Some(Dialect::Base) | None => false,
        }
    }

    /// Takes a frame of a stream.
    pub(super) fn on_stream_frame(&mut self, cx: &mut Context<'_>, now: Instant, frame: Frame) {
        // What came before begins before.
        self.begin_gathered(cx, now);
        let (streaming, mut context) = self.streaming_or_new();
        streaming.handle_frame(cx, now, frame, &mut context);
    }

    pub(super) fn poll_streams(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        match self.streaming() {
            Some((streaming, mut context)) => streaming.poll(cx, now, &mut context),
            None => Poll::Pending,
        }
    }

    /// Bytes that streams have made and that wait outside of the session's queue.
    pub(super) fn blocked_bytes(&self) -> usize {
        self.streaming
            .as_ref()
            .map_or(0, |streaming| streaming.waiting_bytes())
            + self.own_queued_bytes()
    }

    /// Of these, what waits on streams of their own.
    fn own_queued_bytes(&self) -> usize {
        let quic = self.quic.as_ref();
        quic.map_or(0, |quic| quic.calls.queued_bytes())
    }

    /// The streams, if there are any yet.
    pub(super) fn streaming(&mut self) -> Option<(&mut Streaming, StreamContext<'_>)> {
        self.streaming.is_some().then(|| self.streaming_or_new())
    }

    /// The streams, which begin where there are none.
    pub(super) fn streaming_or_new(&mut self) -> (&mut Streaming, StreamContext<'_>) {
        let beside = self.waiting_bytes() + self.own_queued_bytes();
        let Self {
            line,
            calls,
            reader,
            streaming,
            bytes,
            quic,
            ..
        } = self;
        let streaming = streaming.get_or_insert_with(|| Box::new(Streaming::new(bytes)));
        let (connection, room) = line.with_room(beside);
        let context = StreamContext {
            connection,
            room,
            calls,
            reader,
            bytes,
            call_streams: quic.as_mut().map(|quic| &mut quic.calls),
        };
        (streaming, context)
    }
}
