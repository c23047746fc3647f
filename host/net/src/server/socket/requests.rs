//! What peers of a datagram socket ask for: their messages become calls, within the bounds.

use std::{net::SocketAddr, task::Context, time::Instant};

use postern_core::{
    Call, Origin,
    vsp::{Inbound, ReplyToken},
    wire::Frame,
};

use super::{CALLS_FACTOR, ReplyTo, ServedSocket};
use crate::{
    calls::Begun,
    link::DatagramLink,
    server::{
        answer::busy,
        frames::{self, Seen},
        messages,
    },
};

impl<L: DatagramLink> ServedSocket<L> {
    pub(super) fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        address: SocketAddr,
        frame: Frame,
    ) {
        let seen = frames::inbound(&self.shared.config.frames, frame);
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let inbound = match seen {
            Seen::Pass(frame) => messages::read(&peer.reader, &peer.bytes, now, frame),
            Seen::Dropped => return,
            Seen::Refused(frame, error) => messages::refuse(&peer.reader, now, frame, error),
        };
        let (call, token) = match inbound {
            Inbound::Request { call, token } => (call, Some(token)),
            Inbound::Event(call) => (call, None),
            other @ (Inbound::Refused { .. }
            | Inbound::Response(_)
            | Inbound::Unfit { .. }
            | Inbound::Probe) => {
                if let Some(refusal) = messages::refusal(other, &Origin::Ip(address)) {
                    self.send_or_log(now, address, refusal.frame);
                }
                return;
            }
        };
        match self.limit_reached(cx, now, address) {
            None => self.gather(address, call, token),
            Some(limit) => self.refuse_over(limit, now, address, token),
        }
    }

    fn refuse_over(
        &mut self,
        limit: usize,
        now: Instant,
        address: SocketAddr,
        token: Option<ReplyToken>,
    ) {
        let error = busy(limit);
        match token {
            Some(token) => self.send_or_log(now, address, token.error_frame(&error)),
            None => tracing::debug!(%address, %error, "event not handed on"),
        }
    }

    /// The limit of calls, when this peer or all together are at it.
    fn limit_reached(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        address: SocketAddr,
    ) -> Option<usize> {
        if self.limit(address).is_some() && self.calls.n_gathered() > 0 {
            // Most of what is gathered is answered as soon as it is begun.
            self.begin_gathered(cx, now);
        }
        self.limit(address)
    }

    /// The limit of calls, when this peer or all together would be at it if all that is gathered
    /// were in flight.
    fn limit(&self, address: SocketAddr) -> Option<usize> {
        let limit = self.shared.config.calls_in_flight_max;
        let limit_all = limit.saturating_mul(CALLS_FACTOR);
        let n_gathered = self.calls.n_gathered();
        let of_peer = self.peers.get(&address).map_or(0, |peer| peer.tasks.len());
        let is_full = of_peer + n_gathered >= limit || self.calls.len() + n_gathered >= limit_all;
        is_full.then_some(limit)
    }

    fn gather(&mut self, address: SocketAddr, call: Call, token: Option<ReplyToken>) {
        if !self.socket.endpoint.begin(address) {
            tracing::debug!(%address, "request after the session began to close");
            return;
        }
        let session = self.socket.endpoint.session_id(address);
        let to = ReplyTo {
            address,
            session,
            token,
        };
        self.calls.gather(to, call);
    }

    pub(super) fn begin_gathered(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some(ReplyTo { address, .. }) = self.calls.next_key() {
            let address = *address;
            match self.calls.begin_next(cx) {
                Some(Begun::Done(to, outcome)) => self.finish(now, &to, outcome),
                Some(Begun::Task(task)) => {
                    if let Some(peer) = self.peers.get_mut(&address) {
                        peer.tasks.insert(task.id(), task);
                    }
                }
                None => return,
            }
        }
    }
}
