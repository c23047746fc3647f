//! What a server makes of a DATA frame.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    METHOD_DEFAULT, easy,
    pseudo::{self, Pseudo},
    reply::{ReplyToken, Response, read_response},
};
use crate::{
    body::Body,
    call::{Call, Context},
    error::{Blame, Error, Kind},
    event::{self, Outbox},
    headers::Headers,
    peer::Peer,
    text::Text,
    trace::TraceContext,
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
    /// Something happened: a call of the service for events whose outcome nobody waits for.
    Event(Call),
    /// An event that cannot be handed on; `error` is for the log.
    Unfit { error: Error },
    /// A probe of the published client, of no further interest.
    Probe,
}

/// Reads the DATA frames of one session.
#[derive(Debug, Clone)]
pub struct Reader {
    peer: Arc<Peer>,
    outbox: Outbox,
    default_service: Option<Text>,
    is_datagram: bool,
}

/// Longest correlation id of a request over datagrams: each datagram of the reply repeats it.
const CORRELATION_BYTES_MAX: usize = 255;

/// The headers that decide what a frame is, found in one pass; the first of duplicates.
///
/// A value is its first entry. Names and numbers are short and need no more; `text` joins what
/// continues a value.
#[derive(Default)]
struct Fields<'h> {
    kind: Option<&'h [u8]>,
    service: Option<&'h [u8]>,
    method: Option<&'h [u8]>,
    version: Option<&'h [u8]>,
    correlation: Option<&'h [u8]>,
    timeout_ms: Option<&'h [u8]>,
    depth: Option<&'h [u8]>,
    trace: Option<&'h [u8]>,
    priority: Option<&'h [u8]>,
    content_type: Option<&'h [u8]>,
    event_type: Option<&'h [u8]>,
    is_probe: bool,
    /// Some value goes on in an entry with an empty key.
    is_continued: bool,
    /// There are headers that came from another protocol.
    has_pseudo: bool,
}

/// A request without what it holds of its frame, which goes into the call as it is.
struct RequestHead {
    service: Text,
    method: Text,
    version: Option<Text>,
    context: Context,
    token: ReplyToken,
    has_pseudo: bool,
}

impl RequestHead {
    /// A call is large, so it is made where it is given.
    #[inline]
    fn with_message(self, frame: Frame) -> Inbound {
        let mut inbound = Inbound::Request {
            call: Call {
                service: self.service,
                method: self.method,
                version: self.version,
                headers: frame.headers,
                body: Body::One(frame.payload),
                context: self.context,
                http: None,
            },
            token: self.token,
        };
        if self.has_pseudo
            && let Inbound::Request { call, token } = &mut inbound
        {
            let pseudo = Pseudo::read(&call.headers);
            token.set_takes_stream(pseudo.takes_stream);
            pseudo.apply_to_call(call);
        }
        inbound
    }
}

impl Reader {
    /// `default_service` answers for frames that name no service.
    #[must_use]
    pub const fn new(peer: Arc<Peer>, default_service: Option<Text>) -> Self {
        Self {
            peer,
            outbox: Outbox::closed(),
            default_service,
            is_datagram: false,
        }
    }

    /// `outbox` is where events for this peer go.
    #[must_use]
    pub fn with_outbox(self, outbox: Outbox) -> Self {
        Self { outbox, ..self }
    }

    /// Frames that name no service are for `service` from here on.
    pub fn set_default_service(&mut self, service: Option<Text>) {
        self.default_service = service;
    }

    /// For a datagram link, where the sender of a frame may be forged: a request without any header,
    /// which looks like the answer of an easy server, gets an answer that is seen to be one. Two
    /// gateways of which each is told that the other asks thus do not answer each other for ever.
    #[must_use]
    pub fn on_datagrams(self) -> Self {
        Self {
            is_datagram: true,
            ..self
        }
    }

