//! The answers of a connection: outcomes and refusals as frames, in order where the caller has only
//! the order to go by.

use std::{task::Context, time::Instant};

use postern_core::{
    vsp::ReplyToken,
    wire::{Frame, SendError},
};

use super::ServedConnection;
use crate::{
    calls::CallResult,
    link::StreamLink,
    server::{answer::too_long, in_order::Position, messages},
};

impl<S: StreamLink> ServedConnection<S> {
    pub(super) fn send_refusal(&mut self, now: Instant, frame: Frame, keeps_order: bool) {
        if keeps_order && self.line.connection.begin() {
            let position = self.in_order.admit();
            self.in_order.finish(position, Some(frame));
            self.send_waiting(now);
        } else {
            // A session that takes no refusal is closed or closes itself.
            let _ = self.send(now, frame);
        }
    }

    pub(super) fn finish_once(
        &mut self,
        now: Instant,
        token: &ReplyToken,
        position: Option<Position>,
        outcome: CallResult,
    ) {
        let reply = messages::reply(&self.shared.config.frames, token, outcome);
        let reply = reply.map(|frame| self.fitting(token, frame));
        if let Some(position) = position {
            self.in_order.finish(position, reply);
            self.send_waiting(now);
        } else {
            self.send_or_wait(now, reply);
        }
    }

    /// Whether a reply goes out as a stream to a caller that opened none.
    pub(super) fn may_stream(&self, token: &ReplyToken, outcome: &CallResult) -> bool {
        let is_stream = outcome.as_ref().is_ok_and(|reply| reply.body.is_stream());
        is_stream && token.takes_stream() && self.has_mux()
    }

    pub(super) fn finish_streamed(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        token: ReplyToken,
        outcome: CallResult,
    ) {
        let (streaming, mut context) = self.streaming_or_new();
        if let Err(error) = streaming.adopt(cx, now, &token, outcome, &mut context) {
            self.finish_once(now, &token, None, Err(error));
        }
    }

    /// The reply, or the error in its stead where the peer takes no such frame or there is no room to
    /// hold it.
    fn fitting(&mut self, token: &ReplyToken, frame: Frame) -> Frame {
        if let Err(error) = self.line.connection.check_length(&frame) {
            return token.error_frame(&too_long(&error));
        }
        let beside = self.waiting_bytes() + self.blocked_bytes();
        match self.line.try_hold_output(beside, frame.encoded_len()) {
            Ok(()) => frame,
            Err(error) => token.error_frame(&error.into()),
        }
    }

    /// Bytes of replies that wait outside of the session's queue.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.in_order.waiting().1 + self.backlog.bytes()
    }

    /// Sends a call's reply, if it has one, now or when there is room.
    fn send_or_wait(&mut self, now: Instant, reply: Option<Frame>) {
        match reply {
            Some(frame) if !self.backlog.is_empty() || !self.has_room() => self.backlog.push(frame),
            Some(frame) => self.send_last(now, frame),
            None => self.line.connection.finish(),
        }
    }

    /// Sends the reply that ends a call.
    fn send_last(&mut self, now: Instant, frame: Frame) {
        // A session that takes no reply is closed or closes itself.
        let _ = self.send(now, frame);
        self.line.connection.finish();
    }

    /// Sends replies that waited, as far as there is room.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        while !self.backlog.is_empty()
            && self.has_room()
            && let Some(frame) = self.backlog.pop()
        {
            self.send_last(now, frame);
        }
        while self.in_order.is_ready()
            && self.has_room()
            && let Some(reply) = self.in_order.pop()
        {
            self.send_or_wait(now, reply);
        }
    }

    fn send(&mut self, now: Instant, frame: Frame) -> Result<(), SendError> {
        self.line
            .connection
            .send(now, frame)
            .inspect_err(|error| tracing::debug!(%error, "reply not sent"))
    }
}
