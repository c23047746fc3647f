//! What a connection over QUIC has beside the session's stream: calls on streams of their own, and
//! events as datagrams.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::ServedConnection;
use crate::{link::StreamLink, quic::CallStreamEvent};

/// Frames of calls and datagrams of one round.
const EVENTS_MAX: usize = 64;

impl<S: StreamLink> ServedConnection<S> {
    /// Takes what has come beside the session's stream. New calls and events wait while `may_read` is
    /// false; calls that have begun go on. True when there may be more.
    pub(super) fn poll_quic(&mut self, cx: &mut Context<'_>, now: Instant, may_read: bool) -> bool {
        let mut n_events = 0;
        while n_events < EVENTS_MAX {
            let may_begin = may_read && self.may_read();
            // A peer that has not greeted opens no streams for its calls.
            let may_accept = may_begin && self.has_mux();
            let Some(quic) = &mut self.quic else {
                return false;
            };
            if let Poll::Ready(event) = quic.calls.poll(cx, may_accept) {
                self.on_call_stream(cx, now, event);
            } else if may_begin && let Poll::Ready(frame) = quic.datagrams.poll_event(cx) {
                self.on_message(cx, now, frame);
            } else {
                break;
            }
            n_events += 1;
        }
        n_events > 0
    }

    pub(super) fn has_quic_work(&self) -> bool {
        self.quic.as_ref().is_some_and(|quic| quic.calls.has_work())
    }

    fn on_call_stream(&mut self, cx: &mut Context<'_>, now: Instant, event: CallStreamEvent) {
        match event {
            CallStreamEvent::Frame { call, frame } => {
                self.on_message(cx, now, frame);
                let streaming = self.streaming.as_deref();
                let is_known = streaming.is_some_and(|streaming| streaming.has_call(&call));
                if let Some(quic) = &mut self.quic
                    && !is_known
                {
                    quic.calls.dismiss(&call);
                }
            }
            CallStreamEvent::InputEnded(call) => {
                if let Some((streaming, mut context)) = self.streaming() {
                    streaming.on_own_input_end(cx, now, &call, &mut context);
                }
            }
            CallStreamEvent::Broken { call, error } => {
                if let Some((streaming, mut context)) = self.streaming() {
                    streaming.on_own_broken(cx, now, &call, error, &mut context);
                }
            }
            CallStreamEvent::Writable(call) => {
                if let Some(streaming) = &mut self.streaming {
                    streaming.on_own_writable(&call);
                }
            }
            CallStreamEvent::Delivered => self.line.connection.finish(),
        }
    }
}
