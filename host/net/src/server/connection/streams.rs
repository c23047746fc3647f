//! The streaming calls of a connection, as far as they need the rest of it.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use postern_core::wire::{Dialect, Features, Frame};

use super::ServedConnection;
use crate::{
    ByteBudgetError,
    link::StreamLink,
    server::streaming::{Desk, Streaming},
};

impl<S: StreamLink> ServedConnection<S> {
    pub(super) fn has_mux(&self) -> bool {
        match self.line.connection.dialect() {
            Some(Dialect::Full(greeting)) => greeting.features.contains(Features::MUX),
            Some(Dialect::Base) | None => false,
        }
    }

    /// Takes a frame of a stream, or refuses the stream whose frame finds no room.
    pub(super) fn on_stream_frame(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        held: Result<Frame, (Frame, ByteBudgetError)>,
    ) {
        // What came before begins before.
        self.begin_gathered(cx, now);
        self.streaming
            .get_or_insert_with(|| Box::new(Streaming::new()));
        let Some((streaming, mut desk)) = self.streaming() else {
            return;
        };
        match held {
            Ok(frame) => streaming.handle_frame(cx, now, frame, &mut desk),
            Err((frame, error)) => streaming.refuse(cx, now, &frame, error.into(), &mut desk),
        }
    }

    pub(super) fn poll_streams(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        match self.streaming() {
            Some((streaming, mut desk)) => streaming.poll(cx, now, &mut desk),
            None => Poll::Pending,
        }
    }

    /// Bytes that streams have made and not queued.
    pub(super) fn blocked_bytes(&self) -> usize {
        self.streaming
            .as_ref()
            .map_or(0, |streaming| streaming.waiting_bytes())
    }

    pub(super) fn streaming(&mut self) -> Option<(&mut Streaming, Desk<'_>)> {
        let beside = self.waiting_bytes();
        let Self {
            line,
            calls,
            reader,
            streaming,
            ..
        } = self;
        let (connection, room) = line.with_room(beside);
        let desk = Desk {
            connection,
            room,
            calls,
            reader,
        };
        Some((streaming.as_deref_mut()?, desk))
    }
}
