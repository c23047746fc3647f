//! What a server makes of a DATA frame.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    METHOD_DEFAULT, easy,
    reply::{ReplyToken, Response, read_response},
};
use crate::{
    call::{Body, Call, Context, Peer},
    error::{Blame, Error, Kind},
    headers::Headers,
    text::Text,
    wire::{Flags, Frame, priority},
};

/// What a DATA frame means.
#[derive(Debug)]
pub enum Inbound {
    /// A call to serve; its outcome goes to `token.answer`.
    Request { call: Call, token: ReplyToken },
    /// No call: `frame` says why and is to be sent, `error` is for the log.
    Refused { frame: Frame, error: Error },
    /// The outcome of a call of this end.
    Response(Response),
    /// Something happened; nobody waits for an answer.
    Event(Event),
    /// A probe of the published client, of no further interest.
    Probe,
}

/// A message that is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Header `event-type`; empty when there is none.
    pub event_type: Text,
    pub headers: Headers,
    pub payload: Bytes,
}

/// Reads the DATA frames of one session.
#[derive(Debug, Clone)]
pub struct Reader {
    peer: Arc<Peer>,
    default_service: Option<Text>,
}

/// The headers that decide what a frame is, found in one pass; the first of duplicates.
#[derive(Default)]
struct Fields<'h> {
    kind: Option<Cow<'h, [u8]>>,
    service: Option<Cow<'h, [u8]>>,
    method: Option<Cow<'h, [u8]>>,
    version: Option<Cow<'h, [u8]>>,
    correlation: Option<Cow<'h, [u8]>>,
    timeout_ms: Option<Cow<'h, [u8]>>,
    trace: Option<Cow<'h, [u8]>>,
    priority: Option<Cow<'h, [u8]>>,
    content_type: Option<Cow<'h, [u8]>>,
    event_type: Option<Cow<'h, [u8]>>,
    probe: Option<Cow<'h, [u8]>>,
}

impl Reader {
    /// `default_service` answers for frames that name no service.
    #[must_use]
    pub const fn new(peer: Arc<Peer>, default_service: Option<Text>) -> Self {
        Self {
            peer,
            default_service,
        }
    }

    /// Reads one DATA frame. `now` turns `timeout-ms` into a deadline.
    #[must_use]
    pub fn read(&self, now: Instant, frame: Frame) -> Inbound {
        let fields = Fields::of(&frame.headers);
        if fields.probe.is_some() {
            return Inbound::Probe;
        }
        match fields.kind.as_deref() {
            None | Some(b"request") => self.read_request(now, &frame, &fields),
            Some(b"response" | b"error") => Inbound::Response(read_response(frame)),
            Some(b"event") => {
                let event_type = text(&frame.headers, fields.event_type.as_ref());
                let event_type = event_type.ok().flatten().unwrap_or_default();
                let Frame {
                    headers, payload, ..
                } = frame;
                Inbound::Event(Event {
                    event_type,
                    headers,
                    payload,
                })
            }
            Some(other) => {
                let other = other.escape_ascii();
                let error = Error::invalid_argument(format!(
                    "header type is {other}, not request, response, error or event"
                ));
                refuse(&self.token(&frame, &fields), error)
            }
        }
    }

    fn read_request(&self, now: Instant, frame: &Frame, fields: &Fields<'_>) -> Inbound {
        let token = self.token(frame, fields);
        if frame.flags.contains(Flags::COMP) {
            let message = "flag COMP is set: compressed payloads are not supported";
            return refuse(
                &token,
                Error::new(Kind::Unimplemented, Blame::Client, message),
            );
        }
        if token.is_easy()
            && let Err(error) = easy::check(fields.content_type.as_deref(), &frame.payload)
        {
            return Inbound::Refused {
                frame: easy::invalid_frame(&error),
                error,
            };
        }
        match self.call(now, frame, fields, &token) {
            Ok(call) => Inbound::Request { call, token },
            Err(error) => refuse(&token, error),
        }
    }