    /// Reads one DATA frame. `now` turns `timeout-ms` into a deadline.
    #[must_use]
    pub fn read(&self, now: Instant, frame: Frame) -> Inbound {
        let fields = Fields::of(&frame.headers);
        if fields.is_probe {
            return Inbound::Probe;
        }
        match fields.kind {
            None | Some(b"request") => match self.read_request(now, &frame, &fields) {
                Ok(head) => head.with_message(frame),
                Err(refused) => *refused,
            },
            Some(b"response" | b"error") => Inbound::Response(read_response(frame)),
            Some(b"event") => match self.read_event(now, &frame, &fields) {
                Ok(call) => Inbound::Event(call),
                Err(error) => Inbound::Unfit { error },
            },
            Some(other) => {
                let other = other.escape_ascii();
                let error = Error::invalid_argument(format!(
                    "header type is {other}, not request, response, error or event"
                ));
                refuse(&self.token(&frame, &fields), error)
            }
        }
    }

    /// # Errors
    /// The refusal.
    #[inline]
    fn read_request(
        &self,
        now: Instant,
        frame: &Frame,
        fields: &Fields<'_>,
    ) -> Result<RequestHead, Box<Inbound>> {
        let token = self.token(frame, fields);
        if token.is_easy()
            && !frame.flags.contains(Flags::COMP)
            && let Err(error) = easy::check(fields.content_type, &frame.payload)
        {
            return Err(Box::new(Inbound::Refused {
                frame: token.easy_frame(easy::invalid_text(&error)),
                error,
            }));
        }
        match self.head(now, frame, fields, &token) {
            Ok((service, method, version, context)) => Ok(RequestHead {
                service,
                method,
                version,
                context,
                token,
                has_pseudo: fields.has_pseudo,
            }),
            Err(error) => Err(Box::new(refuse(&token, error))),
        }
    }

    /// The call that publishes an event: header `event-type` names the topic, the payload is the
    /// event's as it is.
    fn read_event(&self, now: Instant, frame: &Frame, fields: &Fields<'_>) -> Result<Call, Error> {
        check_flags(frame)?;
        if fields.event_type.is_none() {
            return Err(Error::invalid_argument(
                "the event has no header event-type",
            ));
        }
        let token = self.token(frame, fields);
        Ok(Call {
            service: Text::from_static(event::SERVICE),
            method: Text::from_static(event::PUBLISH),
            version: None,
            headers: frame.headers.clone(),
            body: Body::One(frame.payload.clone()),
            context: self.context(now, fields, &token)?,
            http: None,
        })
    }

    /// Service, method, version and context.
    #[inline]
    fn head(
        &self,
        now: Instant,
        frame: &Frame,
        fields: &Fields<'_>,
        token: &ReplyToken,
    ) -> Result<(Text, Text, Option<Text>, Context), Error> {
        check_flags(frame)?;
        self.check_correlation(frame, fields)?;
        let headers = &frame.headers;
        let service = match fields.text(headers, "service", fields.service)? {
            Some(service) => service,
            None => self.default_service.clone().ok_or_else(|| {
                Error::not_found(
                    "the frame names no service and the listener has no default-service",
                )
            })?,
        };
        let method = fields.text(headers, "method", fields.method)?;
        let method = method.unwrap_or(Text::from_static(METHOD_DEFAULT));
        let version = fields.text(headers, "version", fields.version)?;
        Ok((service, method, version, self.context(now, fields, token)?))
    }

    #[inline]
    fn context(
        &self,
        now: Instant,
        fields: &Fields<'_>,
        token: &ReplyToken,
    ) -> Result<Context, Error> {
        Ok(Context {
            deadline: deadline(now, fields.timeout_ms)?,
            // Told by a pseudo header.
            is_deadline_of_head: false,
            peer: Arc::clone(&self.peer),
            outbox: self.outbox.clone(),
            principal: None,
            correlation: token.correlation().clone(),
            trace: fields.trace.and_then(trace),
            priority: token.priority(),
            // A caller that says more than is true is only refused sooner.
            depth: depth(fields.depth)?,
            shadow: None,
        })
    }

