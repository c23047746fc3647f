//! What each type of frame does to a session.

use std::time::Instant;

use super::{
    CloseReason, Dialect, Features, Link, Role, Session, SessionError, SessionEvent, State,
    greeting,
};
use crate::wire::frame::{Frame, FrameType};

impl Session {
    /// Acknowledges and does what a frame asks for.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub(super) fn accept(&mut self, now: Instant, frame: Frame) -> Result<(), SessionError> {
        if self.config.link == Link::Stream {
            self.acknowledge(&frame);
            if self.is_closed() {
                // The ACK found the queue full.
                return Ok(());
            }
        }
        match frame.kind {
            FrameType::Hello => return self.on_hello(&frame),
            FrameType::Welcome => return self.on_welcome(&frame),
            FrameType::Err => return self.on_err(&frame),
            FrameType::Data => self.on_data(frame),
            FrameType::Ping => self.on_ping(frame),
            FrameType::Pong => self.on_pong(frame),
            FrameType::Ack => {
                self.settle_base();
                self.events.push_back(SessionEvent::Acknowledged(frame));
            }
            FrameType::Bye => self.on_bye(now),
        }
        Ok(())
    }

    fn on_hello(&mut self, frame: &Frame) -> Result<(), SessionError> {
        if self.role == Role::Client {
            let full = matches!(self.dialect, Some(Dialect::Full(_)));
            if full {
                return Err(SessionError::Unexpected {
                    kind: frame.kind,
                    receiver: "client",
                });
            }
            // A peer that sends back whatever comes: it knows no greeting.
            self.settle_base();
            return Ok(());
        }
        // Said again for a HELLO that comes again: on a datagram link the first WELCOME may be lost.
        // What was settled stays, whatever the second HELLO says.
        if matches!(self.dialect, Some(Dialect::Full(_))) {
            self.welcome_again();
            return Ok(());
        }
        let greeting = greeting::read_hello(&self.config, self.id, frame)?;
        // The published client's HELLO is empty. It is answered, but the client knows no more than
        // the base dialect and would not answer a PING.
        if frame.headers.is_empty() {
            self.settle_base();
            let welcome = greeting::welcome(&self.config, self.id, Features::NONE);
            self.push_bounded(welcome);
        } else {
            self.settle(Dialect::Full(greeting));
            self.welcome_again();
        }
        Ok(())
    }

    fn on_welcome(&mut self, frame: &Frame) -> Result<(), SessionError> {
        if self.role == Role::Server || !self.config.hello {
            let receiver = if self.role == Role::Server {
                "server"
            } else {
                "peer without hello"
            };
            return Err(SessionError::Unexpected {
                kind: frame.kind,
                receiver,
            });
        }
        let greeting = greeting::read_welcome(&self.config, frame)?;
        let is_new = match &self.dialect {
            // The server was restarted, as far as this end has asked.
            Some(Dialect::Full(known)) => self.awaits_welcome && known.session != greeting.session,
            Some(Dialect::Base) | None => true,
        };
        (self.awaits_welcome, self.hello_again) = (false, None);
        if is_new {
            self.id = greeting.session;
            self.settle(Dialect::Full(greeting));
        }
        Ok(())
    }

    fn on_err(&mut self, frame: &Frame) -> Result<(), SessionError> {
        if self.config.link == Link::Datagram {
            // Nobody answers a datagram with ERR, and anyone can forge one.
            return Err(SessionError::Unexpected {
                kind: frame.kind,
                receiver: "datagram link",
            });
        }
        let (code, reason) = greeting::read_err(frame);
        self.queue.clear();
        self.end(CloseReason::PeerError { code, reason });
        Ok(())
    }

    fn on_data(&mut self, frame: Frame) {
        // The published easy server answers HELLO with the text "Invalid data: ...". A reply cannot
        // stand before the first request, so a bare DATA during the greeting is that answer.
        let answers_hello = matches!(self.state, State::Greeting) && frame.headers.is_empty();
        self.settle_base();
        if !answers_hello {
            self.events.push_back(SessionEvent::Message(frame));
        }
    }

    fn on_ping(&mut self, frame: Frame) {
        if frame.headers.get(b"x-auto-probe").is_some() {
            return;
        }
        self.settle_base();
        self.push_bounded(Frame {
            payload: frame.payload,
            ..Frame::new(FrameType::Pong)
        });
    }

    fn on_pong(&mut self, frame: Frame) {
        self.settle_base();
        if !frame.payload.is_empty() {
            self.events.push_back(SessionEvent::Pong(frame.payload));
        }
    }

    fn on_bye(&mut self, now: Instant) {
        self.settle_base();
        if !self.bye_received {
            self.bye_received = true;
            self.events.push_back(SessionEvent::PeerDraining);
        }
        if matches!(self.state, State::Open) {
            self.drain(now, CloseReason::PeerBye);
        }
    }

    fn acknowledge(&mut self, frame: &Frame) {
        if let Some(ack) = greeting::ack_of(frame) {
            self.push_bounded(ack);
        }
    }
}
