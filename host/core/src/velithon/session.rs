//! One connection: what comes in becomes events. Both ends of a connection may send requests, so there is one
//! machine for both.
//!
//! ```text
//! octets ─▶ frame ─▶ message ─┬─▶ request ─▶ a handler
//!             │         │     ├─▶ request of `health` ─▶ answered here
//!             │         │     └─▶ response ─▶ whoever waits
//!             │         └ unreadable ─▶ dropped and counted, without an answer
//!             └ too long ─▶ its header alone: answered with an error, or the call failed
//! ```

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{
    call_id::CallId,
    failure::failure_body,
    frame::{VelithonFrame, VelithonFrames},
    health::{HEALTH, health_body},
    message::{self, VelithonFault, VelithonHeader, VelithonMessage},
};
use crate::error::{Blame, Error, Kind};

/// The machine.
#[derive(Debug)]
pub struct VelithonSession {
    frames: VelithonFrames,
    frame_bytes_max: usize,
    /// How a message that is too long names the bound.
    bound: &'static str,
    frame_timeout: Duration,
    /// When the frame began that has not arrived whole.
    begun: Option<Instant>,
    is_draining: bool,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum VelithonEvent {
    Request {
        header: VelithonHeader,
        /// JSON of any type.
        body: Bytes,
    },
    /// To be sent: nobody has to be asked.
    Answer(Bytes),
    Response {
        /// `None` where it is none that this end may have made.
        id: Option<CallId>,
        body: Result<Bytes, OversizeResponse>,
    },
    Dropped(VelithonFault),
}

/// A response of which nothing but its header was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OversizeResponse {
    pub length: u32,
    pub limit: usize,
}

impl VelithonSession {
    /// A frame is to arrive within `frame_timeout`. `bound` is the key of `frame_bytes_max`.
    #[must_use]
    pub const fn new(frame_bytes_max: usize, bound: &'static str, frame_timeout: Duration) -> Self {
        Self {
            frames: VelithonFrames::new(frame_bytes_max),
            frame_bytes_max,
            bound,
            frame_timeout,
            begun: None,
            is_draining: false,
        }
    }

    /// Puts other bounds in force, from the next frame on.
    pub const fn set_bounds(&mut self, frame_bytes_max: usize, frame_timeout: Duration) {
        self.frame_bytes_max = frame_bytes_max;
        self.frames.set_frame_bytes_max(frame_bytes_max);
        self.frame_timeout = frame_timeout;
    }

    /// Takes no more requests: each is answered so, `health` among them.
    pub const fn drain(&mut self) {
        self.is_draining = true;
    }

    /// What the front of `input` is; `None` where more has to come. `unix_time` is since 1970.
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        unix_time: Duration,
        input: &mut BytesMut,
    ) -> Option<VelithonEvent> {
        let frame = self.frames.decode(input);
        let is_within = self.frames.is_within(input);
        let began = self.begun.filter(|_| frame.is_none()).unwrap_or(now);
        self.begun = is_within.then_some(began);
        Some(match frame? {
            VelithonFrame::Message(frame) => match message::read(&frame) {
                Ok(message) => self.on_message(message, unix_time),
                Err(fault) => VelithonEvent::Dropped(fault),
            },
            VelithonFrame::TooLong { length, begin } => {
                let limit = self.frame_bytes_max;
                let message = format!(
                    "a message of {length} octets exceeds the limit of {limit} ({bound})",
                    bound = self.bound
                );
                let error = Error::new(Kind::ResourceExhausted, Blame::Client, message);
                on_refused(length, limit, &begin, &error)
            }
        })
    }

    /// Gives up the frame that is coming, for which there is no room, as `error` says. `None` between frames.
    pub fn refuse(&mut self, input: &mut BytesMut, error: &Error) -> Option<VelithonEvent> {
        match self.frames.give_up(input)? {
            VelithonFrame::TooLong { length, begin } => {
                Some(on_refused(length, self.frame_bytes_max, &begin, error))
            }
            VelithonFrame::Message(_) => None,
        }
    }

    /// When the frame is late that is coming.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + self.frame_timeout)
    }

    /// The time that a frame may take.
    #[must_use]
    pub const fn frame_timeout(&self) -> Duration {
        self.frame_timeout
    }

    fn on_message(&self, message: VelithonMessage, unix_time: Duration) -> VelithonEvent {
        let VelithonMessage {
            header,
            is_response,
            body,
        } = message;
        if is_response {
            return VelithonEvent::Response {
                id: header.call_id(),
                body: Ok(body),
            };
        }
        if self.is_draining {
            let error = Error::unavailable(Blame::Gateway, "the gateway is closing");
            return VelithonEvent::Answer(failure(&header, &error));
        }
        if header.endpoint.as_ref() == HEALTH_JSON
            || header.endpoint_name().as_deref() == Some(HEALTH)
        {
            let body = health_body(unix_time);
            return VelithonEvent::Answer(message::write(&header, true, &body));
        }
        VelithonEvent::Request { header, body }
    }
}

/// What becomes of a message of which there is only the `begin`.
fn on_refused(length: u32, limit: usize, begin: &Bytes, error: &Error) -> VelithonEvent {
    match message::read_begin(begin) {
        None => VelithonEvent::Dropped(VelithonFault::TooLong { length, limit }),
        Some((header, true)) => VelithonEvent::Response {
            id: header.call_id(),
            body: Err(OversizeResponse { length, limit }),
        },
        Some((header, false)) => VelithonEvent::Answer(failure(&header, error)),
    }
}

/// A frame that tells `error` to whoever sent `header`.
fn failure(header: &VelithonHeader, error: &Error) -> Bytes {
    let endpoint = header.endpoint_name().unwrap_or_default();
    message::write(header, true, &failure_body(error, &endpoint))
}

const HEALTH_JSON: &[u8] = b"\"health\"";
