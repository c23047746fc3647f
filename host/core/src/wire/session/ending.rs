//! The ways in which a session ends, and the last word of each.
//!
//! | reason | last word |
//! |---|---|
//! | closed by this end, idle, drain timeout | BYE |
//! | the peer said BYE or ended its side | BYE in the full dialect, none in the base dialect |
//! | violation, slow reader, no room | ERR on stream links, none on datagram links |
//! | the peer said ERR | none |

use std::time::Instant;

use super::{CloseReason, Dialect, Link, Session, SessionEvent, State, Timer, greeting};
use crate::wire::frame::{Frame, FrameType};

impl Session {
    pub(super) fn on_idle(&mut self, now: Instant) {
        let Some(after) = self.config.idle_timeout else {
            return;
        };
        if self.in_flight > 0 || !self.queue.is_empty() {
            // A call may take longer than the peer keeps talking; its own deadline ends it. What waits
            // is being read, or the driver finds that it is not.
            self.timers.set(Timer::Idle, Some(now + after));
            return;
        }
        self.queue.clear();
        self.say_bye();
        self.end(CloseReason::Idle { after });
    }

    pub(super) fn on_drain_timeout(&mut self) {
        let reason = CloseReason::DrainTimeout {
            in_flight: self.in_flight,
            after: self.config.drain_timeout,
        };
        self.queue.clear();
        self.say_bye();
        self.end(reason);
    }

    pub(super) fn say_bye(&mut self) {
        if !self.bye_sent {
            self.bye_sent = true;
            self.queue.push(Frame::new(FrameType::Bye));
        }
    }

    pub(super) fn drain(&mut self, now: Instant, reason: CloseReason) {
        self.state = State::Draining(reason);
        self.timers
            .set(Timer::Drain, Some(now + self.config.drain_timeout));
    }

    pub(super) fn end_if_drained(&mut self) {
        let State::Draining(reason) = &self.state else {
            return;
        };
        let full = matches!(self.dialect, Some(Dialect::Full(_)));
        // Requests that crossed our BYE are still on their way until the peer's arrives.
        let awaits_bye = full && self.config.link == Link::Stream && !self.bye_received;
        let busy = self.in_flight > 0 || !self.queue.is_empty() || !self.events.is_empty();
        if busy || awaits_bye {
            return;
        }
        let reason = reason.clone();
        // A base peer that has said BYE does not listen any more.
        if full || !matches!(reason, CloseReason::PeerBye | CloseReason::LinkEnded) {
            self.say_bye();
        }
        self.end(reason);
    }

    pub(super) fn end_with_err(&mut self, reason: CloseReason) {
        self.queue.clear();
        if self.config.link == Link::Stream {
            self.queue
                .push(greeting::err(reason.name(), &reason.to_string()));
        }
        self.end(reason);
    }

    pub(super) fn end(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.hello = None;
        self.timers.stop_all();
        self.events.push_back(SessionEvent::Closed(reason));
    }
}
