//! Events as JSON: what `publish` takes and what streams give, one event a line.
//!
//! ```json
//! {"topic":"user.created","content-type":"application/json","payload":{"id":1},"missed":2}
//! ```
//! A durable subscription has `delivery`, `position` and `deliveries` beside it.
//! The payload is written as `net::json_payload` has it. `missed` is absent when nothing was.

use bytes::Bytes;
use postern_core::{
    Error, Headers,
    event::Delivery,
    json::{self, push_string},
};
use postern_net::json_payload::{self, PayloadMembers};

/// What `publish` was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub topic: String,
    pub content_type: String,
    pub payload: Bytes,
}

/// Reads the document of `publish`. Members that are not known are passed over.
pub(super) fn read(document: &Bytes) -> Result<Published, Error> {
    json::check(document).map_err(|error| {
        Error::invalid_argument(format!("the event is no JSON: {error}")).with_source(error)
    })?;
    let topic = text(document, "topic")?
        .ok_or_else(|| Error::invalid_argument("the event has no member \"topic\""))?;
    let content_type = text(document, "content-type")?;
    let members = PayloadMembers {
        json: json::member(document, "payload"),
        base64: json::member(document, "payload-base64"),
    };
    let payload = json_payload::read(document, members, content_type.as_deref())?;
    let (payload, default) = payload.ok_or_else(|| {
        let message = "the event needs one of the members \"payload\" and \"payload-base64\"";
        Error::invalid_argument(message)
    })?;
    Ok(Published {
        topic,
        content_type: content_type.unwrap_or_else(|| default.to_owned()),
        payload,
    })
}

/// An event as one line, without the line's end.
pub(crate) fn write(delivery: &Delivery) -> Bytes {
    let event = &delivery.event;
    let mut line = Vec::with_capacity(event.payload.len() + event.topic.len() + 64);
    line.extend_from_slice(b"{\"topic\":");
    push_string(&mut line, &event.topic);
    let kind = event.headers.get_str("content-type");
    if let Some(kind) = &kind {
        line.extend_from_slice(b",\"content-type\":");
        push_string(&mut line, kind);
    }
    json_payload::push(&mut line, kind.as_deref(), &event.payload);
    push_delivery(&mut line, &event.headers);
    if delivery.missed > 0 {
        line.extend_from_slice(format!(",\"missed\":{}", delivery.missed).as_bytes());
    }
    line.push(b'}');
    line.into()
}

/// What a durable subscription says of an event: `"delivery":"7-0-12","position":12,"deliveries":1`.
fn push_delivery(line: &mut Vec<u8>, headers: &Headers) {
    let Some(delivery) = headers.get_str("delivery") else {
        return;
    };
    line.extend_from_slice(b",\"delivery\":");
    push_string(line, &delivery);
    for key in ["position", "deliveries"] {
        let number = headers.get_str(key).and_then(|text| text.parse().ok());
        let number: u64 = number.unwrap_or_default();
        line.extend_from_slice(format!(",\"{key}\":{number}").as_bytes());
    }
}

fn text(document: &[u8], key: &str) -> Result<Option<String>, Error> {
    let Some(value) = json::member(document, key) else {
        return Ok(None);
    };
    let text = json::string(value);
    text.map(Some)
        .ok_or_else(|| Error::invalid_argument(format!("member {key:?} of the event is no string")))
}

#[cfg(test)]
mod tests {
    use postern_core::{
        Text,
        event::{Event, Publisher},
    };

    use super::*;

    fn written(content_type: Option<&str>, payload: &'static [u8], missed: u64) -> String {
        let mut headers = Headers::new();
        if let Some(content_type) = content_type {
            headers.push("content-type", content_type).expect("short");
        }
        let line = write(&Delivery {
            event: Event {
                topic: "a.b".into(),
                headers,
                payload: Bytes::from_static(payload),
                publisher: Publisher::default(),
            },
            missed,
            subscription: Text::default(),
        });
        String::from_utf8(line.into()).expect("text")
    }

    fn check(document: &'static str, expected: Result<(&str, &str, &[u8]), &str>) {
        let found = read(&Bytes::from_static(document.as_bytes()));
        let found = found.as_ref().map_err(|error| &*error.message);
        let found = found.map(|read| (&*read.topic, &*read.content_type, &read.payload[..]));
        assert_eq!(found, expected, "{document}");
    }

    #[test]
    fn json_stands_in_the_line_as_it_is_and_on_one_line() {
        let expected = r#"{"topic":"a.b","payload":{ "id" : 1.50 },"missed":2}"#;
        assert_eq!(written(None, b"{ \"id\" :\n1.50 }\n", 2), expected);
        let expected =
            r#"{"topic":"a.b","content-type":"application/cloudevents+json","payload":[]}"#;
        let kind = Some("application/cloudevents+json");
        assert_eq!(written(kind, b"[]", 0), expected);
    }

    #[test]
    fn text_is_a_string_and_anything_else_base64() {
        let expected = r#"{"topic":"a.b","content-type":"text/plain","payload":"7\n"}"#;
        assert_eq!(written(Some("text/plain"), b"7\n", 0), expected);
        let expected = r#"{"topic":"a.b","payload-base64":"/w=="}"#;
        assert_eq!(written(None, &[0xff], 0), expected);
        let expected = r#"{"topic":"a.b","content-type":"application/x","payload-base64":"eA=="}"#;
        assert_eq!(written(Some("application/x"), b"x", 0), expected);
    }

    #[test]
    fn what_streams_give_can_be_published() {
        check(
            r#"{"topic":"a.b","payload":{"id":1.50}}"#,
            Ok(("a.b", "application/json", br#"{"id":1.50}"#)),
        );
        check(
            r#"{"topic":"a","payload":"x"}"#,
            Ok(("a", "application/json", br#""x""#)),
        );
        check(
            r#"{"topic":"a","content-type":"text/plain","payload":"x"}"#,
            Ok(("a", "text/plain", b"x")),
        );
        check(
            r#"{"topic":"a","payload-base64":"/w=="}"#,
            Ok(("a", "application/octet-stream", &[0xff])),
        );
    }

    #[test]
    fn a_document_without_topic_or_payload_is_refused() {
        check("{}", Err("the event has no member \"topic\""));
        check(
            r#"{"topic":1}"#,
            Err("member \"topic\" of the event is no string"),
        );
        let message = "the event needs one of the members \"payload\" and \"payload-base64\"";
        check(r#"{"topic":"a"}"#, Err(message));
        check(
            r#"{"topic":"a","payload":1,"payload-base64":""}"#,
            Err("one of the members \"payload\" and \"payload-base64\" is enough"),
        );
        assert!(read(&Bytes::from_static(b"{")).is_err());
        let wrong = Bytes::from_static(br#"{"topic":"a","payload-base64":"!"}"#);
        assert!(read(&wrong).is_err());
    }
}
