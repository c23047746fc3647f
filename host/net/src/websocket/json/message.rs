//! Messages of a session, read and written. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use postern_core::{
    Error, Headers, Text,
    event::Delivery,
    json::{self, push_string},
};

use super::MessageHead;
use crate::json_payload::{self, PayloadMembers};

/// What a client says.
#[derive(Debug)]
pub(super) enum ClientMessage {
    /// A call; with its one message, or with a stream of them to follow.
    Call(MessageHead, CallBody),
    Item(Text, Bytes),
    End(Text),
    Reset(Text),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallBody {
    One(Option<Bytes>),
    Stream,
}

/// Why a message is not taken, and the id that it bears, if that can be read.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) id: Text,
    pub(super) error: Box<Error>,
}

/// The members of a message, as they are written.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    service: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
    payload: PayloadMembers<'a>,
    unknown: Option<&'a [u8]>,
}

/// Reads a message. `body_bytes_max` bounds its payload.
pub(super) fn read(message: &Bytes, body_bytes_max: usize) -> Result<ClientMessage, Unfit> {
    let mut members = Members::default();
    let unfit = |error| Unfit {
        id: Text::default(),
        error: Box::new(error),
    };
    if !message.trim_ascii_start().starts_with(b"{") {
        return Err(unfit(Error::invalid_argument(
            "the message is no JSON object",
        )));
    }
    let visited = json::visit_members(message, &mut |key, value| members.take(key, value));
    visited.map_err(|error| {
        let message = format!("the message is no JSON object: {error}");
        unfit(Error::invalid_argument(message))
    })?;
    let id = members.text("id", members.id).map_err(unfit)?;
    let id = id.unwrap_or_default();
    let read = members.read(id.clone(), message, body_bytes_max);
    read.map_err(|error| Unfit {
        id,
        error: Box::new(error),
    })
}

impl<'a> Members<'a> {
    fn take(&mut self, key: &'a [u8], value: &'a [u8]) {
        let member = match key {
            b"\"type\"" => &mut self.kind,
            b"\"id\"" => &mut self.id,
            b"\"service\"" => &mut self.service,
            b"\"method\"" => &mut self.method,
            b"\"headers\"" => &mut self.headers,
            b"\"payload\"" => &mut self.payload.json,
            b"\"payload-base64\"" => &mut self.payload.base64,
            _ => {
                self.unknown.get_or_insert(key);
                return;
            }
        };
        member.get_or_insert(value);
    }

    fn read(
        &self,
        id: Text,
        message: &Bytes,
        body_bytes_max: usize,
    ) -> Result<ClientMessage, Error> {
        if let Some(key) = self.unknown {
            let key = String::from_utf8_lossy(key.get(..KEY_BYTES_MAX).unwrap_or(key));
            return Err(Error::invalid_argument(format!(
                "member {key} is not known"
            )));
        }
        if id.len() > ID_BYTES_MAX {
            let length = id.len();
            let message = format!("id of {length} octets exceeds the limit of {ID_BYTES_MAX}");
            return Err(Error::invalid_argument(message));
        }
        let kind = self.text("type", self.kind)?;
        let kind = kind.as_ref().map_or("request", |kind| kind.as_str());
        if id.is_empty() && kind != "request" {
            let message = format!("a message of type {kind:?} needs a member \"id\"");
            return Err(Error::invalid_argument(message));
        }
        match kind {
            "request" => {
                let mut head = self.head(id)?;
                let payload = self.payload(message, Some(&mut head.headers), body_bytes_max)?;
                Ok(ClientMessage::Call(head, CallBody::One(payload)))
            }
            "open" => {
                let mut head = self.head(id)?;
                if self.payload(message, None, body_bytes_max)?.is_some() {
                    let message = "a payload follows \"open\" in messages of type \"item\"";
                    return Err(Error::invalid_argument(message));
                }
                let json = HeaderValue::from_static("application/json");
                head.headers.entry(header::CONTENT_TYPE).or_insert(json);
                Ok(ClientMessage::Call(head, CallBody::Stream))
            }
            "item" => {
                let payload = self.payload(message, None, body_bytes_max)?;
                Ok(ClientMessage::Item(id, payload.unwrap_or_default()))
            }
            "end" => Ok(ClientMessage::End(id)),
            "reset" => Ok(ClientMessage::Reset(id)),
            other => {
                let other: String = other.chars().take(KEY_BYTES_MAX).collect();
                let message =
                    format!("type {other:?} is not known; request, open, item, end and reset are");
                Err(Error::invalid_argument(message))
            }
        }
    }

    fn head(&self, id: Text) -> Result<MessageHead, Error> {
        Ok(MessageHead {
            service: self.text("service", self.service)?,
            method: self.text("method", self.method)?,
            headers: self.headers.map_or_else(|| Ok(HeaderMap::new()), headers)?,
            id,
        })
    }

    /// Of a call with its head, whose content type it has or gives.
    fn payload(
        &self,
        message: &Bytes,
        headers: Option<&mut HeaderMap>,
        body_bytes_max: usize,
    ) -> Result<Option<Bytes>, Error> {
        let kind = headers
            .as_ref()
            .and_then(|headers| headers.get(header::CONTENT_TYPE));
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let read = json_payload::read(message, self.payload, kind.as_deref())?;
        let Some((payload, default)) = read else {
            return Ok(None);
        };
        if payload.len() > body_bytes_max {
            let length = payload.len();
            let message =
                format!("payload of {length} octets exceeds the limit of {body_bytes_max}");
            return Err(Error::invalid_argument(message).with_too_large());
        }
        if let Some(headers) = headers {
            let default = HeaderValue::from_static(default);
            headers.entry(header::CONTENT_TYPE).or_insert(default);
        }
        Ok(Some(payload))
    }

