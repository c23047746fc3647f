//! What each frame of a stream does to its call.

use std::str;

use bytes::Bytes;

use super::{CallState, Mux, MuxEvent, correlation};
use crate::{
    error::{Blame, Error, Kind},
    text::Text,
    vsp::reply::{ReplyToken, read_response},
    wire::{Flags, Frame, Role, priority},
};

impl Mux {
    /// Takes a frame that `Mux::takes`. A peer that breaks the rules of a call has that call reset;
    /// the others go on.
    pub fn handle_frame(&mut self, frame: Frame) {
        let stream = frame
            .headers
            .get(b"stream")
            .map(|stream| stream.into_owned());
        let Some(id) = correlation(&frame.headers) else {
            if self.role == Role::Server && stream.as_deref() == Some(b"open") {
                let token = ReplyToken::vsp(Text::default(), priority::of(&frame));
                let error = violation("a stream needs a header correlation-id".to_owned());
                self.push_marked(token.error_frame(&error), "reset");
            }
            return;
        };
        if self.role == Role::Server && stream.as_deref() == Some(b"open") {
            self.on_opening(&id, frame);
            return;
        }
        if !self.calls.contains_key(&id) {
            return;
        }
        if let Err(error) = self.on_credit(&id, &frame) {
            self.abort(&id, error);
            return;
        }
        let done = match stream.as_deref() {
            None => Ok(()),
            Some(b"open") => self.on_accepted(&id, frame),
            Some(b"item") => self.on_item(&id, frame),
            Some(b"end") if self.role == Role::Server => self.on_half_closed(&id, frame),
            Some(b"end" | b"reset") => {
                self.on_closed(id, frame);
                return;
            }
            Some(other) => Err(violation(format!(
                "header stream is {}, not open, item, end or reset",
                other.escape_ascii()
            ))),
        };
        if let Err(error) = done {
            self.abort(&id, error);
        }
    }

    fn on_opening(&mut self, id: &Text, request: Frame) {
        let token = ReplyToken::vsp(id.clone(), priority::of(&request));
        if self.calls.contains_key(id) {
            // Which of the two a later frame means could not be told.
            self.abort(
                id,
                violation(format!("correlation-id {id} is opened twice")),
            );
            return;
        }
        if let Err(error) = self.check_opening(id) {
            self.push_marked(token.error_frame(&error), "reset");
            return;
        }
        let (call, extra) = CallState::new(token, self.config.window_bytes);
        self.calls.insert(id.clone(), call);
        if let Err(error) = self.on_credit(id, &request) {
            if let Some(call) = self.calls.remove(id) {
                self.push_marked(call.token.error_frame(&error), "reset");
            }
            return;
        }
        if extra > 0 {
            self.push_grant(id, extra);
        }
        self.events.push_back(MuxEvent::Opened {
            id: id.clone(),
            request,
        });
    }

    fn on_credit(&mut self, id: &Text, frame: &Frame) -> Result<(), Error> {
        let Some(value) = frame.headers.get(b"credit") else {
            return Ok(());
        };
        let credit = str::from_utf8(&value)
            .ok()
            .and_then(|value| value.parse().ok());
        let Some(credit) = credit else {
            let value = value.escape_ascii();
            return Err(violation(format!(
                "header credit is {value}, not a number of octets"
            )));
        };
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(());
        };
        let Some(freed) = call.spending.earn(credit) else {
            return Err(violation("more than 2^31 - 1 octets of credit".into()));
        };
        if freed {
            self.events.push_back(MuxEvent::Writable { id: id.clone() });
        }
        Ok(())
    }

    fn on_accepted(&mut self, id: &Text, frame: Frame) -> Result<(), Error> {
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(());
        };
        if call.accepted {
            return Err(violation("the reply begins twice".into()));
        }
        call.accepted = true;
        self.events.push_back(MuxEvent::Accepted {
            id: id.clone(),
            headers: frame.headers,
        });
        Ok(())
    }

    fn on_item(&mut self, id: &Text, frame: Frame) -> Result<(), Error> {
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(());
        };
        if frame.flags.contains(Flags::COMP) {
            let message = "flag COMP is set: compressed payloads are not supported";
            return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
        }
        if call.half_closed && self.role == Role::Server {
            return Err(violation("an item after the end".into()));
        }
        if !call.grants.receive(frame.payload.len()) {
            return Err(violation("an item without credit".into()));
        }
        let payload: Bytes = frame.payload;
        self.events.push_back(MuxEvent::Item {
            id: id.clone(),
            payload,
        });
        Ok(())
    }

    fn on_half_closed(&mut self, id: &Text, frame: Frame) -> Result<(), Error> {
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(());
        };
        if call.half_closed {
            return Err(violation("the end comes twice".into()));
        }
        call.half_closed = true;
        self.events.push_back(MuxEvent::Ended {
            id: id.clone(),
            headers: frame.headers,
        });
        Ok(())
    }

    fn on_closed(&mut self, id: Text, frame: Frame) {
        self.calls.remove(&id);
        let is_reset = frame.headers.get(b"stream").as_deref() == Some(b"reset");
        let headers = frame.headers.clone();
        let outcome = match read_response(frame).outcome {
            Ok(_) if is_reset => {
                let message = "the peer reset the call without a reason";
                Err(Error::new(Kind::Cancelled, Blame::Client, message))
            }
            Ok(_) => Ok(headers),
            Err(error) => Err(error),
        };
        self.events.push_back(MuxEvent::Closed { id, outcome });
    }

    /// Ends the call towards the peer and towards whoever serves it here.
    pub(super) fn abort(&mut self, id: &Text, error: Error) {
        self.reset(id, &error);
        self.events.push_back(MuxEvent::Closed {
            id: id.clone(),
            outcome: Err(error),
        });
    }
}

fn violation(message: String) -> Error {
    Error::invalid_argument(message)
}
