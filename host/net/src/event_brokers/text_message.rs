//! Messages to and from a server of text messages. Pure.
//!
//! | form | publish | subscribe | call | what comes |
//! | --- | --- | --- | --- | --- |
//! | JSON of ours | request of `events/publish` | request of `events/subscribe` | request | responses, errors, events |
//! | plain | the payload as a JSON value | nothing: everything comes | none | each message is an event of one topic |
//!
//! The table of our own messages stands in host/docs/wire.md. The plain form is that of VYRA: one text
//! message is one JSON value, and no topic is sent.

use bytes::Bytes;
use postern_core::{
    Body, Call, Error, Headers, Kind, Reply, Text,
    event::{Event, PUBLISH, Publisher, SERVICE, is_carried},
    json::{self, push_string},
    vyra,
};

use super::text_session::unimplemented;
use crate::json_payload::{self, PayloadMembers};

/// How a server of text messages is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextForm {
    /// Our own messages: another gateway, or who speaks as one.
    Json,
    /// Each message is a JSON value; those that come are events of `topic`.
    Plain { topic: Text },
}

/// What a server says.
pub(super) enum ServerText {
    Event {
        /// None where there are no subscriptions.
        subscription: Option<Text>,
        event: Event,
        missed: u64,
    },
    Reply {
        id: u64,
        reply: Box<Reply>,
    },
    Error {
        id: u64,
        error: Error,
    },
}

impl TextForm {
    pub(super) const fn is_json(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Plain { .. } => false,
        }
    }

    /// Where a URL without a path leads.
    pub(super) const fn usual_path(&self) -> &'static str {
        match self {
            Self::Json => "/ws/events/publish",
            Self::Plain { .. } => "/",
        }
    }

    pub(super) fn publish(&self, id: u64, event: &Event) -> Result<Bytes, Error> {
        match self {
            Self::Json => {
                let mut headers = event.headers.without(|key| !is_carried(key));
                let pushed = headers.push("event-type", event.topic.as_bytes());
                pushed.map_err(|error| Error::invalid_argument(error.to_string()))?;
                Ok(request(id, (SERVICE, PUBLISH), &headers, &event.payload))
            }
            Self::Plain { .. } => plain(&event.payload),
        }
    }

    /// `None` where everything comes anyway.
    pub(super) fn subscribe(&self, id: u64, patterns: &[&str]) -> Option<Bytes> {
        if !self.is_json() {
            return None;
        }
        let mut message = b"{\"topics\":".to_vec();
        for (index, pattern) in patterns.iter().enumerate() {
            message.push(if index == 0 { b'[' } else { b',' });
            push_string(&mut message, pattern);
        }
        message.extend_from_slice(b"]}");
        Some(request(
            id,
            (SERVICE, "subscribe"),
            &Headers::new(),
            &message,
        ))
    }

    /// A call of one message.
    pub(super) fn call(&self, id: u64, call: Call) -> Result<Bytes, Error> {
        if !self.is_json() {
            return Err(unimplemented("a call"));
        }
        let payload = match call.body {
            Body::Empty => Bytes::new(),
            Body::One(payload) => payload,
            Body::Messages(_) | Body::Octets(_) => return Err(unimplemented("a streaming call")),
        };
        let headers = call.headers.without(is_of_hop);
        Ok(request(
            id,
            (&call.service, &call.method),
            &headers,
            &payload,
        ))
    }

    /// `None` for what is not known.
    pub(super) fn read(&self, message: &Bytes) -> Option<ServerText> {
        match self {
            Self::Json => read_json(message),
            Self::Plain { topic } => Some(ServerText::Event {
                subscription: None,
                event: event_of(topic.clone(), content_type_of(message), message.clone()),
                missed: 0,
            }),
        }
    }

    /// The id in the reply to a subscription.
    pub(super) fn subscription(reply: &Reply) -> Result<Text, Error> {
        let id = match &reply.body {
            Body::One(document) => json::member(document, "subscription").and_then(json::string),
            Body::Empty | Body::Messages(_) | Body::Octets(_) => None,
        };
        id.map(Text::from)
            .ok_or_else(|| Error::internal("the peer subscribes and gives no id"))
    }
}