    fn call(
        &self,
        now: Instant,
        frame: &Frame,
        fields: &Fields<'_>,
        token: &ReplyToken,
    ) -> Result<Call, Error> {
        let headers = &frame.headers;
        let service = match text(headers, fields.service.as_ref())? {
            Some(service) => service,
            None => self.default_service.clone().ok_or_else(|| {
                Error::not_found(
                    "the frame names no service and the listener has no default-service",
                )
            })?,
        };
        let method = text(headers, fields.method.as_ref())?;
        let context = Context {
            deadline: deadline(now, fields.timeout_ms.as_deref())?,
            peer: Arc::clone(&self.peer),
            principal: None,
            correlation: token.correlation().clone(),
            trace: text(headers, fields.trace.as_ref())?,
            priority: token.priority(),
            depth: 0,
        };
        Ok(Call {
            service,
            method: method.unwrap_or(Text::from_static(METHOD_DEFAULT)),
            version: text(headers, fields.version.as_ref())?,
            headers: headers.clone(),
            body: Body::One(frame.payload.clone()),
            context,
        })
    }

    fn token(&self, frame: &Frame, fields: &Fields<'_>) -> ReplyToken {
        let names_vsp = fields.kind.is_some()
            || fields.service.is_some()
            || fields.method.is_some()
            || fields.correlation.is_some();
        if !names_vsp {
            return ReplyToken::easy();
        }
        // A correlation id that is no text cannot be echoed as text; it is left out.
        let correlation = text(&frame.headers, fields.correlation.as_ref());
        let priority = fields
            .priority
            .as_deref()
            .and_then(number)
            .unwrap_or(PRIORITY_DEFAULT);
        ReplyToken::vsp(correlation.ok().flatten().unwrap_or_default(), priority)
    }
}

const PRIORITY_DEFAULT: u8 = priority::of_type(crate::wire::FrameType::Data);

impl<'h> Fields<'h> {
    fn of(headers: &'h Headers) -> Self {
        let mut fields = Self::default();
        for (key, value) in headers.iter() {
            let field = match key {
                b"type" => &mut fields.kind,
                b"service" => &mut fields.service,
                b"method" => &mut fields.method,
                b"version" => &mut fields.version,
                b"correlation-id" => &mut fields.correlation,
                b"timeout-ms" => &mut fields.timeout_ms,
                b"traceparent" => &mut fields.trace,
                b"priority" => &mut fields.priority,
                b"content-type" => &mut fields.content_type,
                b"event-type" => &mut fields.event_type,
                b"x-auto-probe" => &mut fields.probe,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }
}

fn refuse(token: &ReplyToken, error: Error) -> Inbound {
    Inbound::Refused {
        frame: token.error_frame(&error),
        error,
    }
}

/// The value as text that shares the headers' buffer.
fn text(headers: &Headers, value: Option<&Cow<'_, [u8]>>) -> Result<Option<Text>, Error> {
    let Some(value) = value else { return Ok(None) };
    let octets = match value {
        Cow::Borrowed(value) => headers.section().slice_ref(value),
        Cow::Owned(value) => Bytes::copy_from_slice(value),
    };
    let text = Text::from_utf8(octets).map_err(|error| {
        let value = value.escape_ascii();
        Error::invalid_argument(format!("header value {value} is not UTF-8")).with_source(error)
    })?;
    Ok(Some(text))
}

fn deadline(now: Instant, timeout_ms: Option<&[u8]>) -> Result<Option<Instant>, Error> {
    let Some(value) = timeout_ms else {
        return Ok(None);
    };
    let Some(timeout_ms) = number(value) else {
        let value = value.escape_ascii();
        let message = format!("header timeout-ms is {value}, not a number of milliseconds");
        return Err(Error::invalid_argument(message));
    };
    // A deadline beyond what the clock can tell is none.
    Ok(now.checked_add(Duration::from_millis(timeout_ms)))
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