    fn token(&self, frame: &Frame, fields: &Fields<'_>) -> ReplyToken {
        let names_vsp = fields.kind.is_some()
            || fields.service.is_some()
            || fields.method.is_some()
            || fields.correlation.is_some();
        if !names_vsp {
            return if self.is_datagram && frame.headers.is_empty() {
                ReplyToken::easy_marked()
            } else {
                ReplyToken::easy()
            };
        }
        // A correlation id that is no text cannot be echoed as text; it is left out.
        let correlation = fields.text(&frame.headers, "correlation-id", fields.correlation);
        let mut correlation = correlation.ok().flatten().unwrap_or_default();
        if self.is_datagram && correlation.len() > CORRELATION_BYTES_MAX {
            let cut = correlation.floor_char_boundary(CORRELATION_BYTES_MAX);
            correlation = correlation.get(..cut).map(Text::from).unwrap_or_default();
        }
        let priority = fields.priority.and_then(number).unwrap_or(PRIORITY_DEFAULT);
        ReplyToken::vsp(correlation, priority)
    }

    fn check_correlation(&self, frame: &Frame, fields: &Fields<'_>) -> Result<(), Error> {
        if !self.is_datagram || !fields.is_continued {
            // One entry of a header holds no more than 255 octets.
            return Ok(());
        }
        let correlation = frame.headers.get(b"correlation-id");
        let length = correlation.map_or(0, |correlation| correlation.len());
        if length > CORRELATION_BYTES_MAX {
            return Err(Error::invalid_argument(format!(
                "header correlation-id has {length} octets, a datagram takes {CORRELATION_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

const PRIORITY_DEFAULT: u8 = priority::of_type(crate::wire::FrameType::Data);

impl<'h> Fields<'h> {
    fn of(headers: &'h Headers) -> Self {
        let mut fields = Self::default();
        for (key, value) in headers.entries() {
            let field = match key {
                b"type" => &mut fields.kind,
                b"service" => &mut fields.service,
                b"method" => &mut fields.method,
                b"version" => &mut fields.version,
                b"correlation-id" => &mut fields.correlation,
                b"timeout-ms" => &mut fields.timeout_ms,
                b"call-depth" => &mut fields.depth,
                b"traceparent" => &mut fields.trace,
                b"priority" => &mut fields.priority,
                b"content-type" => &mut fields.content_type,
                b"event-type" => &mut fields.event_type,
                _ => {
                    fields.is_probe |= key == b"x-auto-probe";
                    fields.is_continued |= key.is_empty();
                    fields.has_pseudo |= pseudo::is_pseudo(key);
                    continue;
                }
            };
            field.get_or_insert(value);
        }
        fields
    }

    /// The value of `key`, whose first entry is `value`, as text that shares the headers' buffer.
    fn text(
        &self,
        headers: &Headers,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<Option<Text>, Error> {
        let Some(value) = value else { return Ok(None) };
        let octets = if self.is_continued {
            headers.get_bytes(key.as_bytes()).unwrap_or_default()
        } else {
            headers.section().slice_ref(value)
        };
        let text = Text::from_utf8(octets).map_err(|error| {
            let value = value.escape_ascii();
            Error::invalid_argument(format!("header {key} is {value}, not UTF-8"))
                .with_source(error)
        })?;
        Ok(Some(text))
    }
}

/// What `traceparent` says; nothing when it is not valid.
fn trace(value: &[u8]) -> Option<TraceContext> {
    TraceContext::parse(str::from_utf8(value).ok()?)
}

/// # Errors
/// A payload that nobody here can read.
fn check_flags(frame: &Frame) -> Result<(), Error> {
    if frame.flags.contains(Flags::COMP) {
        let message = "flag COMP is set: compressed payloads are not supported";
        return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
    }
    Ok(())
}

fn refuse(token: &ReplyToken, error: Error) -> Inbound {
    Inbound::Refused {
        frame: token.error_frame(&error),
        error,
    }
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

fn depth(value: Option<&[u8]>) -> Result<u8, Error> {
    let Some(value) = value else { return Ok(0) };
    number(value).ok_or_else(|| {
        let value = value.escape_ascii();
        let message = format!("header call-depth is {value}, not a number from 0 to 255");
        Error::invalid_argument(message)
    })
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
