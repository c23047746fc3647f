//! The answers of a connection: outcomes and refusals as frames, in order where the caller has only
//! the order to go by.

use std::time::Instant;

use postern_core::{
    Error,
    vsp::{Inbound, ReplyToken},
    wire::{Frame, SendError},
};

use super::ServedConnection;
use crate::{
    calls::Outcome,
    link::StreamLink,
    server::{
        answer::{answer, too_long},
        frames,
        in_order::Position,
    },
};

impl<S: StreamLink> ServedConnection<S> {
    /// Answers a request that an extension refuses; whatever else it refuses is forgotten.
    pub(super) fn refuse(&mut self, now: Instant, frame: Frame, error: &Error) {
        if let Inbound::Request { token, .. } = self.reader.read(now, frame) {
            self.send_refusal(now, token.error_frame(error), token.keeps_order());
        }
    }

    pub(super) fn send_refusal(&mut self, now: Instant, frame: Frame, keeps_order: bool) {
        if keeps_order && self.line.connection.begin() {
            let position = self.in_order.admit();
            self.in_order.finish(position, Some(frame));
            self.send_in_order(now);
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
        outcome: Outcome,
    ) {
        let reply = answer(token, outcome);
        let reply = frames::outbound(&self.shared.config.frames, reply)
            .unwrap_or_else(|error| Some(token.error_frame(&error)));
        if let Some(position) = position {
            let fitting = reply.map(|frame| match self.line.connection.check_length(&frame) {
                Ok(()) => frame,
                Err(error) => token.error_frame(&too_long(&error)),
            });
            self.in_order.finish(position, fitting);
            self.send_in_order(now);
            return;
        }
        let sent = reply.map_or(Ok(()), |frame| self.send(now, frame));
        if let Err(error @ SendError::TooLong { .. }) = sent {
            // An error's frame is short; if even that is refused, the session is closed.
            let _ = self.send(now, token.error_frame(&too_long(&error)));
        }
        self.line.connection.finish();
    }

    /// Sends the replies whose turn it is, as far as there is room.
    pub(super) fn send_in_order(&mut self, now: Instant) {
        while self.in_order.is_ready()
            && self.has_room()
            && let Some(reply) = self.in_order.pop()
        {
            if let Some(frame) = reply {
                // A session that takes no reply is closed or closes itself.
                let _ = self.send(now, frame);
            }
            self.line.connection.finish();
        }
    }

    pub(super) fn send(&mut self, now: Instant, frame: Frame) -> Result<(), SendError> {
        self.line
            .connection
            .send(now, frame)
            .inspect_err(|error| tracing::debug!(%error, "reply not sent"))
    }
}
