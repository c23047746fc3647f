//! Messages of brokers as events, and events as messages. Pure.
//!
//! | message | event |
//! | --- | --- |
//! | topic | topic, as `core::mqtt` maps it |
//! | content type | header `content-type` |
//! | user property that events carry (`event-…`, `ce-…`, `tracestate`, `baggage`) | that header |
//! | any other user property `NAME` | header `event-property-NAME` |
//! | retain flag | header `event-retain: 1` |
//! | message expiry | header `event-expiry`, in seconds |
//! | response topic, correlation data | headers `event-response-topic`, `event-correlation` in base64 |

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use postern_core::{
    Headers, Text,
    event::{Event, Publisher, TopicPattern, is_carried},
    mqtt::{Qos, from_event, to_event},
};

use super::message::BrokerMessage;

/// The filter of a broker that wants at least what `pattern` wants: `a.>` leaves out `a`, which no
/// filter can.
#[must_use]
pub fn filter_of(pattern: &TopicPattern) -> Text {
    let levels = pattern.as_str().split('.').map(|level| match level {
        "*" => "+".to_owned(),
        ">" => "#".to_owned(),
        level => from_event(level),
    });
    levels.collect::<Vec<_>>().join("/").into()
}

/// The event that a message is, in the name of `publisher`.
#[must_use]
pub fn event_of(message: &BrokerMessage, topic: Text, publisher: Publisher) -> Event {
    let mut headers = Headers::new();
    // One that is too long for a header is left out.
    let mut push = |name: &str, value: &[u8]| drop(headers.push(name, value));
    let properties = &message.properties;
    if let Some(content_type) = &properties.content_type {
        push("content-type", content_type.as_bytes());
    }
    for (name, value) in &properties.user {
        let name = name.to_ascii_lowercase();
        let is_own = OWN.contains(&name.as_str()) || name.starts_with(PROPERTY);
        match is_carried(name.as_bytes()) && !is_own && name != "content-type" {
            true => push(&name, value.as_bytes()),
            false => push(&format!("{PROPERTY}{name}"), value.as_bytes()),
        }
    }
    if message.is_retained {
        push(RETAIN, b"1");
    }
    if let Some(expiry_s) = message.expiry_s {
        push(EXPIRY, expiry_s.to_string().as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        push(RESPONSE_TOPIC, topic.as_bytes());
    }
    if let Some(correlation) = &properties.correlation {
        push(CORRELATION, BASE64_STANDARD.encode(correlation).as_bytes());
    }
    Event {
        topic,
        headers,
        payload: message.payload.clone(),
        publisher,
    }
}

/// The topic of the event that a message of `name` is; none where no event has such a topic.
#[must_use]
pub fn event_topic_of(name: &str) -> Option<Text> {
    let topic = to_event(name);
    postern_core::event::check_topic(&topic).ok()?;
    Some(topic.into())
}

/// The message that an event is, at `topic`.
#[must_use]
pub fn message_of(event: &Event, topic: Text, qos: Qos) -> BrokerMessage {
    let mut message = BrokerMessage::new(topic, event.payload.clone(), qos);
    let properties = &mut message.properties;
    for (name, value) in event.headers.iter() {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(&name), std::str::from_utf8(&value)) else {
            continue;
        };
        match name {
            "content-type" => properties.content_type = Some(value.into()),
            RETAIN => message.is_retained = value == "1",
            EXPIRY => message.expiry_s = value.parse().ok(),
            RESPONSE_TOPIC => properties.response_topic = Some(value.into()),
            CORRELATION => {
                let correlation = BASE64_STANDARD.decode(value).ok();
                properties.correlation = correlation.map(Bytes::from);
            }
            name if !is_carried(name.as_bytes()) => {}
            name => {
                let name = name.strip_prefix(PROPERTY).unwrap_or(name);
                properties.user.push((name.into(), value.into()));
            }
        }
    }
    message
}

const PROPERTY: &str = "event-property-";
const RETAIN: &str = "event-retain";
const EXPIRY: &str = "event-expiry";
const RESPONSE_TOPIC: &str = "event-response-topic";
const CORRELATION: &str = "event-correlation";
/// Headers that no user property becomes under its own name.
const OWN: [&str; 4] = [RETAIN, EXPIRY, RESPONSE_TOPIC, CORRELATION];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_from_an_event_as_it_was() {
        let mut message = BrokerMessage::new("a/b.c", "payload", Qos::AtLeastOnce);
        message.is_retained = true;
        message.expiry_s = Some(60);
        message.properties.content_type = Some("text/plain".into());
        message.properties.response_topic = Some("r/1".into());
        message.properties.correlation = Some(Bytes::from_static(&[0, 255]));
        message.properties.user = vec![
            ("ce-id".into(), "1".into()),
            ("authorization".into(), "of somebody else".into()),
            ("event-retain".into(), "what is no flag".into()),
        ];
        let topic = event_topic_of(&message.topic).expect("a topic");
        assert_eq!(topic, "a.b%2Ec");
        let event = event_of(&message, topic, Publisher::default());
        assert_eq!(event.headers.get_str("authorization"), None);
        let again = message_of(&event, message.topic.clone(), Qos::AtLeastOnce);
        assert_eq!(again, message);
    }

    #[test]
    fn a_pattern_is_the_nearest_filter() {
        let check = |pattern: &str, filter: &str| {
            let pattern = TopicPattern::new(pattern).expect("a pattern");
            assert_eq!(filter_of(&pattern), filter);
        };
        check("a.*.b", "a/+/b");
        check("a.>", "a/#");
        check(">", "#");
        check("%.a%2Eb", "/a.b");
    }
}