    fn text(&self, key: &str, value: Option<&[u8]>) -> Result<Option<Text>, Error> {
        let text = value.map(|value| {
            let text = json::string(value).map(Text::from);
            text.ok_or_else(|| Error::invalid_argument(format!("member {key:?} is no string")))
        });
        text.transpose()
    }
}

/// The member `headers`: an object of strings.
fn headers(object: &[u8]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let mut fault = None;
    let visited = json::visit_members(object, &mut |key, value| {
        let pair = json::string(key)
            .zip(json::string(value))
            .and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(&value).ok()?))
            });
        match pair {
            Some((name, value)) if headers.len() < HEADERS_MAX => drop(headers.insert(name, value)),
            Some(_) => fault = Some(format!("more than {HEADERS_MAX} headers")),
            None => {
                let key = key.get(..KEY_BYTES_MAX).unwrap_or(key);
                let key = String::from_utf8_lossy(key);
                fault = Some(format!("header {key} is no field of HTTP with a string"));
            }
        }
    });
    if visited.is_err() || !object.starts_with(b"{") {
        return Err(Error::invalid_argument("member \"headers\" is no object"));
    }
    fault.map_or(Ok(headers), |fault| Err(Error::invalid_argument(fault)))
}

/// What a client is told, member by member.
pub(super) struct ServerMessage(Vec<u8>);

impl ServerMessage {
    /// One about the call `id`; it is left out where the call has none.
    pub(super) fn new(kind: &'static str, id: &str, room: usize) -> Self {
        let mut document = Vec::with_capacity(room + id.len() + 64);
        document.extend_from_slice(b"{\"type\":");
        push_string(&mut document, kind);
        if !id.is_empty() {
            document.extend_from_slice(b",\"id\":");
            push_string(&mut document, id);
        }
        Self(document)
    }

    pub(super) fn error(id: &str, error: &Error, headers: Option<&HeaderMap>) -> Bytes {
        let mut message = Self::new("error", id, error.message.len());
        message.text("status", error.kind.name());
        if let Some(after) = error.retry_after() {
            message.number("retry-after-ms", after.as_millis());
        }
        if let Some(headers) = headers {
            message.headers(headers);
        }
        // Its members follow those of this message.
        let members = error.to_json();
        message.0.push(b',');
        message
            .0
            .extend_from_slice(members.get(1..).unwrap_or_default());
        message.0.into()
    }

    pub(super) fn event(delivery: &Delivery) -> Bytes {
        let event = &delivery.event;
        let mut message = Self::new("event", "", event.payload.len() + event.topic.len());
        message.text("topic", &event.topic);
        message.text("subscription", &delivery.subscription);
        let kind = event.headers.get_str("content-type");
        if let Some(kind) = &kind {
            message.text("content-type", kind);
        }
        message.event_headers(&event.headers);
        message.payload(kind.as_deref(), &event.payload);
        if delivery.missed > 0 {
            message.number("missed", u128::from(delivery.missed));
        }
        // Of a durable subscription: what it is acknowledged by, and where and how often it comes.
        if let Some(id) = event.headers.get_str("delivery") {
            message.text("delivery", &id);
            for key in ["position", "deliveries"] {
                let number = event
                    .headers
                    .get_str(key)
                    .and_then(|text| text.parse().ok());
                message.number(key, number.unwrap_or_default());
            }
        }
        message.finish()
    }

    /// The headers of a reply; nothing where it has none. What is no text is left out.
    pub(super) fn headers(&mut self, headers: &HeaderMap) {
        let mut opening: &[u8] = b",\"headers\":{";
        for name in headers.keys() {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            if values.is_empty() {
                continue;
            }
            self.0.extend_from_slice(opening);
            opening = b",";
            push_string(&mut self.0, name.as_str());
            self.0.push(b':');
            // A list of values is one of one field (RFC 9110 section 5.3).
            push_string(&mut self.0, &values.join(", "));
        }
        if opening == b"," {
            self.0.push(b'}');
        }
    }

    /// What a publisher says of an event beside its content type; nothing where it says nothing.
    fn event_headers(&mut self, headers: &Headers) {
        let mut opening: &[u8] = b",\"headers\":{";
        for (key, value) in headers.iter() {
            let is_of_event = key.starts_with(b"event-") || key.starts_with(b"ce-");
            let text = std::str::from_utf8(key)
                .ok()
                .zip(std::str::from_utf8(&value).ok());
            if let Some((key, value)) = text.filter(|_| is_of_event) {
                self.0.extend_from_slice(opening);
                opening = b",";
                push_string(&mut self.0, key);
                self.0.push(b':');
                push_string(&mut self.0, value);
            }
        }
        if opening == b"," {
            self.0.push(b'}');
        }
    }

    pub(super) fn payload(&mut self, content_type: Option<&str>, payload: &[u8]) {
        json_payload::push(&mut self.0, content_type, payload);
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        push_string(&mut self.0, value);
    }

    pub(super) fn number(&mut self, key: &'static str, value: u128) {
        self.key(key);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    fn key(&mut self, key: &'static str) {
        self.0.push(b',');
        push_string(&mut self.0, key);
        self.0.push(b':');
    }

    pub(super) fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}

/// Longest id, in octets, as a correlation id over UDP.
const ID_BYTES_MAX: usize = 255;
/// Headers of one message, as many as a request of HTTP has (head.rs).
const HEADERS_MAX: usize = 100;
/// Of a stranger's text, shown back to it.
const KEY_BYTES_MAX: usize = 64;
