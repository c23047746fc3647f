//! What peers of a datagram socket are sent: outcomes of calls, refusals, events.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Error,
    event::Delivery as Pushed,
    vsp::{ReplyToken, event_frame},
    wire::{DeliveryMode, Frame, endpoint::SendRefusal, session},
};

use super::{ReplyTo, ServedSocket, SessionKey};
use crate::{
    ByteBudgetError,
    calls::CallResult,
    link::DatagramLink,
    server::{
        answer::{too_long, unsent, unvalidated},
        held, messages,
        pushes::has_room,
    },
};

impl<L: DatagramLink> ServedSocket<L> {
    pub(super) fn finish(&mut self, now: Instant, to: &ReplyTo, outcome: CallResult) {
        let ReplyTo {
            address,
            session,
            token,
        } = to;
        if self.socket.endpoint.session_id(*address) != *session {
            return;
        }
        match token {
            Some(token) => self.answer(now, *address, token, outcome),
            None => {
                if let Err(error) = outcome {
                    tracing::debug!(%address, %error, "event not published");
                }
            }
        }
        self.socket.endpoint.finish(*address);
    }

    fn answer(
        &mut self,
        now: Instant,
        address: SocketAddr,
        token: &ReplyToken,
        outcome: CallResult,
    ) {
        let reply = messages::reply(&self.shared.config.frames, token, outcome);
        let Some(frame) = reply else { return };
        let frame = self
            .holding(address, frame)
            .unwrap_or_else(|error| token.error_frame(&error.into()));
        let endpoint = &mut self.socket.endpoint;
        match endpoint.send(now, address, frame, DeliveryMode::Reply) {
            Ok(_) => {}
            Err(SendRefusal::Split(error)) => {
                let frame = token.error_frame(&too_long(&error));
                self.send_or_log(now, address, frame);
            }
            Err(SendRefusal::Session(error @ session::SendError::TooLong { .. })) => {
                let frame = token.error_frame(&too_long(&error));
                self.send_or_log(now, address, frame);
            }
            Err(error @ SendRefusal::Unvalidated { .. }) => {
                tracing::debug!(%address, %error, "reply not sent");
                self.send_or_log(now, address, token.error_frame(&unvalidated()));
            }
            Err(error) => tracing::debug!(%address, %error, "reply not sent"),
        }
    }

    /// Sends events that peers have subscribed to, as far as there is room for each.
    pub(super) fn poll_pushes(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            let (endpoint, peers) = (&self.socket.endpoint, &self.peers);
            let (limits, is_draining) = (&self.shared.config.session.limits, self.is_draining);
            let is_open = |(address, session): &SessionKey| {
                let peer = peers.get(address);
                !is_draining && peer.is_some_and(|peer| peer.session == *session && !peer.is_ending)
            };
            let has_room = |(address, _): &SessionKey, bytes| {
                has_room(endpoint.queued(*address), bytes, limits)
            };
            let polled = self.pushes.poll_delivery(cx, is_open, has_room);
            let Poll::Ready((key, pushed)) = polled else {
                return;
            };
            if let Err(error) = self.push(now, key.0, &pushed) {
                tracing::debug!(address = %key.0, %error, "event not sent");
                self.pushes.on_unsent(&key, &pushed);
            }
        }
    }

    /// Acknowledged where the peer acknowledges what it is sent, as replies are.
    fn push(&mut self, now: Instant, address: SocketAddr, pushed: &Pushed) -> Result<(), Error> {
        let frame = event_frame(pushed).map_err(|error| unsent(&error))?;
        let frame = self.holding(address, frame)?;
        let endpoint = &mut self.socket.endpoint;
        let sent = endpoint.send(now, address, frame, DeliveryMode::Reply);
        sent.map(drop).map_err(|error| unsent(&error))
    }

    pub(super) fn retry_pushes(&mut self) -> bool {
        let (endpoint, limits) = (&self.socket.endpoint, &self.shared.config.session.limits);
        self.pushes
            .retry(|(address, _), bytes| has_room(endpoint.queued(*address), bytes, limits))
    }

    /// Counts what a peer is to be sent as held until it has left or is acknowledged, if it is long or
    /// much waits already.
    ///
    /// # Errors
    /// Where there is no room for it.
    fn holding(&self, address: SocketAddr, frame: Frame) -> Result<Frame, ByteBudgetError> {
        let is_counted = || {
            held::is_long(&frame) || self.socket.endpoint.queued(address).1 >= UNCOUNTED_BYTES_MAX
        };
        match self.peers.get(&address) {
            Some(peer) if is_counted() => {
                held::hold(&peer.bytes, frame).map_err(|(_, error)| error)
            }
            Some(_) | None => Ok(frame),
        }
    }

    pub(super) fn send_or_log(&mut self, now: Instant, address: SocketAddr, frame: Frame) {
        if let Err(error) = self
            .socket
            .endpoint
            .send(now, address, frame, DeliveryMode::Reply)
        {
            tracing::debug!(%address, %error, "reply not sent");
        }
    }
}

/// Bytes of short replies and events in the queue of a peer that are not counted.
const UNCOUNTED_BYTES_MAX: usize = 64 * 1024;