/// Keys that are about another hop, or written by the message itself.
fn is_of_hop(key: &[u8]) -> bool {
    matches!(
        key,
        b"service" | b"method" | b"correlation-id" | b"type" | b"timeout-ms"
    ) || key.starts_with(b":")
}

fn request(id: u64, (service, method): (&str, &str), headers: &Headers, payload: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(payload.len() + 128);
    message.extend_from_slice(
        format!("{{\"type\":\"request\",\"id\":\"{id}\",\"service\":").as_bytes(),
    );
    push_string(&mut message, service);
    message.extend_from_slice(b",\"method\":");
    push_string(&mut message, method);
    let mut opening: &[u8] = b",\"headers\":{";
    for (key, value) in headers.iter() {
        let text = std::str::from_utf8(key)
            .ok()
            .zip(std::str::from_utf8(&value).ok());
        if let Some((key, value)) = text {
            message.extend_from_slice(opening);
            opening = b",";
            push_string(&mut message, key);
            message.push(b':');
            push_string(&mut message, value);
        }
    }
    if opening == b"," {
        message.push(b'}');
    }
    let kind = headers.get_str("content-type");
    json_payload::push(&mut message, kind.as_deref(), payload);
    message.push(b'}');
    message.into()
}

/// A payload as VYRA's peers send it.
fn plain(payload: &[u8]) -> Result<Bytes, Error> {
    if let Ok(written) = vyra::dumps(payload) {
        return Ok(written.into());
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        let message = "the payload is neither JSON nor text, and text messages carry nothing else";
        Error::invalid_argument(message).with_source(error)
    })?;
    let mut written = Vec::with_capacity(text.len() + 2);
    vyra::push_text(&mut written, text);
    Ok(written.into())
}

fn read_json(message: &Bytes) -> Option<ServerText> {
    let member = |key: &str| json::member(message, key);
    let text = |key: &str| member(key).and_then(json::string);
    let payload = |kind: Option<&str>| {
        let members = PayloadMembers {
            json: member("payload"),
            base64: member("payload-base64"),
        };
        json_payload::read(message, members, kind).ok()
    };
    match text("type")?.as_str() {
        "event" => {
            let kind = text("content-type");
            let (payload, default) = payload(kind.as_deref())??;
            let kind = kind.unwrap_or_else(|| default.to_owned());
            let mut event = event_of(text("topic")?.into(), &kind, payload);
            read_headers(member("headers"), &mut event.headers);
            Some(ServerText::Event {
                subscription: Some(text("subscription")?.into()),
                event,
                missed: number(message, "missed").unwrap_or(0),
            })
        }
        "response" => {
            let mut headers = Headers::new();
            read_headers(member("headers"), &mut headers);
            let kind = headers
                .get_str("content-type")
                .map(|kind| kind.into_owned());
            let body =
                payload(kind.as_deref())?.map_or(Body::Empty, |(payload, _)| Body::One(payload));
            Some(ServerText::Reply {
                id: text("id")?.parse().ok()?,
                reply: Box::new(Reply::new(headers, body)),
            })
        }
        "error" => {
            let kind = text("status").and_then(|name| Kind::from_name(&name));
            let said = text("error").unwrap_or_default();
            let error =
                Error::of_peer(kind.unwrap_or(Kind::Unknown), number(message, "code"), said);
            Some(ServerText::Error {
                id: text("id")?.parse().ok()?,
                error,
            })
        }
        // The head of a reply of many messages, which are passed over.
        "open" => Some(ServerText::Error {
            id: text("id")?.parse().ok()?,
            error: unimplemented("a reply of many messages"),
        }),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(message: &[u8], key: &str) -> Option<T> {
    std::str::from_utf8(json::member(message, key)?)
        .ok()?
        .parse()
        .ok()
}

/// The member `headers` of a message: an object of strings.
fn read_headers(object: Option<&[u8]>, headers: &mut Headers) {
    let mut read = |key: &[u8], value: &[u8]| {
        if let Some((key, value)) = json::string(key).zip(json::string(value)) {
            // One that does not fit is left out.
            let _ = headers.push(key, value);
        }
    };
    if let Some(object) = object {
        // The message was read, so this is JSON.
        let _ = json::visit_members(object, &mut read);
    }
}

fn event_of(topic: Text, content_type: &str, payload: Bytes) -> Event {
    let mut headers = Headers::new();
    // A type that is too long for a header is none.
    let _ = headers.push("content-type", content_type);
    Event {
        topic,
        headers,
        payload,
        publisher: Publisher::default(),
    }
}

fn content_type_of(payload: &[u8]) -> &'static str {
    match json::check(payload) {
        Ok(()) => "application/json",
        Err(_) => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &'static str) -> Event {
        let mut event = event_of(
            "a.b".into(),
            "application/json",
            Bytes::from_static(payload.as_bytes()),
        );
        event.headers.push("event-id", "7").expect("short");
        event
            .headers
            .push("authorization", "Bearer x")
            .expect("short");
        event
    }

    fn text(message: &Bytes) -> &str {
        std::str::from_utf8(message).expect("text")
    }

    #[test]
    fn an_event_is_a_request_with_the_headers_that_go_along() {
        let message = TextForm::Json
            .publish(3, &event(r#"{"n":1}"#))
            .expect("fits");
        let expected = r#"{"type":"request","id":"3","service":"events","method":"publish","headers":{"content-type":"application/json","event-id":"7","event-type":"a.b"},"payload":{"n":1}}"#;
        assert_eq!(text(&message), expected);
        let message = TextForm::Json
            .subscribe(4, &["a.>", "b"])
            .expect("a request");
        let expected = r#"{"type":"request","id":"4","service":"events","method":"subscribe","payload":{"topics":["a.>","b"]}}"#;
        assert_eq!(text(&message), expected);
    }

    #[test]
    fn a_plain_message_is_the_value_as_python_writes_it() {
        let plain = TextForm::Plain {
            topic: "a.b".into(),
        };
        let message = plain.publish(1, &event(r#"{"unit":"°C"}"#)).expect("text");
        assert_eq!(text(&message), r#"{"unit": "\u00b0C"}"#);
        let message = plain.publish(1, &event("so it is")).expect("text");
        assert_eq!(text(&message), r#""so it is""#);
        assert_eq!(plain.subscribe(1, &["a"]), None);
        let Some(ServerText::Event {
            subscription,
            event,
            ..
        }) = plain.read(&"[1]".into())
        else {
            panic!("an event");
        };
        assert_eq!((subscription, event.topic.as_str()), (None, "a.b"));
        assert_eq!(
            event.headers.get_str("content-type").as_deref(),
            Some("application/json")
        );
        assert!(plain.call(1, Call::unary("a", "b", "1")).is_err());
    }

    #[test]
    fn what_a_gateway_says_is_read() {
        let read =
            |message: &'static str| TextForm::Json.read(&Bytes::from_static(message.as_bytes()));
        let message = r#"{"type":"event","topic":"a.b","subscription":"9","content-type":"text/plain","headers":{"event-id":"7"},"payload":"x","missed":2}"#;
        let Some(ServerText::Event {
            subscription,
            event,
            missed,
        }) = read(message)
        else {
            panic!("an event");
        };
        assert_eq!((subscription, missed), (Some("9".into()), 2));
        assert_eq!(
            (event.topic.as_str(), &event.payload[..]),
            ("a.b", &b"x"[..])
        );
        assert_eq!(event.headers.get_str("event-id").as_deref(), Some("7"));
        let message = r#"{"type":"response","id":"12","payload":{"subscription":"9"}}"#;
        let Some(ServerText::Reply { id: 12, reply }) = read(message) else {
            panic!("a reply");
        };
        assert_eq!(TextForm::subscription(&reply).expect("an id"), "9");
        let message = r#"{"type":"error","id":"1","status":"not-found","error":"no","code":404}"#;
        let Some(ServerText::Error { id: 1, error }) = read(message) else {
            panic!("an error");
        };
        assert_eq!((error.kind, &*error.message), (Kind::NotFound, "no"));
        for message in [
            "",
            "x",
            "{}",
            r#"{"type":"pong"}"#,
            r#"{"type":"response","id":"x"}"#,
        ] {
            assert!(read(message).is_none(), "{message}");
        }
    }
}
